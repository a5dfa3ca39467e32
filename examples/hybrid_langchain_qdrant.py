"""Find a spare part by its exact code: dense and sparse vectors together, LangChain and Qdrant.

Run `python examples/hybrid_langchain_qdrant.py`. It calls the real service if DASHSCOPE_API_KEY is
set; otherwise it runs the bundled emulator, which only matches words.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

from langchain_qdrant import QdrantVectorStore, RetrievalMode
from qdrant_client import QdrantClient, models
from support.corpus import Hits, read_passages, read_products, show
from support.service import service_options

from langchain_qwen_embed import QwenEmbeddings

DIMENSION = 64  # the shortest: a small index, in which similar codes are hard to distinguish
# Qdrant's default uses ranks alone: an exact match of a code would count no more than whatever
# comes first by meaning.
BY_SCORE = models.FusionQuery(fusion=models.Fusion.DBSF)


def main(folder: Path = Path("demo_output/hybrid_langchain_qdrant")) -> None:
    """Index two books and a catalogue of parts, then search by meaning and by exact code."""
    with ExitStack() as stack:
        options = {"dimension": DIMENSION, **service_options(stack)}
        # The two share requests: the service returns both kinds of vectors at the price of one.
        dense = stack.enter_context(QwenEmbeddings(**options))
        sparse = dense.sparse()
        client = QdrantClient(path=str(folder))
        stack.callback(client.close)

        def store(name: str, mode: RetrievalMode = RetrievalMode.HYBRID) -> QdrantVectorStore:
            # The collection check would embed a dummy text to find the dimension.
            checks = {"validate_collection_config": False}
            return QdrantVectorStore(client, name, dense, mode, sparse_embedding=sparse, **checks)

        for name, (texts, about) in {"books": read_passages(), "parts": read_products()}.items():
            client.delete_collection(name)
            size = models.VectorParams(size=DIMENSION, distance="Cosine")
            client.create_collection(name, size, {"langchain-sparse": models.SparseVectorParams()})
            store(name).add_texts(texts, about, batch_size=len(texts))
            print(
                f"{name}: {len(texts)} texts, both vectors, {dense.usage.requests} requests so far"
            )

        print("\nAsk the books (* is the passage with the answer)")
        question = "Who stole the tarts?"
        show(question, search(store("books"), question), "he stole those tarts")

        print("\nOrder a part by its code (* is the part)")
        only_dense = store("parts", RetrievalMode.DENSE)
        order, code = "I would like to order QX-7731B", "QX-7731B"
        show(f"{order} -- dense only", search(only_dense, order), code)
        hits = search(store("parts"), order)
        show(f"{order} -- dense and sparse", hits, code)
        shared = sparse.explain_match(order, hits[0][0])[:3]
        print(
            "    The first result matches by:",
            ", ".join(f"{each.token} {each.score:.2f}" for each in shared),
        )

        codes = [part["code"] for part in read_products()[1][::2]]
        found = {code: [search(s, code) for s in (only_dense, store("parts"))] for code in codes}
        among = sum(any(code in text for text, *_ in hits) for code, (hits, _) in found.items())
        first = sum(code in hits[0][0] for code, (_, hits) in found.items())
        print(f"\nOf {len(codes)} codes, dense search has {among} among its first five.")
        print(f"Of {len(codes)} codes, hybrid search has {first} first.")
        print(f"\nUsed: {dense.usage}")


def search(store: QdrantVectorStore, query: str) -> Hits:
    """Return the five best texts."""
    fusion = {} if store.retrieval_mode == RetrievalMode.DENSE else {"hybrid_fusion": BY_SCORE}
    found = store.similarity_search_with_score(query, k=50, **fusion)[:5]
    return [(document.page_content, document.metadata, score) for document, score in found]


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main()
