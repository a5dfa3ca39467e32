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

_SERVICE_GREETING = """\
Emulator of Qwen's text-embedding service
  native protocol:   {service.native_url}
  OpenAI-compatible: {service.openai_url}

  export DASHSCOPE_API_KEY={service.api_key}
  export DASHSCOPE_BASE_URL={service.native_url}"""

_SELF_HOSTED_GREETING = """\
Emulator of {backend} with Qwen3-Embedding
  OpenAI-compatible: {service.openai_url}
  models:            {models}"""

_VECTORS_NOTE = """
Its vectors are NOT Qwen's: they come from the local engine '{engine}'. Use it for tests and demos,
never to fill an index that you will search with the real service. Press Ctrl-C to stop."""

_HOST_WARNING = """\
Warning: {host} is not a loopback address.
Anyone who can reach this machine can use the emulator."""


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
        print(_HOST_WARNING.format(host=options.host), file=sys.stderr, flush=True)
    with service:
        # A shell starts background jobs with SIGINT ignored; SIGTERM should stop cleanly as well.
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_number, signal.default_int_handler)
        print(_greeting(service, options), flush=True)
        while True:
            time.sleep(3600)


def _greeting(service: Emulator, options: argparse.Namespace) -> str:
    if options.backend == "service":
        opening = _SERVICE_GREETING.format(service=service)
    else:
        opening = _SELF_HOSTED_GREETING.format(
            service=service, backend=options.backend, models=", ".join(QWEN3_MODELS)
        )
    return f"{opening}\n{_VECTORS_NOTE.format(engine=options.engine)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m qwen_embed.emulator",
        description="A local emulator of Qwen's text-embedding service, or of a self-hosted server "
        "of Qwen3-Embedding. Its vectors are not Qwen's.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=8765, help="port to listen on, 0 picks a free one (%(default)s)"
    )
    parser.add_argument(
        "--backend", choices=SERVER_NAMES, default="service", help="server to emulate (%(default)s)"
    )
    parser.add_argument(
        "--api-key", help="key to accept (sk-emulator; a self-hosted server accepts any)"
    )
    parser.add_argument("--engine", choices=("lexical", "e5"), default="lexical")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added to each response")
    parser.add_argument("--shuffle", action="store_true", help="return vectors in random order")
    parser.add_argument("--requests-per-minute", type=float, help="quota, enforced per second")
    parser.add_argument("--tokens-per-minute", type=float, help="quota, enforced per second")
    return parser


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    main()
