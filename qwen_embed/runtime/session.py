"""What exists behind one embedding object while it is open: its calls, and what they used.

This module loads aiohttp and numpy, so it is imported with the first call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm.auto import tqdm

from qwen_embed.config.settings import EmbeddingSettings
from qwen_embed.errors import ClosedError, RequestError, RequestTimeoutError, TextFailure
from qwen_embed.models import find_model
from qwen_embed.pipeline.call import Call
from qwen_embed.pipeline.collectors import (
    LISTS,
    LISTS_AND_SPARSE,
    RESULTS,
    SPARSE,
    SPARSE_OF_NODES,
    SPARSE_WITH_TOKENS,
    Collector,
    OutputFormat,
)
from qwen_embed.pipeline.dispatcher import Dispatcher
from qwen_embed.pipeline.long_text import Chunks, TextSplitter
from qwen_embed.pipeline.pairing import NodeText, PairedRequest, PairedVectors
from qwen_embed.pipeline.plan import Plan, as_list, plan_texts
from qwen_embed.protocols.base import Parameters
from qwen_embed.rate_limit.limiter import Admit, Limiter, Limits
from qwen_embed.results import CallResult
from qwen_embed.runtime import event_loop
from qwen_embed.runtime.factory import (
    build_dispatcher,
    build_limiter,
    build_tracing,
    known_limits,
    open_cache,
)
from qwen_embed.runtime.stream import BLOCKS_AHEAD, Stream
from qwen_embed.telemetry.events import CallHook, CallRecord, Failure, observe
from qwen_embed.telemetry.logs import Log
from qwen_embed.types import Output, TextType
from qwen_embed.usage import Usage

if TYPE_CHECKING:
    from qwen_embed.caching.collector import Cache

R = TypeVar("R")
T = TypeVar("T")

_CLOSE_SECONDS = 5.0
_CLOSED = "It was closed while this call ran; make a new object."


@dataclass(eq=False)
class _OnLoop:
    """What a session has on one event loop. A forked child has another loop, and another of these.

    Attributes:
        runtime: The loop.
        running: The calls that run.
        pairing: The vectors that a pair keeps; `None` before they are needed.
        limiter: What admits requests; `None` before the first.
        dispatcher: What sends requests; `None` before the first.
    """

    runtime: event_loop.BackgroundLoop
    running: set[asyncio.Task[Any]] = field(default_factory=set)
    pairing: PairedVectors | None = None
    limiter: Limiter | None = None
    dispatcher: Dispatcher | None = None


class Session:
    """Embeds for one object, or for a pair: sync and async, in any output format, by one path.

    The output formats are its attributes: `session.embed(texts, "document", session.LISTS)`.

    Args:
        settings: The object's options.
        admit: Waits until the framework's own limiter admits a request of so many tokens.

    Attributes:
        usage: What all calls have used so far.
        paired: Whether a dense and a sparse object keep vectors for each other here.
    """

    LISTS = LISTS
    SPARSE = SPARSE
    SPARSE_OF_NODES = SPARSE_OF_NODES
    SPARSE_WITH_TOKENS = SPARSE_WITH_TOKENS
    LISTS_AND_SPARSE = LISTS_AND_SPARSE
    RESULTS = RESULTS
    as_list = staticmethod(as_list)

    def __init__(self, settings: EmbeddingSettings, admit: Admit | None = None) -> None:
        self._settings = settings
        self._splitter = TextSplitter.of(
            settings.long_text, find_model(settings.model).tokens_per_text
        )
        self._width = settings.dimension or find_model(settings.model).default_dimension
        self._admit = admit
        self._tracing = build_tracing(settings)
        self._cache = open_cache(settings)
        self._node_text: NodeText | None = None
        self._closed = False
        self._last: _OnLoop | None = None
        self.usage = Usage()
        self.paired = False

    def pair_vectors(self, node_text: NodeText | None) -> None:
        """Let dense and sparse calls keep vectors for each other from now on.

        Args:
            node_text: See `PairedVectors`.
        """
        self._node_text = node_text
        self.paired = True

    @property
    def pairing(self) -> PairedVectors | None:
        """The vectors that are kept, or `None` where there are none."""
        return None if self._last is None else self._last.pairing

    def embed(
        self,
        texts: Iterable[str],
        text_type: TextType,
        output_format: OutputFormat[R],
        *,
        show_progress: bool = False,
    ) -> CallResult[R]:
        """Return the vectors, what failed, and what the call used.

        Args:
            texts: The texts.
            text_type: Their role.
            output_format: The form of the vectors.
            show_progress: Whether to show a progress bar, also where the option says nothing of it.
        """
        running = event_loop.current()  # or nothing is begun
        return running.run(self._call(texts, text_type, output_format, show_progress=show_progress))

    async def aembed(
        self,
        texts: Iterable[str],
        text_type: TextType,
        output_format: OutputFormat[R],
        *,
        show_progress: bool = False,
    ) -> CallResult[R]:
        """Return the vectors, what failed, and what the call used; see `embed`."""
        running = event_loop.current()
        return await running.arun(
            self._call(texts, text_type, output_format, show_progress=show_progress)
        )

    def _deadline(self) -> float | None:
        """Return when a call that begins now must be over, in seconds of `time.monotonic`."""
        seconds = self._settings.total_timeout
        return None if seconds is None else time.monotonic() + seconds

    def stream(
        self, output_format: OutputFormat[R], vectors: Callable[[R], Iterable[T]]
    ) -> Stream[R, T]:
        """Return a stream of documents that is embedded in blocks.

        Args:
            output_format: The form of a block.
            vectors: Returns a block's vectors one by one.
        """
        settings = self._settings
        cap = settings.batch_size or find_model(settings.model).texts_per_request

        deadline = self._deadline()

        def open_bar() -> tqdm[Any]:
            return tqdm(unit="text", desc=settings.model)

        return Stream(
            submit=lambda texts, first: event_loop.current().submit(
                self._call(texts, "document", output_format, first=first, deadline=deadline)
            ),
            vectors=vectors,
            # All blocks together hold twice the texts that can be in flight.
            block_size=cap * -(-2 * settings.max_concurrency // BLOCKS_AHEAD),
            open_bar=open_bar if settings.show_progress_bar else None,
        )

    @property
    def limits(self) -> Limits:
        """What the account is taken to allow at the moment."""
        limiter = self._last and self._last.limiter
        return limiter.limits if limiter else known_limits(self._settings)

    def close(self) -> None:
        """End running calls, and close the connections and the cache's file.

        Other objects of the same cache open its file again.
        """
        self._closed = True
        running = event_loop.started()
        # Without a loop (in a forked child, as the interpreter exits) nothing is open. A call that
        # just begins is either seen by `_close`, or sees that the session is closed.
        if running is not None:
            running.run(self._close())

    async def aclose(self) -> None:
        """End running calls, and close the connections and the cache's file; see `close`."""
        self._closed = True
        running = event_loop.started()
        if running is not None:
            await running.arun(self._close())

    async def _close(self) -> None:
        here = self._here()
        for task in here.running:
            task.cancel()
        if here.running:
            await asyncio.wait(here.running, timeout=_CLOSE_SECONDS)
        if here.limiter is not None:
            here.limiter.close()
        if here.dispatcher is not None:
            await here.dispatcher.transport.aclose()
        if self._cache is not None:
            await self._cache.file.aclose()

    def _here(self) -> _OnLoop:
        """Return what the session has on the running loop."""
        here = self._last
        if here is None or here.runtime is not event_loop.current():
            here = self._last = _OnLoop(event_loop.current())
        return here

    def _dispatcher_of(self, here: _OnLoop) -> Dispatcher:
        if here.dispatcher is None:
            here.limiter = build_limiter(self._settings, here.runtime, self._admit)
            here.dispatcher = build_dispatcher(self._settings, here.limiter)
            here.runtime.open.add(here.dispatcher.transport)
        return here.dispatcher

    def _call(
        self,
        texts: Iterable[str],
        text_type: TextType,
        output_format: OutputFormat[R],
        *,
        show_progress: bool = False,
        first: int | None = None,
        deadline: float | None = None,
    ) -> Coroutine[Any, Any, CallResult[R]]:
        """Check the texts in this thread; return what embeds them on the background loop.

        If they are a block of a stream, `first` is the position of the first of them.
        """
        plan = plan_texts(texts, empty_text=self._settings.empty_text, first=first or 0)
        collector = output_format.collector(len(plan.unique), self._settings.normalize)
        paired: PairedRequest | None = None
        if self.paired and output_format.kind is not None:
            paired = PairedRequest.of(
                output_format.kind,
                plan.unique,
                text_type,
                of_nodes=output_format.of_nodes,
                node_text=self._node_text,
            )
        output = output_format.output if paired is None else "dense&sparse"
        call = Call(
            plan.unique,
            self._parameters(text_type, output),
            collector,
            deadline=deadline or self._deadline(),
        )
        bar = first is None and (show_progress or self._settings.show_progress_bar)
        return self._run(plan, call, collector, paired, first=first or 0, show_progress=bar)

    def _parameters(self, text_type: TextType, output: Output) -> Parameters:
        settings = self._settings
        return Parameters(
            settings.model,
            text_type,
            settings.dimension,
            settings.instruct,
            output,
            query_frame=settings.query_frame,
            truncate=settings.truncate_locally,
        )

    async def _run(
        self,
        plan: Plan,
        call: Call,
        collector: Collector[R],
        paired: PairedRequest | None,
        *,
        first: int,
        show_progress: bool,
    ) -> CallResult[R]:
        """Embed the texts of a plan on the background loop: the stages of a call, in their order.

        Each stage sends only what the ones before it left, and on the way back, whatever happened,
        keeps what has arrived.
        """
        if self._closed:
            raise ClosedError(_CLOSED)
        here = self._here()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- this is a coroutine
        here.running.add(task)
        record = self._record(plan, call)
        try:
            with observe(record, self._listeners(), clock=time.perf_counter) as call.observer:
                stages: list[AbstractAsyncContextManager[None]] = []
                if paired is not None:
                    stages.append(self._pairing(here).share(call, paired, plan.counts()))
                if self._cache is not None:
                    stages.append(_from_cache(self._cache, plan, call))
                if self._splitter is not None:
                    stages.append(_split(self._splitter, call))
                if show_progress:
                    stages.append(_progress_bar(self._settings.model, call))
                try:
                    async with AsyncExitStack() as entered:
                        for stage in stages:
                            await entered.enter_async_context(stage)
                        await self._dispatch(here, call)
                except (RequestError, asyncio.CancelledError) as error:
                    ended = self._ended(error, plan, collector)
                    if ended is error:
                        raise
                    raise ended from None
                finally:
                    call.usage.texts = _arrived(plan, call)
                    self.usage.add(call.usage)
                failures = _failures(plan, call.failures, first) if call.failures else ()
                embedded = CallResult(
                    collector.result(plan, self._width), failures, plan.count, call.usage
                )
                if embedded.error is not None:
                    record.failure = Failure.of(embedded.error)
                return embedded
        finally:
            here.running.discard(task)

    def _ended(
        self, error: RequestError | asyncio.CancelledError, plan: Plan, collector: Collector[Any]
    ) -> BaseException:
        """Return the error of a call that ended before its time, with the rows that had arrived."""
        if isinstance(error, asyncio.CancelledError) and not self._closed:
            return error
        ended = ClosedError(_CLOSED) if isinstance(error, asyncio.CancelledError) else error
        ended.result = collector.result(plan, self._width) if plan.count > 1 else None
        return ended

    def _pairing(self, here: _OnLoop) -> PairedVectors:
        here.pairing = here.pairing or PairedVectors(self._node_text)
        return here.pairing

    def _record(self, plan: Plan, call: Call) -> CallRecord:
        asked = call.parameters
        return CallRecord(
            asked.model,
            asked.text_type,
            asked.output,
            dimension=None if asked.output == "sparse" else self._width,
            texts=plan.count,
            usage=call.usage,
        )

    def _listeners(self) -> list[CallHook]:
        return [self._tracing.on_call, Log(lambda: self.limits).on_call]

    async def _dispatch(self, here: _OnLoop, call: Call) -> None:
        """Send what remains of a call, and cancel it when its deadline has passed."""
        if not call.to_send:
            return
        sending = self._dispatcher_of(here).dispatch(call)
        if call.deadline is None:
            await sending
            return
        try:
            await asyncio.wait_for(sending, max(0.0, call.deadline - time.monotonic()))
        except asyncio.TimeoutError as error:
            if isinstance(error, RequestError):
                raise
        else:
            return
        seconds = self._settings.total_timeout
        raise RequestTimeoutError(
            f"The call did not finish within total_timeout, {seconds:g} seconds."
        )


@asynccontextmanager
async def _from_cache(cache: Cache, plan: Plan, call: Call) -> AsyncIterator[None]:
    """Take what the cache has, and store what arrives, whatever happens."""
    event_loop.current().open.add(cache.file)
    cached = cache.collector_for(call)
    wanted = call.to_send
    call.indices = await cached.fill(wanted)
    call.usage.cached = _given(plan, set(wanted).difference(call.indices))
    call.collector = cached
    try:
        yield
    finally:
        await cached.save()


@asynccontextmanager
async def _split(splitter: TextSplitter, call: Call) -> AsyncIterator[None]:
    """Send chunks instead of texts that are too long."""
    texts = {index: call.texts[index] for index in call.to_send}
    if not any(map(splitter.may_split, texts.values())):
        yield
        return
    # In another thread, because megabytes take a while to count.
    chunks = await asyncio.to_thread(Chunks, texts, splitter)
    with chunks.sent_for(call):
        yield


@asynccontextmanager
async def _progress_bar(model: str, call: Call) -> AsyncIterator[None]:
    """Show how many of the texts were completed."""
    count = len(call.to_send)
    if count < 2:
        yield
        return
    with tqdm(total=count, unit="text", desc=model) as bar:
        call.progress = bar.update
        yield


def _arrived(plan: Plan, call: Call) -> int:
    """Return how many of the given texts were sent and arrived, duplicates included."""
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
