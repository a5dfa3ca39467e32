"""Components of LlamaIndex that embed: what they send in which role, and how often."""

from __future__ import annotations

import warnings

import pytest
from llama_index.core import Document, SummaryIndex, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import QueryBundle, TextNode
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.tools import ToolMetadata
from llama_index.core.vector_stores import SimpleVectorStore

from llamaindex_qwen_embed import QwenEmbedding
from qwen_embed import AuthenticationError
from tests.support.example_output import texts_sent
from tests.support.interfaces import API_KEY

TEXTS = [f"passage number {n}" for n in range(25)]
KEPT_UP = [DocstoreStrategy.UPSERTS, DocstoreStrategy.UPSERTS_AND_DELETE]


@pytest.fixture
def embedding(service):
    with QwenEmbedding(api_key=API_KEY, base_url=service.native_url, dimension=64) as embedding:
        yield embedding


@pytest.fixture
def index(service, embedding):
    nodes = [TextNode(text=text) for text in TEXTS]
    return VectorStoreIndex(nodes, embed_model=embedding, use_async=True)


def documents(service):
    return texts_sent(service.requests, "document")


def queries(service):
    return texts_sent(service.requests, "query")


def test_an_index_sends_each_text_once(service, index):
    assert sorted(documents(service)) == sorted(TEXTS)
    assert len(service.requests) == 3


def test_nodes_that_have_their_vectors_are_not_embedded_again(service, embedding):
    nodes = embedding([TextNode(text=text) for text in TEXTS])
    service.clear()

    VectorStoreIndex(nodes, embed_model=embedding)

    assert service.requests == []


def fusion(index, **options):
    """Return a fusion of two retrievers over one index."""
    retrievers = [index.as_retriever(), index.as_retriever()]
    return QueryFusionRetriever(retrievers, num_queries=1, llm=MockLLM(), **options)


@pytest.mark.upstream
def test_fused_retrievers_send_a_query_once_in_sync_code_and_each_in_async_code(service, index):
    fusion(index, use_async=False).retrieve("number 7")
    assert queries(service) == ["number 7"]
    service.clear()

    fusion(index, use_async=True).retrieve("number 7")  # the default
    assert queries(service) == ["number 7"] * 2


def test_fused_retrievers_accept_a_query_with_its_vector(service, index, embedding):
    query = QueryBundle("number 7", embedding=embedding.get_query_embedding("number 7"))

    [found, *_] = fusion(index, use_async=True).retrieve(query)

    assert found.text == TEXTS[7]
    assert queries(service) == ["number 7"]


@pytest.mark.upstream
def test_a_selector_by_embeddings_sends_all_descriptions_for_each_question(service, embedding):
    selector = EmbeddingSingleSelector.from_defaults(embedding)
    choices = [ToolMetadata(name=name, description=f"about {name}") for name in ("tea", "cats")]

    assert selector.select(choices, "cats?").ind == 1
    assert selector.select(choices, "tea?").ind == 0

    assert documents(service) == ["about tea", "about cats"] * 2
    assert queries(service) == ["cats?", "tea?"]
    assert len(service.requests) == 6


@pytest.mark.upstream
def test_a_summary_index_asked_by_embeddings_sends_all_texts_for_each_question(service, embedding):
    index = SummaryIndex([TextNode(text=text) for text in TEXTS[:3]])
    retriever = index.as_retriever(retriever_mode="embedding", embed_model=embedding)

    for question in ("number 1", "number 2"):
        retriever.retrieve(question)

    assert documents(service) == TEXTS[:3] * 2
    assert len(service.requests) == 2 * (1 + 3)


@pytest.fixture(params=[*KEPT_UP, DocstoreStrategy.DUPLICATES_ONLY])
def strategy(request):
    return request.param


def pipeline(embedding, strategy, *before, vector_store=True):
    return IngestionPipeline(
        transformations=[*before, embedding],
        docstore=SimpleDocumentStore(),
        vector_store=SimpleVectorStore() if vector_store else None,
        docstore_strategy=strategy,
        disable_cache=True,
    )


def run(service, pipeline, *texts, **metadata):
    """Run a pipeline over documents, and return the texts that were sent."""
    service.clear()
    shown = {"metadata": metadata, "excluded_embed_metadata_keys": list(metadata)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "docstore_strategy=")
        pipeline.run(documents=[Document(text=t, id_=str(n), **shown) for n, t in enumerate(texts)])
    return documents(service)


def test_a_pipeline_with_a_docstore_sends_only_changed_documents(service, embedding, strategy):
    known = pipeline(embedding, strategy)

    assert run(service, known, "a", "b", "c") == ["a", "b", "c"]
    assert run(service, known, "a", "b", "c") == []
    assert run(service, known, "a", "B", "c") == ["B"]


@pytest.mark.upstream
def test_metadata_that_is_not_embedded_still_counts_as_a_change(service, embedding, strategy):
    known = pipeline(embedding, strategy)

    run(service, known, "a", "b", read="Monday")

    assert run(service, known, "a", "b", read="Tuesday") == ["a", "b"]


@pytest.mark.upstream
def test_all_chunks_of_a_changed_document_are_sent(service, embedding, strategy):
    known = pipeline(embedding, strategy, TokenTextSplitter(chunk_size=20, chunk_overlap=0))
    story = "".join(f"This is line {n} of it. " for n in range(6))

    parts = run(service, known, story)
    again = run(service, known, story.replace("line 5", "line 6"))

    assert len(parts) > 1
    assert again[:-1] == parts[:-1]
    assert again[-1] != parts[-1]


def fail(service, pipeline):
    service.fail_next(1, status=401, code="InvalidApiKey")
    with pytest.raises(AuthenticationError):
        run(service, pipeline, "a", "b")


@pytest.mark.parametrize("strategy", KEPT_UP)
def test_the_run_after_a_failed_run_sends_the_missing_texts(service, embedding, strategy):
    known = pipeline(embedding, strategy)

    fail(service, known)

    assert run(service, known, "a", "b") == ["a", "b"]


@pytest.mark.parametrize(
    ("strategy", "vector_store"),
    [(DocstoreStrategy.DUPLICATES_ONLY, True), (DocstoreStrategy.UPSERTS, False)],
)
@pytest.mark.upstream
def test_a_failed_run_counts_as_done_with_the_duplicates_strategy(
    service, embedding, strategy, vector_store
):
    known = pipeline(embedding, strategy, vector_store=vector_store)

    fail(service, known)

    assert run(service, known, "a", "b") == []


@pytest.mark.upstream
def test_a_cache_without_a_docstore_matches_whole_runs_only(service, embedding):
    cached = IngestionPipeline(transformations=[embedding])

    assert run(service, cached, "a", "b", "c") == ["a", "b", "c"]
    assert run(service, cached, "a", "b", "c") == []
    assert run(service, cached, "a", "B", "c") == ["a", "B", "c"]
