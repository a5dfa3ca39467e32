"""Pairs and lone objects under random use: every text gets its own vector, and is paid for once."""

from __future__ import annotations

import asyncio
import copy
import pickle
import shutil
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
)

from langchain_qwen_embed import QwenEmbeddings, QwenSparseEmbeddings
from llamaindex_qwen_embed import QwenEmbedding, QwenSparseEmbedding
from qwen_embed import (
    ClosedError,
    InputError,
    PartialFailureError,
    QwenEmbedder,
    QwenEmbedError,
    RequestError,
)
from qwen_embed.pipeline import pairing
from tests.support.embedding_calls import LONG_TEXT, Call, Made, Row, agree, is_missing, rows_of
from tests.support.fingerprint_service import FingerprintService, expected_sparse, token_of
from tests.support.watchdog import ended, in_thread, watched

WITH_METADATA = {
    "k: 1\n\nthe cat": "the cat",
    "k: 2\n\nthe cat": "the cat",
    "work: Alice\nchapter: 6\n\nthe dog": "the dog",
    "a: 1\n\nk: 1\n\nthe cat": "k: 1\n\nthe cat",
}
"""Contents of LlamaIndex nodes, and the nodes' bare texts."""

REJECTED = ("rejected", "k: 1\n\nrejected")
"""Two: after three that are rejected alone, the request is to blame and no text."""

TEXTS = ("the cat", "the dog", "风起了", *WITH_METADATA, *REJECTED, "", " \n", LONG_TEXT)

# Half of them from a few, so that they meet again.
text = st.sampled_from(["the cat", "k: 1\n\nthe cat", "k: 2\n\nthe cat"]) | st.sampled_from(TEXTS)
texts = st.lists(text, min_size=1, max_size=5)
nth = st.integers(0, 5)
"""Which of an object's calls."""
way = st.sampled_from(["sync", "async"])

options = st.fixed_dictionaries(
    {"dimension": st.sampled_from([64, 128])},
    optional={
        "normalize": st.just(True),
        "instruct": st.sampled_from(["Find the cat", "Find the dog"]),
        "batch_size": st.sampled_from([1, 2, 3]),
        "empty_text": st.just("zero"),
        "long_text": st.sampled_from(["truncate", "average"]),
    },
)
OF_DENSE = ("dimension", "normalize", "embed_batch_size")


moments = st.integers(0, 50).map(lambda n: n / 10_000)
"""Seconds from the start of a program."""

MANY = [f"text {n}" for n in range(700)]


@pytest.fixture(scope="module")
def filled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that has both vectors of many texts."""
    folder = tmp_path_factory.mktemp("cache")
    with FingerprintService() as service:
        options = {"api_key": service.api_key, "base_url": service.native_url, "dimension": 64}
        with QwenEmbeddings(**options, cache=folder) as embeddings:
            embeddings.embed_both(MANY)
    return folder


def is_blank(text: str) -> bool:
    return not text.strip()


class Kept:
    """What a pair surely keeps, by all that its calls returned.

    Attributes:
        sure: For each kind, how often a text's vector may surely be taken without a payment.
        open: For the bare text of a node, the documents with or without metadata that the dense
            object returned since nothing was kept for any of them.
        unclear: Documents of which a call failed, or which may have been taken.
    """

    def __init__(self) -> None:
        self.sure: dict[str, Counter[tuple[str, str]]] = {"dense": Counter(), "sparse": Counter()}
        self.open: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.unclear: set[str] = set()

    def note(self, call: Call, given: Counter[str], paid: Counter[str], outcome: Any) -> None:
        """Note a call that paid for some of the texts that were given."""
        failed = isinstance(outcome, BaseException)
        if call.role == "document" and call.output == "dense" and not failed:
            self.open_documents(given)
        elif call.role == "document":
            self.unclear.update(given)
        if isinstance(outcome, PartialFailureError):
            self.doubt(call.role, given)
        elif call.of_nodes:
            self.doubt(call.role, {each for bare in given for each in self.allowed(bare, given)})
        elif not failed and call.output != "dense&sparse":
            self.take(call.output, call.role, given, paid)
        # Where it failed as a whole, what was kept is kept; what else arrived need not be.

    def take(self, kind: str, role: str, given: Counter[str], paid: Counter[str]) -> None:
        for each, times in given.items():
            if paid[each]:
                self.sure["sparse" if kind == "dense" else "dense"][role, each] += times
            self.sure[kind][role, each] = max(0, self.sure[kind][role, each] - times)

    def doubt(self, role: str, texts: Iterable[str]) -> None:
        """Expect no vector of these texts, of which nobody knows what became."""
        self.unclear.update(texts)
        for kind in self.sure.values():
            for each in texts:
                kind[role, each] = 0

    def open_documents(self, given: Counter[str]) -> None:
        for bare in {bare for each in given for bare in (each, WITH_METADATA.get(each, each))}:
            if not self.surely_keeps_any(bare):
                self.unclear.update(self.open.pop(bare, ()))
            self.open[bare] += Counter(
                {each: given[each] for each in given if bare in (each, WITH_METADATA.get(each))}
            )

    def surely_keeps_any(self, bare: str) -> bool:
        return any(self.sure["sparse"]["document", each] for each in self.open[bare])

    def allowed(self, bare: str, given: Iterable[str] = ()) -> list[str]:
        """Return the texts whose vector a node of this text may get, in a call of all those given.

        With its metadata where one document stands for it, and bare where several do.
        """
        with_metadata = [each for each, node in WITH_METADATA.items() if node == bare]
        known = [each for each in with_metadata if each in self.unclear or self.open[bare][each]]
        if not self.surely_keeps_any(bare):
            return [bare, *known]
        if len(self.open[bare]) > 1 or not known:
            return [bare]
        surely_one = self.open[bare].total() == 1 and not self.unclear & {bare, *known}
        return known if surely_one and not set(known).intersection(given) else [bare, *known]


class Objects(RuleBasedStateMachine):
    """Calls one after the other."""

    objects = Bundle("objects")

    def __init__(self) -> None:
        super().__init__()
        self.service = FingerprintService()
        self.service.start()
        self.service.rejected.update(REJECTED)
        self.folder: str | None = None
        self.made: list[Made] = []
        self.kept: dict[int, Kept] = {}
        self.closed: set[int] = set()
        # Requests that were cut off may reach the service during later calls.
        self.late: Counter[tuple[str, str]] = Counter()

    def teardown(self) -> None:
        for each in self.made:
            watched(each.it.close)
        self.service.stop()
        if self.folder is not None:
            shutil.rmtree(self.folder)

    # Objects

    @rule(
        target=objects, options=options, output=st.sampled_from(["dense", "sparse", "dense&sparse"])
    )
    def make_a_core_object(self, options: dict[str, Any], output: str) -> Made:
        return self.make(QwenEmbedder, {**options, "output": output})

    @rule(
        target=objects,
        cls=st.sampled_from(
            [QwenEmbeddings, QwenEmbedding, QwenSparseEmbeddings, QwenSparseEmbedding]
        ),
        options=options,
        cached=st.booleans(),
    )
    def make_a_lone_object(self, cls: type, options: dict[str, Any], cached: bool) -> Made:
        return self.make(cls, options, cached=cached)

    @rule(
        target=objects,
        cls=st.sampled_from([QwenEmbeddings, QwenEmbedding]),
        options=options,
        cached=st.booleans(),
    )
    def make_a_pair(self, cls: type, options: dict[str, Any], cached: bool) -> Any:
        return self.pair(cls, options, cached=cached)

    def pair(self, cls: type, options: dict[str, Any], *, cached: bool) -> Any:
        dense = self.make(cls, options, cached=cached)
        sparse = Made(dense.it.sparse(), _of_sparse(options))
        self.made.append(sparse)
        self.kept[id(dense.it)] = self.kept[id(sparse.it)] = Kept()
        return multiple(dense, sparse)

    def make(self, cls: type, options: dict[str, Any], *, cached: bool = False) -> Made:
        if cls in (QwenSparseEmbeddings, QwenSparseEmbedding):
            options = _of_sparse(options)
        if cached and self.folder is None:
            self.folder = tempfile.mkdtemp()
        made = cls(
            api_key=self.service.api_key,
            base_url=self.service.native_url,
            cache=self.folder if cached else None,
            max_retries=2,
            **options,
        )
        self.made.append(Made(made, options))
        return self.made[-1]

    @rule(
        target=objects,
        of=objects,
        how=st.sampled_from(["model_copy", "copy.copy", "copy.deepcopy", "pickle", ".copy"]),
    )
    def copy_one(self, of: Made, how: str) -> Made:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pydantic's of `copy`
            copied = {
                "model_copy": lambda it: it.model_copy(),
                "copy.copy": copy.copy,
                "copy.deepcopy": copy.deepcopy,
                "pickle": lambda it: pickle.loads(pickle.dumps(it)),
                ".copy": lambda it: it.copy(),
            }[how](of.it)
        self.made.append(Made(copied, of.options))
        return self.made[-1]

    @rule(
        target=objects,
        of=objects,
        changed=st.sampled_from(
            [{"instruct": "Find the fox"}, {"dimension": 256}, {"normalize": True}]
        ),
        how=st.sampled_from(["model_copy", "copy"]),
    )
    def copy_one_with_another_option(self, of: Made, changed: dict[str, Any], how: str) -> Made:
        if isinstance(of.it, (QwenSparseEmbeddings, QwenSparseEmbedding)):
            changed = {"instruct": "Find the fox"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            copied = getattr(of.it, how)(update=changed)
        self.made.append(Made(copied, {**of.options, **changed}))
        return self.made[-1]

    @rule(one=objects)
    def close_one(self, one: Made) -> None:
        watched(one.it.close)
        kept = self.kept.get(id(one.it))
        self.closed |= {id(one.it)} | {
            other for other, its in self.kept.items() if kept is not None and its is kept
        }

    # Calls

    @rule(one=objects, nth=nth, texts=texts, way=way)
    def embed(self, one: Made, nth: int, texts: list[str], way: str) -> None:
        call, texts = chosen(one, nth, texts)
        self.check(one, call, texts, self.outcome(one, call, texts, way))

    @rule(
        one=objects,
        nth=nth,
        texts=texts,
        way=way,
        fault=st.sampled_from([500, 503, None]),
        times=st.integers(1, 3),
    )
    def embed_while_requests_fail(
        self, one: Made, nth: int, texts: list[str], way: str, fault: int | None, times: int
    ) -> None:
        """One or two failures are retried; after the third the request is given up."""
        call, texts = chosen(one, nth, texts)
        (self.service.drop_next(times) if fault is None else self.service.fail_next(fault, times))
        outcome = self.outcome(one, call, texts, way)
        self.service.heal()
        self.check(one, call, texts, outcome, troubled=True)

    @rule(one=objects, nth=nth, texts=texts, way=way)
    def embed_while_access_is_denied(self, one: Made, nth: int, texts: list[str], way: str) -> None:
        call, texts = chosen(one, nth, texts)
        self.service.fail_next(403, times=len(texts))
        outcome = self.outcome(one, call, texts, way)
        self.service.heal()
        self.check(one, call, texts, outcome, troubled=True)

    @rule(one=objects, nth=nth, texts=texts)
    def cancel_a_call_that_waits_for_its_answer(
        self, one: Made, nth: int, texts: list[str]
    ) -> None:
        call, texts = chosen(one, nth, texts)
        arrived = self.service.arrived

        async def cancelled() -> list[Row]:
            task = asyncio.ensure_future(one.arun(call, texts))
            while not task.done() and self.service.arrived == arrived:
                await asyncio.sleep(0.0005)
            task.cancel()
            return await task

        self.service.hold()
        try:
            outcome = self.caught(lambda: asyncio.run(cancelled()))
        finally:
            self.service.release()
        assert self.service.wait_until_idle()
        self.check(one, call, texts, outcome, cancelled=True)

    @rule(one=objects)
    def look_at_limits_and_usage(self, one: Made) -> None:
        try:
            assert one.it.limits.concurrency >= 1
        except ClosedError:
            assert id(one.it) in self.closed
        assert one.it.usage.texts >= 0

    @rule(one=objects, query=st.sampled_from(TEXTS[:7]), document=st.sampled_from(TEXTS[:7]))
    def explain_a_match(self, one: Made, query: str, document: str) -> None:
        try:
            shared = watched(lambda: one.it.explain_match(query, document))
        except ClosedError:
            assert id(one.it) in self.closed
            return
        of_query = expected_sparse(query, "query", instruct=one.options.get("instruct"))
        both = of_query.keys() & expected_sparse(document).keys()
        assert {each.token for each in shared} == set(map(token_of, both))

    # What a call may come to

    def outcome(self, one: Made, call: Call, texts: list[str], way: str) -> Any:
        if way == "sync":
            return self.caught(lambda: one.run(call, texts))
        return self.caught(lambda: asyncio.run(one.arun(call, texts)))

    def caught(self, run: Callable[[], list[Row]]) -> list[Row] | BaseException:
        self.paid_before = self.service.paid.copy()
        try:
            return watched(run)
        except (QwenEmbedError, asyncio.CancelledError) as error:
            return error

    def check(
        self,
        one: Made,
        call: Call,
        texts: list[str],
        outcome: Any,
        *,
        troubled: bool = False,
        cancelled: bool = False,
    ) -> None:
        if isinstance(outcome, asyncio.CancelledError):
            assert cancelled
        elif isinstance(outcome, ClosedError):
            assert id(one.it) in self.closed
        elif isinstance(outcome, InputError):
            blank = tuple(index for index, each in enumerate(texts) if is_blank(each))
            assert outcome.indices == blank
            assert "empty_text" not in one.options
        elif isinstance(outcome, BaseException):
            self.check_failure(one, call, texts, outcome, troubled=troubled)
        else:
            assert id(one.it) not in self.closed
            assert not set(REJECTED).intersection(texts)
            assert len(outcome) == len(texts)
            self.check_rows(one, call, texts, outcome)
        self.check_payment(one, call, texts, outcome)

    def check_failure(
        self, one: Made, call: Call, texts: list[str], error: Any, *, troubled: bool
    ) -> None:
        assert troubled or set(REJECTED).intersection(texts)
        if isinstance(error, PartialFailureError):
            failed = {failure.index for failure in error.failures}
            rejected = {index for index, each in enumerate(texts) if each in REJECTED}
            assert failed >= rejected if troubled else failed == rejected
        else:
            assert isinstance(error, RequestError)
            assert troubled or len(texts) == 1
            failed = set(range(len(texts)))
        if error.result is not None:
            rows = rows_of(error.result)
            assert len(rows) == len(texts)
            there = {index for index, row in enumerate(rows) if not is_missing(row)}
            if isinstance(error, PartialFailureError):
                unclear = {index for index, each in enumerate(texts) if is_blank(each)}
                assert there - unclear == set(range(len(texts))) - failed - unclear
            self.check_rows(one, call, texts, rows, there)

    def check_rows(
        self,
        one: Made,
        call: Call,
        texts: list[str],
        rows: list[Row],
        there: set[int] | None = None,
    ) -> None:
        kept = self.kept.get(id(one.it))
        for index in range(len(texts)) if there is None else sorted(there):
            allowed = [texts[index]]
            if call.of_nodes and kept is not None:
                allowed = kept.allowed(texts[index], texts)
            assert any(agree(rows[index], one.expected(call, each)) for each in allowed), (
                f"{texts[index]!r} has the row of another text"
            )

    def check_payment(self, one: Made, call: Call, texts: list[str], outcome: Any) -> None:
        """Nothing that a pair keeps is paid for again, and nothing else more than once."""
        kept = self.kept.get(id(one.it))
        takes = kept is not None and call.output != "dense&sparse" and not call.of_nodes
        paid: Counter[str] = Counter()
        for each, times in (self.service.paid - self.paid_before).items():
            if each.role == call.role:
                paid[each.text] += times
        for each in set(texts) - {LONG_TEXT}:
            waiting = takes and kept.sure[call.output][call.role, each] > 0
            assert paid[each] <= (not waiting) + self.late[call.role, each], (
                f"{each!r} was paid for {paid[each]} times" + " though it was kept" * waiting
            )
            if isinstance(outcome, BaseException) and not waiting:
                self.late[call.role, each] += 1
        if kept is not None and not isinstance(outcome, (ClosedError, InputError)):
            given = Counter(each for each in texts if not is_blank(each))
            kept.note(call, given, paid, outcome)


def _of_sparse(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in OF_DENSE}


def chosen(one: Made, nth: int, texts: list[str]) -> tuple[Call, list[str]]:
    call = one.calls[nth % len(one.calls)]
    return call, texts[:1] if call.single else texts


class OnePair(Objects):
    """Calls of a single pair."""

    make_a_core_object = make_a_lone_object = make_a_pair = None
    copy_one = copy_one_with_another_option = close_one = explain_a_match = None

    @initialize(
        target=Objects.objects,
        cls=st.sampled_from([QwenEmbedding, QwenEmbeddings]),
        options=options,
        cached=st.booleans(),
    )
    def begin(self, cls: type, options: dict[str, Any], cached: bool) -> Any:
        return self.pair(cls, options, cached=cached)


class InterruptedPair(OnePair):
    """Calls of a single pair, some of which are cancelled at any time."""

    @rule(
        one=Objects.objects,
        nth=nth,
        texts=texts,
        ticks=st.integers(0, 40),
    )
    def cancel_a_call_at_any_time(self, one: Made, nth: int, texts: list[str], ticks: int) -> None:
        call, texts = chosen(one, nth, texts)

        async def cancelled() -> list[Row]:
            task = asyncio.ensure_future(one.arun(call, texts))
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            return await task

        outcome = self.caught(lambda: asyncio.run(cancelled()))
        self.check(one, call, texts, outcome, cancelled=True)
        if kept := self.kept.get(id(one.it)):
            kept.doubt(call.role, texts)


class ForgetfulPair(OnePair):
    """Calls of a single pair that keeps next to nothing: it pays more often, and is as right."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(pairing, "CAPACITY", 2000)

    def teardown(self) -> None:
        self.patch.undo()
        super().teardown()

    def check_payment(self, one: Made, call: Call, texts: list[str], outcome: Any) -> None:
        for kept in self.kept.values():
            kept.sure["dense"].clear()
            kept.sure["sparse"].clear()
            kept.unclear.update(TEXTS)
        super().check_payment(one, call, texts, outcome)


async def cancelled_after(seconds: float, one: Made, call: Call, texts: Sequence[str]) -> None:
    task = asyncio.ensure_future(one.arun(call, texts))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# Time has a part in the two: there is nothing to shrink.
@settings(phases=[Phase.generate], max_examples=settings.default.max_examples // 3)
@given(
    cls=st.sampled_from([QwenEmbeddings, QwenEmbedding]),
    starts=st.lists(
        st.tuples(moments, st.booleans(), nth, st.lists(st.sampled_from(TEXTS[:7]), min_size=1)),
        min_size=1,
        max_size=5,
    ),
    close_at=st.none() | moments,
    delay=st.sampled_from([0.0, 0.001]),
)
def test_calls_of_a_pair_in_threads_while_it_is_closed(
    threads_switch_often: None,
    cls: type,
    starts: list[tuple[float, bool, int, list[str]]],
    close_at: float | None,
    delay: float,
) -> None:
    with FingerprintService() as service:
        service.delay = delay
        options = {"dimension": 64}
        dense = Made(cls(api_key=service.api_key, base_url=service.native_url, **options), options)
        pair = (dense, Made(dense.it.sparse(), {}))

        def run(start: float, of_sparse: bool, nth: int, texts: list[str]) -> None:
            one = pair[of_sparse]
            call, texts = chosen(one, nth, texts)
            time.sleep(start)
            try:
                rows = one.run(call, texts)
            except ClosedError:
                assert close_at is not None
            else:
                if not call.of_nodes:
                    assert all(map(agree, rows, (one.expected(call, each) for each in texts)))

        def close() -> None:
            time.sleep(close_at or 0.0)
            dense.it.close()

        with dense.it:
            runs = [in_thread(partial(run, *start)) for start in starts]
            if close_at is not None:
                watched(close)
            for each in runs:
                ended(each)
            if close_at is not None:
                with pytest.raises(ClosedError):
                    _ = dense.it.limits
        assert service.wait_until_left(), "a connection is open after close()"


@settings(phases=[Phase.generate], max_examples=settings.default.max_examples // 10)
@given(
    moments=st.lists(st.integers(0, 200).map(lambda n: n / 10_000), min_size=1, max_size=6),
    which=st.booleans(),
)
def test_cancelled_calls_of_a_pair_with_a_cache_harm_no_other(
    threads_switch_often: None, filled_cache: Path, moments: list[float], which: bool
) -> None:
    with FingerprintService() as service:
        options = {"dimension": 64}
        dense = Made(
            QwenEmbeddings(
                api_key=service.api_key, base_url=service.native_url, cache=filled_cache, **options
            ),
            options,
        )
        pair = (dense, Made(dense.it.sparse(), {}))
        call = pair[which].calls[0]
        with dense.it:
            for seconds in moments:
                cancelled = cancelled_after(seconds, pair[which], call, MANY)
                watched(partial(asyncio.run, cancelled))
            for one in pair:
                rows = watched(partial(one.run, one.calls[0], MANY))
                assert all(map(agree, rows, (one.expected(one.calls[0], each) for each in MANY)))


def cases_of(machine: type[RuleBasedStateMachine], part: int) -> type:
    """Return a machine's tests, with a part of the examples others have."""
    case = machine.TestCase
    case.settings = settings(
        max_examples=settings.default.max_examples // part, stateful_step_count=30
    )
    return case


TestObjects = cases_of(Objects, 8)
TestOnePair = cases_of(OnePair, 5)
TestInterruptedPair = cases_of(InterruptedPair, 10)
TestForgetfulPair = cases_of(ForgetfulPair, 10)
