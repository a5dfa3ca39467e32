"""Which services an example asks: the real ones where they are named, else stand-ins."""

import os
from contextlib import ExitStack
from typing import Any

from qwen_embed.emulator import Emulator


def service_options(stack: ExitStack, engine: str = "lexical") -> dict[str, Any]:
    """Say which service is asked, and return the options that lead there.

    Args:
        stack: Ends the stand-in.
        engine: Where the stand-in's vectors come from.
    """
    if os.environ.get("DASHSCOPE_API_KEY"):
        print("DASHSCOPE_API_KEY is set: vectors come from the service it belongs to.")
        return {}
    print("No DASHSCOPE_API_KEY: vectors come from a local stand-in and are NOT Qwen's.")
    service = stack.enter_context(Emulator(engine=engine))
    # The timeout is for the engine e5, for which requests queue.
    return {"api_key": service.api_key, "base_url": service.native_url, "timeout": 900}


def origin(service: dict[str, Any]) -> str:
    """Say whose vectors those are, below a picture made with these options."""
    return (
        "Vectors of a local stand-in, not Qwen's." if service else "Vectors of text-embedding-v4."
    )


def chat_options() -> dict[str, str] | None:
    """Say which language model answers; return its name, address and key, or `None`: a stand-in.

    CHAT_MODEL names a model at OPENAI_BASE_URL, which speaks the OpenAI-compatible protocol and
    takes OPENAI_API_KEY: `qwen-plus` at https://dashscope.aliyuncs.com/compatible-mode/v1, say.
    """
    model = os.environ.get("CHAT_MODEL")
    if not model:
        print("No CHAT_MODEL: a stand-in answers, which only quotes the sentence that fits best.")
        return None
    print(f"CHAT_MODEL is set: {model} answers.")
    address, key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
    return {"model": model, "base_url": address, "api_key": key}
