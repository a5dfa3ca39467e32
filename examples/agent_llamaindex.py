"""An agent that looks its answers up in two books, one in English, one in Chinese: LlamaIndex.

Run `python examples/agent_llamaindex.py`. Vectors and chat model are those of rag_llamaindex.py;
the stub chat model chooses the book by the question's language.
"""

import asyncio
import sys
import textwrap
from collections.abc import Sequence
from contextlib import ExitStack

from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import AgentOutput, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.tools import BaseTool, QueryEngineTool
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from rag_llamaindex import INSTRUCT, PROMPT, read_nodes
from support.chat_llamaindex import chat_model
from support.quoting import quote
from support.service import service_options

from llamaindex_qwen_embed import QwenEmbedding

BOOKS = {
    "en": ("alice", "Answers questions about Alice's Adventures in Wonderland."),
    "zh": ("nahan", "回答关于鲁迅《呐喊》的问题。"),
}
SYSTEM = "Answer in one sentence from what the books say, and keep the name of the passage."
QUESTIONS = ["Who stole the tarts?", "闰土怎样在雪地里捕鸟？"]


def main() -> None:
    """Embed two books, give an agent a tool for each, and ask questions about both."""
    with ExitStack() as stack:
        service = {"instruct": INSTRUCT, **service_options(stack)}
        embedding = stack.enter_context(QwenEmbedding(**service))
        model = chat_model(stub_reply)

        # One index, embedded once, serves both tools.
        index = VectorStoreIndex(read_nodes(), embed_model=embedding, use_async=True)
        print(f"{embedding.usage.texts} passages in {embedding.usage.requests} requests.")
        tools = []
        for language, (name, description) in BOOKS.items():
            only = MetadataFilters(filters=[MetadataFilter(key="language", value=language)])
            options = {"similarity_top_k": 3, "text_qa_template": PROMPT, "filters": only}
            engine = index.as_query_engine(model, **options)
            # Each call embeds the question; `EmbeddingSingleSelector` embeds all descriptions too.
            tools.append(QueryEngineTool.from_defaults(engine, name, description))
        agent = FunctionAgent(tools=tools, llm=model, system_prompt=SYSTEM, streaming=False)

        async def ask(question: str) -> AgentOutput:
            return await agent.run(question)

        for question in QUESTIONS:
            output = asyncio.run(ask(question))
            print(f"\n{question}")
            for call in output.tool_calls:
                found = call.tool_output.raw_output.source_nodes
                print(f"    asked {call.tool_name}, found {[hit.metadata['id'] for hit in found]}")
            print(textwrap.indent(textwrap.fill(output.response.content, 96), "    "))
        print(f"\nUsed: {embedding.usage}")


def stub_reply(messages: Sequence[ChatMessage], tools: Sequence[BaseTool] = ()) -> ChatMessage:
    """Ask the book in the question's language, quote the best match, and pass on its answer."""
    last = messages[-1].content or ""
    if not tools:
        return ChatMessage(quote(last), role="assistant")
    if messages[-1].role == "tool":
        return ChatMessage(last, role="assistant")
    name, _ = BOOKS["en" if last.isascii() else "zh"]
    call = ToolCallBlock(tool_call_id="call", tool_name=name, tool_kwargs={"input": last})
    return ChatMessage([call], role="assistant")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main()
