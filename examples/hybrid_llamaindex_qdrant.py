"""Find a spare part by its exact code: dense and sparse vectors together, LlamaIndex and Qdrant.

Run `python examples/hybrid_llamaindex_qdrant.py`. It calls the real service if DASHSCOPE_API_KEY is
set; otherwise it runs the bundled emulator, which only matches words.
"""

import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient
from support.corpus import Hits, read_passages, read_products, show
from support.service import service_options

from llamaindex_qwen_embed import QwenEmbedding

DIMENSION = 64  # the shortest: a small index, in which similar codes are hard to distinguish
# The weight of the dense score; at LlamaIndex's default of 0.5 an exact match of a code would count
# no more than whatever comes first by meaning.
HYBRID = {"vector_store_query_mode": "hybrid", "alpha": 0.3}


def main(folder: Path = Path("demo_output/hybrid_llamaindex_qdrant")) -> None:
    """Index two books and a catalogue of parts, then search by meaning and by exact code."""
    warnings.filterwarnings("ignore", "Payload indexes have no effect in the local Qdrant")
    with ExitStack() as stack:
        options = {"dimension": DIMENSION, **service_options(stack)}
        # The two share requests: the service returns both kinds of vectors at the price of one.
        dense = stack.enter_context(QwenEmbedding(**options))
        sparse = dense.sparse()
        client = QdrantClient(path=str(folder))
        stack.callback(client.close)

        indexes = {}
        for name, (texts, about) in {"books": read_passages(), "parts": read_products()}.items():
            client.delete_collection(name)
            store = QdrantVectorStore(
                name,
                client=client,
                enable_hybrid=True,
                batch_size=len(texts),
                sparse_doc_fn=sparse.encode_documents,
                sparse_query_fn=sparse.encode_queries,
            )
            nodes = [
                TextNode(text=text, metadata=known, excluded_embed_metadata_keys=list(known))
                for text, known in zip(texts, about, strict=True)
            ]
            context = StorageContext.from_defaults(vector_store=store)
            indexes[name] = VectorStoreIndex(nodes, storage_context=context, embed_model=dense)
            print(
                f"{name}: {len(texts)} texts, both vectors, {dense.usage.requests} requests so far"
            )

        print("\nAsk the books (* is the passage with the answer)")
        hits = search(indexes["books"], "Who stole the tarts?", **HYBRID)
        show("Who stole the tarts?", hits, "The Knave of Hearts, he stole those tarts")

        print("\nOrder a part by its code (* is the part)")
        order, code = "I would like to order QX-7731B", "QX-7731B"
        show(f"{order} -- dense only", search(indexes["parts"], order), code)
        hits = search(indexes["parts"], order, **HYBRID)
        show(f"{order} -- dense and sparse", hits, code)
        shared = sparse.explain_match(order, hits[0][0])[:3]
        print(
            "    The first result matches by:",
            ", ".join(f"{each.token} {each.score:.2f}" for each in shared),
        )
        print(f"\nUsed: {dense.usage}")


def search(index: VectorStoreIndex, query: str, **options: Any) -> Hits:
    """Return the five best texts."""
    found = index.as_retriever(similarity_top_k=5, **options).retrieve(query)
    return [(hit.text, hit.metadata, hit.score) for hit in found]


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main()
