"""The hand-off: each half taken once, never another text's, and no more held than allowed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from faces import API_KEY
from hypothesis import given
from hypothesis import strategies as st

from qwen_embed.errors import PartialFailureError
from qwen_embed.hybrid import HandOff, Pair, key_of
from qwen_embed.planner import plan_texts
from qwen_embed.rows import LISTS, SPARSE, SPARSE_OF_NODES
from qwen_embed.session import Session
from qwen_embed.settings import EmbeddingSettings
from qwen_embed.sparse import SparseRow


def key(text, role="document"):
    return key_of(role, text)


def left(*texts, takings=1, size=8):
    return [((key(text),), takings, text.encode().ljust(size, b".")) for text in texts]


def test_what_was_left_is_taken_once():
    hand_off = HandOff()
    hand_off.put(left("a", "b"))

    assert hand_off.take(key("a")) == b"a......."
    assert hand_off.take(key("a")) is None
    assert len(hand_off) == 1


def test_a_role_is_part_of_the_key():
    hand_off = HandOff()
    hand_off.put(left("a"))

    assert hand_off.take(key("a", "query")) is None


def test_the_same_text_of_two_calls_is_there_twice():
    hand_off = HandOff()
    hand_off.put([((key("a"),), 1, b"first")])
    hand_off.put([((key("a"),), 1, b"second")])

    assert [hand_off.take(key("a")) for _ in range(3)] == [b"first", b"second", None]


def test_a_text_that_stood_twice_in_a_call_may_be_taken_apart_or_together():
    hand_off = HandOff()
    hand_off.put(left("a", "b", takings=2))

    assert [hand_off.take(key("a")) is not None for _ in range(3)] == [True, True, False]
    assert hand_off.take(key("b"), takings=2) is not None
    assert hand_off.take(key("b")) is None


def test_nodes_of_one_text_that_differ_in_metadata_are_not_taken_for_each_other():
    hand_off = HandOff()
    for n in range(2):
        hand_off.put([((key(f"n: {n}\n\ntext"), key_of("node", "text")), 1, b"vector %d" % n)])

    assert hand_off.take(key_of("node", "text")) is None
    assert hand_off.take(key("n: 1\n\ntext")) == b"vector 1"
    assert hand_off.take(key_of("node", "text")) == b"vector 0"


def test_nothing_is_held_once_all_was_taken():
    hand_off = HandOff()
    for _ in range(3):
        hand_off.put([((key(f"{n}"), key_of("node", f"{n}")), 1, b"x" * 100) for n in range(50)])
    for n in range(150):
        assert hand_off.take(key(f"{n % 50}"))

    assert (len(hand_off), hand_off.size) == (0, 0)
    assert hand_off._vectors == {}


def test_the_oldest_calls_are_forgotten_whole_and_the_newest_never():
    hand_off = HandOff(capacity=3000)
    hand_off.put(left("a", "b", size=500))
    hand_off.put(left("c", "d", size=500))
    assert len(hand_off) == 2

    hand_off.put(left("e", "f", "g", "h", size=5000))

    assert [hand_off.take(key(text)) is not None for text in "abcdefgh"] == [False] * 4 + [True] * 4


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcde"), st.integers(1, 3))))
def test_a_vector_is_never_another_texts(steps):
    hand_off = HandOff(capacity=2500)
    for put, text, takings in steps:
        if put:
            hand_off.put(left(text, takings=takings))
        else:
            taken = hand_off.take(key(text), takings)
            assert taken is None or taken.startswith(text.encode())
        assert hand_off.size <= 2500


def test_threads_take_each_vector_once():
    hand_off = HandOff()
    texts = [f"text {n}" for n in range(500)]
    taken = []
    start = threading.Barrier(16)

    def work(thread):
        start.wait()
        for n in range(thread, 500, 4):  # four threads for each text
            hand_off.put(left(texts[n], size=16))
            taken.append((texts[n], hand_off.take(key(texts[n]))))

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(work, range(16)))

    assert all(vector.startswith(text.encode()) for text, vector in taken)
    assert len(hand_off) == 0


@pytest.fixture
def session(service):
    session = Session(EmbeddingSettings(api_key=API_KEY, base_url=service.native_url, dimension=64))
    session.pair = Pair(node_text=lambda text: text.partition("\n\n")[2] or None)
    yield session
    session.close()


def waiting(session):
    return {half: len(held) for half, held in session.pair.waiting.items()}


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
    assert waiting(session) == {"dense": 0, "sparse": 0}


def test_a_row_that_waited_is_the_row_that_would_have_been_sent(service, session):
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
    assert waiting(session) == {"dense": 1, "sparse": 0}


def test_a_query_never_gets_the_half_of_a_document(service, session):
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


def test_halves_of_a_call_that_failed_in_part_are_not_lost(service, session):
    texts = ["fine", "word " * 10_000, "also fine"]

    with pytest.raises(PartialFailureError, match="1 of 3 texts"):
        session.embed(texts, "document", LISTS).whole()
    service.clear()
    session.embed(["fine", "also fine"], "document", SPARSE)

    assert service.requests == []


def test_a_packed_row_takes_eight_bytes_an_entry():
    row = SparseRow(tuple(range(200)), (0.5,) * 200)

    assert len(row.pack()) == 1600


def test_counts_say_how_often_a_text_stands_in_a_call():
    assert plan_texts(["a", "b", "a"]).counts() == [2, 1]
