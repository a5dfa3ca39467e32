"""Ask two books, in English and in Chinese, through LangChain and through LlamaIndex.

Run `python examples/quickstart.py`. It calls the real service if DASHSCOPE_API_KEY is set;
otherwise it runs the bundled emulator, which only matches words, or meanings with `--engine e5`.
"""

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from langchain_qdrant import QdrantVectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from qdrant_client import QdrantClient, models
from support.asking import ask_langchain, ask_llamaindex, compare, heading, report
from support.corpus import CHAPTERS_OF_ANSWERS, QUESTIONS, read_passages, show
from support.service import service_options

from langchain_qwen_embed import QwenEmbeddings
from llamaindex_qwen_embed import QwenEmbedding


def main(
    folder: Path = Path("demo_output/qdrant"), engine: str = "lexical", chapters: tuple = ()
) -> None:
    """Embed the passages with both adapters, ask both the same questions, and print the usage."""
    with ExitStack() as stack:
        heading("1. The service and the passages")
        service = service_options(stack, engine)
        questions = QUESTIONS
        if service and engine == "e5":
            print(
                "Its engine, e5, compares meanings, slowly on a CPU: only four chapters are read."
            )
            chapters = chapters or CHAPTERS_OF_ANSWERS
        elif service:
            print("It only matches words; --engine e5 compares meanings, also across languages.")
            questions = [question for question in QUESTIONS if not question.language]
        options = {"dimension": 1024, "show_progress_bar": True, **service}
        texts, passages = read_passages(*chapters)
        print(f"{len(texts)} passages of Alice's Adventures in Wonderland and of 呐喊.")

        heading("2. Embed them: LangChain into Qdrant on disk, LlamaIndex into memory")
        dense = stack.enter_context(QwenEmbeddings(**options))
        client = QdrantClient(path=str(folder))
        stack.callback(client.close)
        # By default the store embeds a dummy text, and then only 64 texts per call.
        client.delete_collection("books")
        client.create_collection("books", models.VectorParams(size=1024, distance="Cosine"))
        store = QdrantVectorStore(client, "books", dense, validate_collection_config=False)
        started = time.perf_counter()
        store.add_texts(texts, passages, batch_size=len(texts))
        report("LangChain", dense.usage, time.perf_counter() - started)

        embedding = stack.enter_context(QwenEmbedding(**options))
        nodes = [
            TextNode(text=text, metadata=passage, excluded_embed_metadata_keys=list(passage))
            for text, passage in zip(texts, passages, strict=True)
        ]
        started = time.perf_counter()
        index = VectorStoreIndex(nodes, embed_model=embedding)
        report("LlamaIndex", embedding.usage, time.perf_counter() - started)

        heading("3. Ask both (* is the passage with the answer)")
        for question in questions:
            hits, others = ask_langchain(store, question), ask_llamaindex(index, question)
            only = f" (passages in {question.language!r} only)" if question.language else ""
            show(f"{question.text}{only}", hits, question.answer)
            compare(hits, others, question)

        heading("4. Usage, questions included (at the real service's list price)")
        print(f"LangChain   {dense.usage}\nLlamaIndex  {embedding.usage}")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--engine", choices=["lexical", "e5"], default="lexical")
    main(engine=arguments.parse_args().engine)
