"""The parts behind one embedding object: its pipeline on the background loop, and what it used.

This module loads aiohttp and numpy, so it is imported with the first call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar

from tqdm.auto import tqdm

from qwen_embed import runtime
from qwen_embed.assembly import (
    build_limiter,
    build_pipeline,
    build_tracing,
    known_limits,
    open_cache,
)
from qwen_embed.errors import RequestError, RequestTimeoutError, TextFailure
from qwen_embed.hybrid import OTHER, Half, Pair, RowsAndHalf
from qwen_embed.limiter import AccountLimiter, Admit, Limits
from qwen_embed.logs import Log
from qwen_embed.long_texts import Cutter, Parts
from qwen_embed.models import find_model
from qwen_embed.observation import CallRecord, Failure, Listen, observe
from qwen_embed.pipeline import Call, Pipeline
from qwen_embed.planner import Plan, plan_texts
from qwen_embed.results import Embedded
from qwen_embed.rows import (
    LISTS,
    LISTS_AND_SPARSE,
    RESULTS,
    SPARSE,
    SPARSE_OF_NODES,
    SPARSE_WITH_TOKENS,
    Form,
    Rows,
)
from qwen_embed.settings import EmbeddingSettings
from qwen_embed.stream import BLOCKS_AHEAD, Stream
from qwen_embed.usage import Usage
from qwen_embed.wire import Output, Parameters, TextType

R = TypeVar("R")
T = TypeVar("T")


class Session:
    """Embeds for one object, sync and async, into any form, all by one path.

    The forms are at hand as attributes: `session.embed(texts, "document", session.LISTS)`.

    Args:
        settings: The object's options; they are copied.
        admit: Waits until a limiter of the user's own lets a request of so many tokens leave.

    Attributes:
        usage: What all calls have used so far.
        pair: What a dense and a sparse object on this session leave for each other; `None` where
            there is no such pair.
    """

    LISTS = LISTS
    SPARSE = SPARSE
    SPARSE_OF_NODES = SPARSE_OF_NODES
    SPARSE_WITH_TOKENS = SPARSE_WITH_TOKENS
    LISTS_AND_SPARSE = LISTS_AND_SPARSE
    RESULTS = RESULTS

    def __init__(self, settings: EmbeddingSettings, admit: Admit | None = None) -> None:
        # A copy, since the object holds this session: a cycle would keep both until a collection.
        self._settings = EmbeddingSettings.model_construct(
            **{name: getattr(settings, name) for name in EmbeddingSettings.model_fields}
        )
        self._cutter = Cutter.of(settings.long_text, find_model(settings.model).tokens_per_text)
        self._width = settings.dimension or find_model(settings.model).default_dimension
        self._runtime: runtime.Runtime | None = None
        self._pipeline: Pipeline | None = None
        self._limiter: AccountLimiter | None = None
        self._admit = admit
        self._tracing = build_tracing(settings)
        self._cache = open_cache(self._settings)
        self.usage = Usage()
        self.pair: Pair | None = None

    def check(self, texts: Iterable[str]) -> None:
        """Raise `InputError` for texts that cannot be embedded; nothing is sent."""
        plan_texts(texts, empty_text=self._settings.empty_text)

    def embed(
        self,
        texts: Iterable[str],
        text_type: TextType,
        form: Form[R],
        *,
        until: float | None = None,
    ) -> Embedded[R]:
        """Return rows in a form, what failed, and what the call used.

        Args:
            texts: The texts.
            text_type: Their role.
            form: The form of the rows.
            until: When the call must be over, where it is a part of a longer one; see `deadline`.
        """
        return runtime.current().run(self._call(texts, text_type, form, until=until))

    async def aembed(
        self,
        texts: Iterable[str],
        text_type: TextType,
        form: Form[R],
        *,
        until: float | None = None,
    ) -> Embedded[R]:
        """Return rows in a form, what failed, and what the call used; see `embed`."""
        return await runtime.current().arun(self._call(texts, text_type, form, until=until))

    def deadline(self) -> float | None:
        """Return when a call that begins now must be over, in seconds of `time.monotonic`."""
        seconds = self._settings.total_timeout
        return None if seconds is None else time.monotonic() + seconds

    def stream(self, form: Form[R], rows: Callable[[R], Iterable[T]]) -> Stream[R, T]:
        """Return a stream of documents that is embedded in blocks.

        Args:
            form: The form of a block.
            rows: Returns a block's rows one by one.
        """
        settings = self._settings
        cap = settings.batch_size or find_model(settings.model).texts_per_request

        until = self.deadline()

        def open_bar() -> tqdm[Any]:
            return tqdm(unit="text", desc=settings.model)

        return Stream(
            submit=lambda texts, first: runtime.current().submit(
                self._call(texts, "document", form, first=first, until=until)
            ),
            rows=rows,
            # All blocks together hold twice the texts that can be in flight.
            block_size=cap * -(-2 * settings.max_concurrency // BLOCKS_AHEAD),
            open_bar=open_bar if settings.show_progress_bar else None,
        )

    @property
    def limits(self) -> Limits:
        """What the account is taken to allow at the moment."""
        if self._limiter is not None:
            return self._limiter.limits
        return known_limits(self._settings)

    def close(self) -> None:
        """Close the connections, and the cache's file, which other objects open again."""
        if self._runtime is not None:
            self._runtime.run(self._close())
        if self._cache is not None:
            self._cache.file.close()

    async def aclose(self) -> None:
        """Close the connections, and the cache's file, which other objects open again."""
        if self._runtime is not None:
            await self._runtime.arun(self._close())
        if self._cache is not None:
            await asyncio.to_thread(self._cache.file.close)

    async def _close(self) -> None:
        if self._limiter is not None and self._pipeline is not None:
            self._limiter.close()
            await self._pipeline.transport.aclose()

    def _call(
        self,
        texts: Iterable[str],
        text_type: TextType,
        form: Form[R],
        *,
        first: int | None = None,
        until: float | None = None,
    ) -> Coroutine[Any, Any, Embedded[R]]:
        """Check the texts here and now; return what embeds them on the background loop.

        Where they are part of a stream, `first` is the place of the first of them.
        """
        until = until or self.deadline()
        plan = plan_texts(texts, empty_text=self._settings.empty_text, first=first or 0)
        rows = form.rows(len(plan.unique), self._settings.normalize)
        half = form.half
        if self.pair is None or half is None:
            call = self._request(plan, text_type, form.output, rows, until)
            return self._observed(
                plan, call, partial(self._through_cache, plan, rows, call, first=first)
            )
        both = RowsAndHalf(rows, OTHER[half])
        call = self._request(plan, text_type, "dense&sparse", both, until)
        call.indices = self.pair.take(half, text_type, plan, rows, nodes=form.nodes)
        embed_half = partial(self._embed_half, self.pair, OTHER[half], plan, both, call)
        return self._observed(plan, call, embed_half)

    def _request(
        self, plan: Plan, text_type: TextType, output: Output, rows: Rows[Any], until: float | None
    ) -> Call:
        settings = self._settings
        parameters = Parameters(
            settings.model,
            text_type,
            settings.dimension,
            settings.instruct,
            output,
            query_frame=settings.query_frame,
            cut=settings.dimension_by == "client",
        )
        return Call(plan.unique, parameters, rows, until=until)

    async def _observed(
        self, plan: Plan, call: Call, embed: Callable[[], Coroutine[Any, Any, Embedded[R]]]
    ) -> Embedded[R]:
        """Embed, while spans and the log are told of it."""
        asked = call.parameters
        record = CallRecord(
            asked.model,
            asked.text_type,
            asked.output,
            dimension=None if asked.output == "sparse" else self._width,
            texts=plan.count,
            usage=call.usage,
        )
        listen: list[Listen] = [self._tracing.listen, Log(lambda: self.limits).listen]
        with observe(record, listen, clock=time.perf_counter) as call.observer:
            embedded = await embed()
            if embedded.error is not None:
                record.failure = Failure.of(embedded.error)
            return embedded

    async def _embed_half(
        self, pair: Pair, other: Half, plan: Plan, both: RowsAndHalf[R], call: Call
    ) -> Embedded[R]:
        """Ask for both halves of what is missing, and leave the one that was not asked for."""
        try:
            return await self._through_cache(plan, both, call)
        finally:
            pair.leave(other, call.parameters.text_type, plan, both.packed)

    async def _through_cache(
        self, plan: Plan, rows: Rows[R], call: Call, first: int | None = None
    ) -> Embedded[R]:
        """Ask for what the cache does not have, and keep what is answered, whatever happens."""
        if self._cache is None:
            return await self._embed(plan, rows, call, first)
        runtime.current().open.add(self._cache.file)
        cached = self._cache.rows_of(call)
        wanted = range(len(call.texts)) if call.indices is None else call.indices
        call.indices = await cached.fill(wanted)
        call.usage.cached = _given(plan, set(wanted).difference(call.indices))
        call.rows = cached
        try:
            return await self._embed(plan, rows, call, first)
        finally:
            await cached.save()

    async def _embed(
        self, plan: Plan, rows: Rows[R], call: Call, first: int | None = None
    ) -> Embedded[R]:
        bar: tqdm[Any] | None = None
        parts = await self._parts(call)
        sent = call if parts is None else parts.call_for(call)
        count = len(sent.texts if sent.indices is None else sent.indices)
        if self._settings.show_progress_bar and count > 1 and first is None:
            bar = tqdm(total=count, unit="text", desc=self._settings.model)
            sent.progress = bar.update
        try:
            if count:
                await self._in_time(sent)
        except RequestError as error:
            error.result = rows.result(plan, self._width) if plan.count > 1 else None
            raise
        finally:
            if bar is not None:
                bar.close()
            if parts is not None:
                call.failures = parts.failures(sent.failures)
            call.usage.texts = _answered(plan, call)
            self.usage.add(call.usage)
        failures = _failures(plan, call.failures, first or 0) if call.failures else ()
        return Embedded(rows.result(plan, self._width), failures, plan.count, call.usage)

    async def _parts(self, call: Call) -> Parts | None:
        """Return what is sent where one of the call's texts may be too long, else `None`."""
        cutter = self._cutter
        if cutter is None:
            return None
        indices = range(len(call.texts)) if call.indices is None else call.indices
        texts = {index: call.texts[index] for index in indices}
        if not any(map(cutter.may_cut, texts.values())):
            return None
        # A thread of its own, since megabytes take a while to count.
        return await asyncio.to_thread(Parts, texts, cutter)

    async def _in_time(self, call: Call) -> None:
        """Send a call, and cut it off when its time is over."""
        sending = self._pipeline_here().embed(call)
        if call.until is None:
            return await sending
        try:
            await asyncio.wait_for(sending, max(0.0, call.until - time.monotonic()))
        except asyncio.TimeoutError as error:
            if isinstance(error, RequestError):
                raise
        else:
            return None
        raise RequestTimeoutError(
            f"The call was not done within total_timeout, {self._settings.total_timeout:g} seconds."
        )

    def _pipeline_here(self) -> Pipeline:
        """Return the pipeline on the running loop, made anew where the process was forked."""
        if self._pipeline is None or self._runtime is not runtime.current():
            self._runtime = runtime.current()
            self._limiter = build_limiter(self._settings, self._runtime, self._admit)
            self._pipeline = build_pipeline(self._settings, self._limiter)
            self._runtime.open.add(self._pipeline.transport)
        return self._pipeline


def _answered(plan: Plan, call: Call) -> int:
    """Return how many of the given texts were sent, as many times as they were given, and came."""
    if plan.sources is None and call.indices is None:
        return plan.count - len(call.failures)
    sent = range(len(plan.unique)) if call.indices is None else call.indices
    return _given(plan, (index for index in sent if index not in call.failures))


def _given(plan: Plan, indices: Iterable[int]) -> int:
    """Return how often the unique texts at `indices` were given."""
    counts = plan.counts()
    return sum(counts[index] for index in indices)


def _failures(plan: Plan, failures: dict[int, RequestError], first: int) -> list[TextFailure]:
    sources = range(plan.count) if plan.sources is None else plan.sources
    return [
        TextFailure.of(first + index, plan.unique[source], failures[source])
        for index, source in enumerate(sources)
        if source in failures
    ]
