"""Keep vectors on disk, so that no text is embedded twice: LangChain's cache, set up right.

Run `python examples/cache_backed_langchain.py`, and once more: the second time nothing is sent.
With DASHSCOPE_API_KEY set, the vectors are Qwen's; without, they come from a local stand-in that
compares words.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.storage import LocalFileStore
from langchain_core.vectorstores import InMemoryVectorStore
from support.corpus import QUESTIONS, read_passages, show
from support.service import service_options

from langchain_qwen_embed import QwenEmbeddings


def main(folder: Path = Path("demo_output/cache_backed_langchain")) -> None:
    """Fill an index in memory and ask it, with vectors that come from disk where they are there."""
    with ExitStack() as stack:
        service = service_options(stack)
        folder /= "stand-in" if service else "qwen"  # the two have nothing in common but names
        embeddings = stack.enter_context(QwenEmbeddings(dimension=1024, **service))
        cached = CacheBackedEmbeddings.from_bytes_store(
            embeddings,
            LocalFileStore(folder / "documents"),
            # A store of its own, for the cache knows a text alone: in one store with the documents
            # (`True`) a query would get the vector of an equal document. `False` keeps no queries.
            query_embedding_cache=LocalFileStore(folder / "queries"),
            # Names all that changes a vector. Under another model, dimension or `instruct` the
            # cache starts anew, and never hands out what was made otherwise.
            namespace=embeddings.cache_namespace,
            # The default, SHA-1, warns that texts can be made to collide.
            key_encoder="sha256",
            # How many texts are embedded before they are saved, one such batch after the other, so
            # many times more than a request holds. A text that stands in two batches is sent twice.
            batch_size=2000,
        )

        texts, passages = read_passages()
        store = InMemoryVectorStore.from_texts(texts, cached, passages)
        used = embeddings.usage
        print(f"{len(texts)} passages, {used.texts} of them embedded, in {used.requests} requests.")

        for question in (question for question in QUESTIONS if not question.language):
            before = embeddings.usage.requests
            found = store.similarity_search_with_score(question.text, k=3)
            asked = embeddings.usage.requests - before
            hits = [(document.page_content, document.metadata, score) for document, score in found]
            show(f"{question.text} (requests for this query: {asked})", hits, question.answer)
        print(f"\nUsed: {embeddings.usage}")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main()
