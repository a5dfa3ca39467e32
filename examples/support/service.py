"""Which services an example calls: the real ones if they are configured, otherwise stubs."""

import os
from contextlib import ExitStack
from typing import Any

from qwen_embed.emulator import Emulator


def service_options(stack: ExitStack, engine: str = "lexical") -> dict[str, Any]:
    """Print which service is called, and return the options that lead there.

    Args:
        stack: Stops the emulator.
        engine: How the emulator makes its vectors.
    """
    if os.environ.get("DASHSCOPE_API_KEY"):
        print("DASHSCOPE_API_KEY is set: vectors come from the real service.")
        return {}
    print("No DASHSCOPE_API_KEY: vectors come from the local emulator and are NOT Qwen's.")
    service = stack.enter_context(Emulator(engine=engine))
    # The timeout is for the slow engine e5, which processes requests one by one.
    return {"api_key": service.api_key, "base_url": service.native_url, "timeout": 900}


def origin(service: dict[str, Any]) -> str:
    """Return the note below a picture that says whose vectors it shows."""
    return "Vectors of the emulator, not Qwen's." if service else "Vectors of text-embedding-v4."


def chat_options() -> dict[str, str] | None:
    """Print which chat model answers; return its name, address and key, or `None` for a stub.

    CHAT_MODEL names a model at OPENAI_BASE_URL, which speaks the OpenAI-compatible protocol and
    accepts OPENAI_API_KEY. For example `qwen-plus` at
    https://dashscope.aliyuncs.com/compatible-mode/v1.
    """
    model = os.environ.get("CHAT_MODEL")
    if not model:
        print("No CHAT_MODEL: a stub answers, which only quotes the best matching sentence.")
        return None
    print(f"CHAT_MODEL is set: {model} answers.")
    address, key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
    return {"model": model, "base_url": address, "api_key": key}
