"""Ask two books, in English and in Chinese, through LangChain and through LlamaIndex.

Run `python examples/quickstart.py`. With DASHSCOPE_API_KEY set, the vectors are Qwen's; without,
they come from a local stand-in that compares words, or with `--engine e5` meanings.
"""

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from corpus import CHAPTERS_OF_ANSWERS, QUESTIONS, Hits, Question, read_passages, show
from langchain_qdrant import QdrantVectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from qdrant_client import QdrantClient, models
from service import service_options

from langchain_qwen_embed import QwenEmbeddings
from llamaindex_qwen_embed import QwenEmbedding
from qwen_embed import Usage


def main(
    folder: Path = Path("demo_output/qdrant"),
    engine: str = "lexical",
    chapters: tuple[str, ...] = (),
) -> None:
    """Embed the passages with both adapters, ask both the same questions, print what it used."""
    with ExitStack() as stack:
        heading("1. The service and the passages")
        service = service_options(stack, engine)
        questions = QUESTIONS
        if service and engine == "e5":
            print("Its engine, e5, compares meanings, slowly on a CPU: four chapters will do.")
            chapters = chapters or CHAPTERS_OF_ANSWERS
        elif service:
            print("It compares words; --engine e5 compares meanings, across languages too.")
            questions = [question for question in QUESTIONS if not question.language]
        options = {"dimension": 1024, "show_progress_bar": True, **service}
        texts, passages = read_passages(*chapters)
        print(f"{len(texts)} passages of Alice's Adventures in Wonderland and of 呐喊.")

        heading("2. Embed them: LangChain into Qdrant on disk, LlamaIndex into memory")
        dense = stack.enter_context(QwenEmbeddings(**options))
        client = QdrantClient(path=str(folder))
        stack.callback(client.close)
        # Left to itself, the store embeds a dummy text for its length, and then 64 texts at a time,
        # which leaves requests half full and keeps them from running side by side.
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

        heading("3. Ask both (* is the passage that holds the answer)")
        for question in questions:
            hits, others = ask_langchain(store, question), ask_llamaindex(index, question)
            only = f" (passages in {question.language!r} only)" if question.language else ""
            show(f"{question.text}{only}", hits, question.answer)
            if [text for text, *_ in hits] == [text for text, *_ in others]:
                print("    LangChain and LlamaIndex agree.")
            else:
                show("    They DISAGREE. LlamaIndex says:", others, question.answer)

        heading("4. Used, questions included (at the real service's list price)")
        print(f"LangChain   {dense.usage}\nLlamaIndex  {embedding.usage}")


def ask_langchain(store: QdrantVectorStore, question: Question) -> Hits:
    """Return the three best passages."""
    match = models.MatchValue(value=question.language or "")
    condition = models.FieldCondition(key="metadata.language", match=match)
    only = models.Filter(must=[condition]) if question.language else None
    found = store.similarity_search_with_score(question.text, k=3, filter=only)
    return [(document.page_content, document.metadata, score) for document, score in found]


def ask_llamaindex(index: VectorStoreIndex, question: Question) -> Hits:
    """Return the three best passages."""
    condition = MetadataFilter(key="language", value=question.language)
    only = MetadataFilters(filters=[condition]) if question.language else None
    found = index.as_retriever(similarity_top_k=3, filters=only).retrieve(question.text)
    return [(hit.text, hit.metadata, hit.score) for hit in found]


def heading(title: str) -> None:
    """Print a heading."""
    print(f"\n{title}\n{'-' * len(title)}")


def report(adapter: str, usage: Usage, seconds: float) -> None:
    """Print how an adapter embedded the passages."""
    count = f"{usage.texts} texts in {usage.requests} requests"
    print(f"{adapter:10}  {count}, {seconds:.1f} s: {usage.texts / seconds:,.0f} texts per second")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--engine", choices=["lexical", "e5"], default="lexical")
    main(engine=arguments.parse_args().engine)
