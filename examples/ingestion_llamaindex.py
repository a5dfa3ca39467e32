"""Keep an index up to date: only new or changed texts are embedded. LlamaIndex and Qdrant.

Run `python examples/ingestion_llamaindex.py` twice. The second run embeds nothing. It calls the
real service if DASHSCOPE_API_KEY is set; otherwise it runs the bundled emulator, which only matches
words.
"""

import sys
import warnings
from contextlib import ExitStack
from pathlib import Path

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient
from support.corpus import read_passages, shorten
from support.service import service_options

from llamaindex_qwen_embed import QwenEmbedding


def main(folder: Path = Path("demo_output/ingestion_llamaindex")) -> None:
    """Update an index with three editions of a story, then search it."""
    warnings.filterwarnings("ignore", "Payload indexes have no effect in the local Qdrant")
    with ExitStack() as stack:
        service = service_options(stack)
        embedding = stack.enter_context(QwenEmbedding(**service))
        # The docstore knows documents by text alone: each model and dimension needs its own folder.
        folder /= ("emulator-" if service else "") + embedding.cache_namespace
        client = QdrantClient(path=str(folder / "qdrant"))
        stack.callback(client.close)
        seen = folder / "docstore.json"
        load = SimpleDocumentStore.from_persist_path
        docstore = load(str(seen)) if seen.exists() else SimpleDocumentStore()
        pipeline = IngestionPipeline(
            transformations=[SentenceSplitter(), embedding],
            vector_store=QdrantVectorStore("story", client=client),
            # With "duplicates_only", or without a vector store, a failed run counts as done.
            docstore=docstore,
            docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
            # The cache is keyed by the whole list: one change would embed all documents again.
            disable_cache=True,
        )

        for edition, documents in read_editions().items():
            before = embedding.usage
            pipeline.run(documents=documents)
            docstore.persist(str(seen))
            embedded = embedding.usage.texts - before.texts
            stored = client.count("story").count
            print(f"{edition}: {len(documents)} passages, {embedded} embedded, {stored} stored")

        index = VectorStoreIndex.from_vector_store(pipeline.vector_store, embed_model=embedding)
        [found] = index.as_retriever(similarity_top_k=1).retrieve("谁套着银项圈？")
        print(f"\n谁套着银项圈？ [{found.node.ref_doc_id}] {shorten(found.text, 72)}")
        print(f"\nUsed: {embedding.usage}")


def read_editions() -> dict[str, list[Document]]:
    """Return the passages of a story: original, unchanged, and with three changes."""
    # The text is compared with all its metadata, embedded or not: a date of reading would cause all
    # documents to be embedded again each day. All chunks of a changed document are embedded again.
    passages = zip(*read_passages("故乡"), strict=True)
    first = [Document(text=text, id_=about["id"]) for text, about in passages]
    changed = Document(text=f"{first[3].text}（完）", id_=first[3].id_)
    added = Document(text="《故乡》写于一九二一年一月。", id_="note")
    third = [*first[:3], changed, *first[4:-1], added]
    return {
        "First edition": first,
        "The same": first,
        "One passage changed, one removed, one added": third,
    }


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main()
