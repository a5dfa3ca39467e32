"""Keep vectors on disk, so that no text is embedded twice, with LangChain's cache.

Run `python examples/cache_backed_langchain.py` twice. The second run sends nothing. It calls the
real service if DASHSCOPE_API_KEY is set; otherwise it runs the bundled emulator, which only matches
words.
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
    """Fill an index in memory and search it, with vectors from disk if they are cached there."""
    with ExitStack() as stack:
        service = service_options(stack)
        folder /= "emulator" if service else "qwen"  # their vectors must not mix
        embeddings = stack.enter_context(QwenEmbeddings(dimension=1024, **service))
        cached = CacheBackedEmbeddings.from_bytes_store(
            embeddings,
            LocalFileStore(folder / "documents"),
            # Queries need their own store, as the cache is keyed by the text alone: with `True`
            # a query gets the vector of a document with the same text. `False` caches no queries.
            query_embedding_cache=LocalFileStore(folder / "queries"),
            # Names every option that changes a vector: another model, dimension or `instruct` has
            # its own entries and never gets vectors made with other options.
            namespace=embeddings.cache_namespace,
            # The default, SHA-1, warns that texts can be made to collide.
            key_encoder="sha256",
            # Texts per call; vectors are saved after each call. Use many times more than a request
            # holds, as calls run one after the other. A text in two of them is sent twice.
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
