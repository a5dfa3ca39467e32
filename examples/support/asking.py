"""How the quickstart searches a store of each framework, and prints the results."""

from langchain_qdrant import QdrantVectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from qdrant_client import models

from qwen_embed import Usage
from support.corpus import Hits, Question, show


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


def compare(hits: Hits, others: Hits, question: Question) -> None:
    """Print whether both found the same passages."""
    if [text for text, *_ in hits] == [text for text, *_ in others]:
        print("    LangChain and LlamaIndex agree.")
    else:
        show("    They DISAGREE. LlamaIndex found:", others, question.answer)


def heading(title: str) -> None:
    """Print a heading."""
    print(f"\n{title}\n{'-' * len(title)}")


def report(adapter: str, usage: Usage, seconds: float) -> None:
    """Print how many requests and seconds an adapter took for the passages."""
    count = f"{usage.texts} texts in {usage.requests} requests"
    print(f"{adapter:10}  {count}, {seconds:.1f} s: {usage.texts / seconds:,.0f} texts per second")
