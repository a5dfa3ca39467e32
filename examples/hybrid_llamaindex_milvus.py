"""Hybrid search of two books, in English and in Chinese, with LlamaIndex's Milvus store.

It needs `pip install 'qwen-embed[llamaindex]' llama-index-vector-stores-milvus milvus-lite`, and no
server: Milvus Lite keeps the collection in a folder. It calls the real service if DASHSCOPE_API_KEY
is set; otherwise it runs the bundled emulator, which only matches words.
"""

import sys
import time
from contextlib import ExitStack
from pathlib import Path

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.vector_stores.milvus import MilvusVectorStore
from support.corpus import QUESTIONS, read_passages, show
from support.service import service_options

from llamaindex_qwen_embed import QwenEmbedding


def main(folder: Path = Path("demo_output/milvus_llamaindex")) -> None:
    """Store the passages with both kinds of vectors, search, and print the results and why."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        options = {"model_name": "text-embedding-v4", "dimension": 1024, **service_options(stack)}

        # Dense vectors find by meaning, sparse vectors by words. The store requests the sparse
        # vectors node by node; the two objects share their requests, so this sends nothing.
        dense = stack.enter_context(QwenEmbedding(**options))
        sparse = dense.sparse()
        store = MilvusVectorStore(
            uri=str(folder / "books.db"),
            collection_name="books",
            overwrite=True,
            dim=1024,
            similarity_metric="COSINE",
            enable_sparse=True,
            sparse_embedding_function=sparse.for_milvus(),
            # Reciprocal rank fusion merges the results by meaning and the results by words.
            hybrid_ranker="RRFRanker",
            hybrid_ranker_params={"k": 60},
            use_async_client=False,
        )
        stack.callback(store.client.close)

        texts, passages = read_passages()
        # LlamaIndex embeds each text with its metadata above it, except the excluded keys.
        nodes = [
            TextNode(text=text, metadata=passage, excluded_embed_metadata_keys=["id", "language"])
            for text, passage in zip(texts, passages, strict=True)
        ]
        started = time.perf_counter()
        context = StorageContext.from_defaults(vector_store=store)
        index = VectorStoreIndex(nodes, storage_context=context, embed_model=dense)
        seconds = time.perf_counter() - started
        used = f"{dense.usage.requests} requests"
        print(f"{len(nodes)} passages stored, dense and sparse, in {used} and {seconds:.1f} s.")

        # The store merges as many results of each kind as it returns: 50, of which three are shown.
        retriever = index.as_retriever(vector_store_query_mode="hybrid", similarity_top_k=50)
        for question in (question for question in QUESTIONS if not question.language):
            before = dense.usage.requests
            found = retriever.retrieve(question.text)[:3]
            requests = dense.usage.requests - before
            hits = [(hit.text, hit.metadata, hit.score) for hit in found]
            show(f"{question.text} (requests for this query: {requests})", hits, question.answer)
            embedded = found[0].node.get_content(metadata_mode=MetadataMode.EMBED)
            shared = sparse.explain_match(question.text, embedded)[:3]
            print("    Words that the first result shares with the question, and their scores:")
            print("   ", ", ".join(f"{each.token!r} {each.score:.3f}" for each in shared))

        print(f"\nUsed in total, explanations included: {dense.usage}")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main()
