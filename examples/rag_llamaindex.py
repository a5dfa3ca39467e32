"""Answer questions from two books, in English and in Chinese, and name the passages: LlamaIndex.

Run `python examples/rag_llamaindex.py`. It calls the real service if DASHSCOPE_API_KEY is set;
otherwise it runs the bundled emulator, which only matches words. If CHAT_MODEL, OPENAI_BASE_URL and
OPENAI_API_KEY are set, that chat model answers; otherwise a stub quotes the best matching sentence.
"""

import asyncio
import sys
import textwrap
from contextlib import ExitStack
from typing import Any

from llama_index.core import PromptTemplate, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.base.response.schema import Response
from llama_index.core.schema import TextNode
from support.chat_llamaindex import chat_model
from support.corpus import QUESTIONS, read_passages
from support.quoting import quote
from support.service import service_options

from llamaindex_qwen_embed import QwenEmbedding

PROMPT = PromptTemplate(
    "Answer the question with one sentence, in its language, from these passages alone. "
    "End it with the name of the passage in its brackets.\n\n{context_str}\n\nQuestion: {query_str}"
)
INSTRUCT = "Given a question, retrieve passages that answer it"


def main() -> None:
    """Embed two books, answer four questions, print each answer and its sources."""
    with ExitStack() as stack:
        options = {"instruct": INSTRUCT, **service_options(stack)}
        embedding = stack.enter_context(QwenEmbedding(**options))
        model = chat_model(
            lambda messages: ChatMessage(quote(messages[-1].content), role="assistant")
        )

        # Pass `embed_model` to the index and `llm` to the engine: the defaults are OpenAI's.
        index = VectorStoreIndex(read_nodes(), embed_model=embedding, use_async=True)
        used = embedding.usage
        print(f"{used.texts} passages in {used.requests} requests.")

        engine = index.as_query_engine(model, similarity_top_k=3, text_qa_template=PROMPT)

        async def answer(questions: list[str]) -> list[Response]:
            return await asyncio.gather(*(engine.aquery(question) for question in questions))

        asked = [question.text for question in QUESTIONS if not question.language]
        for question, response in zip(asked, asyncio.run(answer(asked)), strict=True):
            print(f"\n{question}")
            print(textwrap.indent(textwrap.fill(str(response), 96), "    "))
            for source in response.source_nodes:
                about = source.node.metadata
                print(f"    - {about['id']}: {about['work']}, {about['chapter']}")

        print(f"\nUsed, questions included: {embedding.usage}")


def read_nodes() -> list[TextNode]:
    """Return the passages as nodes: only the text is embedded; the chat model reads the id too."""
    nodes = []
    for text, passage in zip(*read_passages(), strict=True):
        hidden: dict[str, Any] = {
            "excluded_embed_metadata_keys": list(passage),
            "excluded_llm_metadata_keys": [key for key in passage if key != "id"],
        }
        cited = {"metadata_template": "[{value}]", "text_template": "{metadata_str} {content}"}
        nodes.append(TextNode(text=text, metadata=passage, **hidden, **cited))
    return nodes


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main()
