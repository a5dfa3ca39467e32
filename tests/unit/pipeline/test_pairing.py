"""Pairing: each vector taken once, never another text's, and no more kept than allowed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_embed.config.settings import EmbeddingSettings
from qwen_embed.errors import PartialFailureError
from qwen_embed.pipeline import pairing
from qwen_embed.pipeline.collectors import LISTS, SPARSE, SPARSE_OF_NODES
from qwen_embed.pipeline.pairing import Claim, KeptVectors, TextKey, key_of
from qwen_embed.pipeline.plan import plan_texts
from qwen_embed.runtime.session import Session
from qwen_embed.sparse import SparseRow
from tests.support.interfaces import API_KEY


def key(text):
    return key_of("document", text)


def kept_of(*texts, count=1, size=8):
    return [(key(text), count, text.encode().ljust(size, b".")) for text in texts]


def take(kept, *texts, count=1):
    """Take the vectors of texts, one after the other, for calls that deliver them."""
    taken = []
    for text in texts:
        claim = Claim(kept)
        taken.append(claim.take(key(text), count))
        claim.settle(delivered=True)
    return taken


def take_of_node(kept, node):
    claim = Claim(kept)
    packed = claim.take_of_node(node)
    claim.settle(delivered=True)
    return packed


def test_a_kept_vector_is_taken_once():
    kept = KeptVectors()
    kept.store(kept_of("a", "b"))

    assert take(kept, "a", "a") == [b"a.......", None]
    assert len(kept) == 1


def test_a_role_is_part_of_the_key():
    kept = KeptVectors()
    kept.store(kept_of("a"))

    assert Claim(kept).take(key_of("query", "a")) is None


def test_the_same_text_of_two_calls_is_kept_twice():
    kept = KeptVectors()
    kept.store([(key("a"), 1, b"first")])
    kept.store([(key("a"), 1, b"second")])

    assert take(kept, "a", "a", "a") == [b"first", b"second", None]


def test_a_text_that_stood_twice_in_a_call_may_be_taken_apart_or_together():
    kept = KeptVectors()
    kept.store(kept_of("a", "b", count=2))

    assert [vector is not None for vector in take(kept, "a", "a", "a")] == [True, True, False]
    assert take(kept, "b", count=2) == [b"b......."]
    assert take(kept, "b") == [None]


def test_a_vector_set_aside_for_one_call_is_not_there_for_another():
    kept = KeptVectors()
    kept.store(kept_of("a"))

    first, second = Claim(kept), Claim(kept)

    assert first.take(key("a")) == b"a......."
    assert second.take(key("a")) is None


def test_a_vector_that_a_call_did_not_deliver_is_kept_for_the_next():
    kept = KeptVectors()
    kept.store(kept_of("a", count=2))
    claim = Claim(kept)
    claim.take(key("a"), 2)

    claim.settle(delivered=False)

    assert take(kept, "a", "a", "a") == [b"a.......", b"a.......", None]


def test_a_vector_that_was_evicted_while_a_call_had_it_is_gone_whatever_comes_of_the_call():
    for delivered in (True, False):
        kept = KeptVectors(capacity=1000)
        kept.store(kept_of("a"))
        claim = Claim(kept)
        claim.take(key("a"))
        kept.store(kept_of("b", size=1000))

        claim.settle(delivered=delivered)

        assert take(kept, "a", "b") == [None, b"b" + b"." * 999]
        assert (len(kept), kept.size) == (0, 0)


def nodes(*documents):
    """Return vectors of documents that all stand for one node's text."""
    kept = KeptVectors()
    kept.register([TextKey(key(document), b"text") for document in documents])
    kept.store([(key(document), 1, document.encode()) for document in documents])
    return kept


def test_a_node_is_found_by_its_text_where_there_was_one_document_for_it():
    kept = nodes("n: 0\n\ntext", "n: 0\n\ntext")

    taken = [take_of_node(kept, b"text") for _ in range(3)]

    assert taken == [b"n: 0\n\ntext", b"n: 0\n\ntext", None]


@pytest.mark.parametrize("other", ["n: 1\n\ntext", "text"], ids=["other metadata", "no metadata"])
def test_a_node_is_not_found_once_there_was_another_document_for_its_text(other):
    kept = nodes("n: 0\n\ntext", other)

    assert take_of_node(kept, b"text") is None
    assert take(kept, other) == [other.encode()]
    assert take_of_node(kept, b"text") is None  # the one that is left may be the wrong one
    assert take(kept, "n: 0\n\ntext") == [b"n: 0\n\ntext"]


def test_a_document_makes_a_node_ambiguous_also_where_its_vector_is_not_kept():
    kept = nodes("n: 0\n\ntext")

    kept.register([TextKey(key("text"), b"text")])

    assert take_of_node(kept, b"text") is None


def test_more_nodes_than_can_be_told_apart_are_not_found(monkeypatch):
    monkeypatch.setattr(pairing, "MOST_NODES", 1)
    kept = nodes("n: 0\n\ntext")
    kept.register([TextKey(key("n: 0\n\nother"), b"other")])
    kept.store([(key("n: 0\n\nother"), 1, b"other")])

    assert take_of_node(kept, b"other") is None
    assert take_of_node(kept, b"text") == b"n: 0\n\ntext"


def test_nothing_is_held_once_all_was_taken():
    kept = KeptVectors()
    for _ in range(3):
        kept.store([(key(f"{n}"), 1, b"x" * 100) for n in range(50)])
    assert None not in take(kept, *[f"{n % 50}" for n in range(150)])

    assert (len(kept), kept.size) == (0, 0)
    assert (kept._vectors, kept._calls) == ({}, {})


def test_the_oldest_calls_are_forgotten_whole_and_the_newest_never():
    kept = KeptVectors(capacity=3000)
    kept.store(kept_of("a", "b", size=500))
    kept.store(kept_of("c", "d", size=500))
    assert len(kept) == 2

    kept.store(kept_of("e", "f", "g", "h", size=5000))

    assert [bool(vector) for vector in take(kept, *"abcdefgh")] == [False] * 4 + [True] * 4


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["store", "take", "settle", "give back"]),
            st.sampled_from("abcde"),
            st.integers(1, 3),
        )
    )
)
def test_a_vector_is_never_another_texts_and_never_taken_more_often_than_it_was_given(steps):
    kept = KeptVectors(capacity=2500)
    given_of, taken_of = Counter(), Counter()
    open_claims: list[tuple[Claim, str, int]] = []
    for step, text, count in steps:
        if step == "store":
            kept.store(kept_of(text, count=count))
            given_of[text] += count
        elif step == "take":
            claim = Claim(kept)
            packed = claim.take(key(text), count)
            assert packed is None or packed.startswith(text.encode())
            claimed = sum(each for _, each in claim._claimed)
            open_claims.append((claim, text, claimed))
            taken_of[text] += claimed
        elif open_claims:
            claim, claimed_text, claimed = open_claims.pop(0)
            claim.settle(delivered=step == "settle")
            if step != "settle":
                taken_of[claimed_text] -= claimed
        assert taken_of <= given_of
        assert kept.size <= 2500


@pytest.fixture
def session(service):
    session = Session(EmbeddingSettings(api_key=API_KEY, base_url=service.native_url, dimension=64))
    session.pair_vectors(lambda text: text.partition("\n\n")[2] or None)
    yield session
    session.close()


def kept_by(session):
    return {kind: len(kept) for kind, kept in session.pairing.kept.items()}


@pytest.mark.parametrize(("first", "second"), [(LISTS, SPARSE), (SPARSE, LISTS)])
@pytest.mark.parametrize("role", ["document", "query"])
def test_the_second_side_costs_nothing_whichever_it_is(service, session, first, second, role):
    texts = [f"text {n}" for n in range(25)]

    session.embed(texts, role, first)
    sent = len(service.requests)
    embedded = session.embed(texts, role, second)
    rows, usage = embedded.rows, embedded.usage

    assert (sent, len(service.requests), usage.requests) == (3, 3, 0)
    assert len(rows) == 25
    assert kept_by(session) == {"dense": 0, "sparse": 0}


def test_a_kept_vector_is_the_vector_that_would_have_been_sent(service, session):
    texts = ["The wind rises.", "风起了。", "The wind rises."]
    alone = Session(EmbeddingSettings(api_key=API_KEY, base_url=service.native_url, dimension=64))
    session.embed(texts, "document", LISTS)
    session.embed(texts, "query", SPARSE)

    assert session.embed(texts, "document", SPARSE).rows.rows() == (
        alone.embed(texts, "document", SPARSE).rows.rows()
    )
    assert session.embed(texts, "query", LISTS).rows == alone.embed(texts, "query", LISTS).rows
    alone.close()


def test_only_what_is_missing_is_asked_for(service, session):
    session.embed(["a", "b"], "document", LISTS)
    service.clear()

    session.embed(["b", "c", "a"], "document", SPARSE)

    assert [request.body["input"]["texts"] for request in service.requests] == [["c"]]
    assert kept_by(session) == {"dense": 1, "sparse": 0}


def test_a_query_never_gets_the_vector_of_a_document(service, session):
    session.embed(["a"], "document", LISTS)

    session.embed(["a"], "query", SPARSE)

    assert len(service.requests) == 2


def test_a_request_of_a_pair_asks_for_both(service, session):
    session.embed(["a"], "document", LISTS)

    assert service.requests[0].body["parameters"] == {
        "text_type": "document",
        "dimension": 64,
        "output_type": "dense&sparse",
    }


def test_a_node_is_found_by_its_text_without_metadata_only_where_nodes_are_asked_for(
    service, session
):
    session.embed(["work: Alice\n\nThe Cat grinned."], "document", LISTS)
    service.clear()

    session.embed(["The Cat grinned."], "document", SPARSE)
    assert len(service.requests) == 1
    [row] = session.embed(["The Cat grinned."], "document", SPARSE_OF_NODES).rows
    assert len(service.requests) == 1
    assert "alice" not in row.tokens  # tokens are not kept; the entries are those with metadata
    assert len(row.indices) > 4


def test_vectors_that_came_along_with_a_call_that_failed_in_part_are_kept(service, session):
    texts = ["fine", "word " * 10_000, "also fine"]

    with pytest.raises(PartialFailureError, match="1 of 3 texts"):
        session.embed(texts, "document", LISTS).unwrap()
    service.clear()
    session.embed(["fine", "also fine"], "document", SPARSE)

    assert service.requests == []


def test_a_packed_row_takes_eight_bytes_an_entry():
    row = SparseRow(tuple(range(200)), (0.5,) * 200)

    assert len(row.pack()) == 1600


def test_counts_say_how_often_a_text_stands_in_a_call():
    assert plan_texts(["a", "b", "a"]).counts() == [2, 1]
