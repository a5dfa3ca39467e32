"""The chat model of the examples for LlamaIndex.

A model named in the environment needs `pip install llama-index-llms-openai-like`.
"""

from collections.abc import Callable

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM

from support.service import chat_options


def chat_model(reply: Callable[..., ChatMessage]) -> FunctionCallingLLM:
    """Return the model named in the environment, or a stub that answers with a function.

    Args:
        reply: Called with the messages, and with the available tools as `tools`.
    """
    options = chat_options()
    if options is None:
        return MockFunctionCallingLLM(response_generator=reply, is_chat_model=True)
    from llama_index.llms.openai_like import OpenAILike  # noqa: PLC0415 -- takes a second to load

    return OpenAILike(
        model=options["model"],
        api_base=options["base_url"],
        api_key=options["api_key"],
        is_chat_model=True,
        is_function_calling_model=True,
    )
