"""The command line: `python -m qwen_embed.emulator`."""

from __future__ import annotations

import argparse
import ipaddress
import signal
import sys
import time
from collections.abc import Sequence

from qwen_embed.emulator.dialects.qwen3 import QWEN3_MODELS
from qwen_embed.emulator.dialects.servers import SERVER_NAMES
from qwen_embed.emulator.service import Emulator

_OF_THE_SERVICE = """\
Emulator of Qwen's text-embedding service
  native protocol:   {service.native_url}
  OpenAI-compatible: {service.openai_url}

  export DASHSCOPE_API_KEY={service.api_key}
  export DASHSCOPE_BASE_URL={service.native_url}"""

_OF_A_SELF_HOSTED_SERVER = """\
Emulator of {backend} with Qwen3-Embedding
  OpenAI-compatible: {service.openai_url}
  models:            {models}"""

_CAUTION = """
Its vectors are NOT Qwen's: they come from the local engine '{engine}'. Use it to test and to show,
never to fill an index that the real service will be asked about. Ctrl-C ends it."""

_WARNING = """\
Warning: {host} is not a loopback address.
Everyone who can reach this machine can use the emulator."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run an emulator until it is interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        _serve(options)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("Stopped.", flush=True)


def _serve(options: argparse.Namespace) -> None:
    service = Emulator(
        api_key=options.api_key,
        backend=options.backend,
        engine=options.engine,
        host=options.host,
        port=options.port,
        latency=options.latency,
        shuffle=options.shuffle,
    )
    service.set_quota(options.requests_per_minute, options.tokens_per_minute)
    if not _is_loopback(options.host):
        print(_WARNING.format(host=options.host), file=sys.stderr, flush=True)
    with service:
        # A shell starts background jobs with the interrupt ignored; a plain kill should end it too.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        print(_greeting(service, options), flush=True)
        while True:
            time.sleep(3600)


def _greeting(service: Emulator, options: argparse.Namespace) -> str:
    if options.backend == "service":
        opening = _OF_THE_SERVICE.format(service=service)
    else:
        opening = _OF_A_SELF_HOSTED_SERVER.format(
            service=service, backend=options.backend, models=", ".join(QWEN3_MODELS)
        )
    return f"{opening}\n{_CAUTION.format(engine=options.engine)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m qwen_embed.emulator",
        description="A local emulator of Qwen's embedding service, or of a self-hosted server of "
        "Qwen3-Embedding. Its vectors are not Qwen's.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8765, help="0 for a free one (%(default)s)")
    parser.add_argument(
        "--backend", choices=SERVER_NAMES, default="service", help="which server (%(default)s)"
    )
    parser.add_argument(
        "--api-key", help="key to let in (sk-emulator; a self-hosted server lets everyone in)"
    )
    parser.add_argument("--engine", choices=("lexical", "e5"), default="lexical")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added to each answer")
    parser.add_argument("--shuffle", action="store_true", help="answer rows in random order")
    parser.add_argument("--requests-per-minute", type=float, help="quota, enforced by the second")
    parser.add_argument("--tokens-per-minute", type=float, help="quota, enforced by the second")
    return parser


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    main()
