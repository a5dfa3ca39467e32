"""Hybrid search of two books, in English and in Chinese, with LangChain's Milvus store.

It needs `pip install 'qwen-embed[langchain]' langchain-milvus milvus-lite`, and no server: Milvus
Lite keeps the collection in a folder. It calls the real service if DASHSCOPE_API_KEY is set;
otherwise it runs the bundled emulator, which only matches words.
"""

import sys
import time
from contextlib import ExitStack
from pathlib import Path

from langchain_milvus import Milvus
from pymilvus import Function, FunctionType
from support.corpus import QUESTIONS, read_passages, show
from support.service import service_options

from langchain_qwen_embed import QwenEmbeddings


def main(folder: Path = Path("demo_output/milvus_langchain")) -> None:
    """Store the passages with both kinds of vectors, search, and print the results and why."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        options = {"model": "text-embedding-v4", **service_options(stack)}

        # Dense vectors find by meaning, sparse vectors by words. The store calls one object after
        # the other; the two share their requests, so the second call sends nothing.
        dense = stack.enter_context(QwenEmbeddings(**options))
        sparse = dense.sparse()
        store = Milvus(
            embedding_function=[dense, sparse.for_milvus()],
            vector_field=["dense", "sparse"],
            connection_args={"uri": str(folder / "books.db")},
            collection_name="books",
            auto_id=True,
            drop_old=True,
            # Milvus Lite rejects the store's defaults for sparse vectors.
            index_params=[
                {"metric_type": "COSINE", "index_type": "AUTOINDEX", "params": {}},
                {"metric_type": "IP", "index_type": "SPARSE_INVERTED_INDEX", "params": {}},
            ],
            search_params=[
                {"metric_type": "COSINE", "params": {}},
                {"metric_type": "IP", "params": {}},
            ],
        )
        stack.callback(store.client.close)

        texts, passages = read_passages()
        started = time.perf_counter()
        store.add_texts(texts, passages)
        seconds = time.perf_counter() - started
        used = f"{dense.usage.requests} requests"
        print(f"{len(texts)} passages stored, dense and sparse, in {used} and {seconds:.1f} s.")

        # Reciprocal rank fusion merges the 50 best by meaning and the 50 best by words.
        fusion = Function(
            name="fusion",
            input_field_names=[],
            function_type=FunctionType.RERANK,
            params={"reranker": "rrf", "k": 60},
        )
        for question in (question for question in QUESTIONS if not question.language):
            before = dense.usage.requests
            found = store.similarity_search_with_score(
                question.text, k=3, fetch_k=50, reranker=fusion
            )
            requests = dense.usage.requests - before
            hits = [(document.page_content, document.metadata, score) for document, score in found]
            show(f"{question.text} (requests for this query: {requests})", hits, question.answer)
            shared = sparse.explain_match(question.text, hits[0][0])[:3]
            print("    Words that the first result shares with the question, and their scores:")
            print("   ", ", ".join(f"{each.token!r} {each.score:.3f}" for each in shared))

        print(f"\nUsed in total, explanations included: {dense.usage}")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main()
