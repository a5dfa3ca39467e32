"""The chat model of the examples for LangChain.

A model named in the environment needs `pip install langchain-openai`.
"""

from collections.abc import Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from support.service import chat_options


class StubChatModel(BaseChatModel):
    """A chat model whose answers, tool calls included, come from a function."""

    reply: Callable[[list[BaseMessage]], AIMessage]

    @property
    def _llm_type(self) -> str:
        return "stub"

    def bind_tools(self, tools: Any, **options: Any) -> "StubChatModel":
        """Return itself: the function knows the tools."""
        del tools, options
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **options: Any) -> ChatResult:
        del options
        return ChatResult(generations=[ChatGeneration(message=self.reply(messages))])


def chat_model(reply: Callable[[list[BaseMessage]], AIMessage]) -> BaseChatModel:
    """Return the model named in the environment, or a stub that answers with a function."""
    options = chat_options()
    if options is None:
        return StubChatModel(reply=reply)
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 -- takes a second to load

    return ChatOpenAI(**options)
