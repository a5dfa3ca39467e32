"""The path from a plan to its rows: requests cut, admitted, sent, repeated, read and gathered.

Everything here runs on one event loop, so nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from qwen_embed.errors import (
    BatchSizeError,
    ModerationError,
    RateLimitError,
    RequestError,
    ServiceError,
    UnsupportedEncodingError,
)
from qwen_embed.pipeline.collectors import Collector
from qwen_embed.pipeline.plan import RequestQueue, estimate_tokens
from qwen_embed.pipeline.retry import RetryPolicy
from qwen_embed.protocols.base import Codec, Parameters, ParsedResponse
from qwen_embed.protocols.errors import parse_error
from qwen_embed.rate_limit.account import Outcome, Permit
from qwen_embed.rate_limit.limiter import Limiter
from qwen_embed.telemetry.events import NULL_OBSERVER, Observer
from qwen_embed.transports.default import Response, Transport
from qwen_embed.usage import Usage

_SAMPLE = 10
_REFUSED_FOR_ALL = 3
"""So many texts refused alone, and none ever served: it is the request, not the texts."""


@dataclass(eq=False)
class Call:
    """One call's texts on their way, and what has become of them.

    Attributes:
        texts: The texts to send, each once.
        parameters: What is asked for besides.
        rows: Where the rows go.
        indices: The places in `texts` of those to send; all where `None`.
        usage: What was used.
        failures: The texts that failed, by their place in `texts`.
        progress: Told how many more texts are done.
        instead: Asked, when the text at a place is refused alone, for the places of what is to be
            sent in its stead, which it adds to `texts`; none where the text has failed.
        ended: What ended it before all texts were sent, or `None`.
        until: When it must be over, in seconds of `time.monotonic`; `None` where it need not be.
        observer: Told of its requests.
        waiting: How many of its requests wait to be cut and sent.
        tokens_per_text: An estimate, from the first texts.
    """

    texts: Sequence[str]
    parameters: Parameters
    rows: Collector[Any]
    indices: Sequence[int] | None = None
    progress: Callable[[int], object] = lambda _: None
    instead: Callable[[int], list[int]] = lambda _: []
    usage: Usage = field(default_factory=Usage)
    failures: dict[int, RequestError] = field(default_factory=dict)
    ended: RequestError | None = None
    until: float | None = None
    observer: Observer = NULL_OBSERVER
    waiting: int = 0
    tokens_per_text: float = 0.0

    @property
    def count(self) -> int:
        """How many texts are to be sent."""
        return len(self.texts if self.indices is None else self.indices)


class Pipeline:
    """Sends calls through one limiter and one transport.

    Args:
        wire: The protocol.
        transport: Carries the requests.
        limiter: Says when they leave.
        retry: Says whether they are repeated.
        sleep: Waits for seconds.
        advise: Says what to do about a refusal.
        batch_size: Texts per request to start with.
        max_concurrency: The most requests that one call prepares at a time.
        max_request_tokens: Most estimated tokens in one request, or `None`.
    """

    def __init__(  # noqa: PLR0913 -- whatever has to do with time, chance and sockets is passed in
        self,
        *,
        wire: Codec,
        transport: Transport,
        limiter: Limiter,
        retry: RetryPolicy,
        sleep: Callable[[float], Awaitable[None]],
        advise: Callable[[ServiceError], str | None],
        batch_size: int,
        max_concurrency: int,
        max_request_tokens: int | None,
    ) -> None:
        self.transport = transport
        self._wire = wire
        self._limiter = limiter
        self._retry = retry
        self._sleep = sleep
        self._advise = advise
        self._served = 0
        self._cap = batch_size
        self._max_concurrency = max_concurrency
        self._max_request_tokens = max_request_tokens
        self._dimension: int | None = None
        self._active: dict[Call, RequestQueue] = {}

    async def embed(self, call: Call) -> None:
        """Fill the call's rows; texts that failed are left in its `failures`.

        Raises:
            RequestError: If no other request would fare better. What this call has in flight is
                cancelled, and no other call of this pipeline sends anything more.
        """
        first = call.texts[:_SAMPLE]
        call.tokens_per_text = sum(map(estimate_tokens, first)) / max(1, len(first))
        queue = RequestQueue(call.texts, indices=call.indices, max_tokens=self._max_request_tokens)
        requests = queue.requests(self._cap)
        self._active[call] = queue
        try:
            await _all_or_none(
                [self._work(call, queue) for _ in range(min(requests, self._max_concurrency))]
            )
        finally:
            del self._active[call]
        if call.ended is not None:
            raise call.ended

    def _end_all(self, error: RequestError) -> None:
        for call, queue in self._active.items():
            queue.clear()
            call.ended = copy.copy(error)  # each call says in its own what had arrived

    async def _work(self, call: Call, queue: RequestQueue) -> None:
        # Whoever waits to send takes no texts along: what is learnt meanwhile counts, and a halved
        # request goes first.
        while queue.requests(self._cap) > call.waiting:
            served_before = self._limiter.served
            call.waiting += 1
            try:
                permit = await self._may_send(call, call.tokens_per_text * self._cap)
            finally:
                call.waiting -= 1
            batch = queue.take(self._cap)
            if batch is None:
                self._limiter.cancel(permit)
                return
            texts = [call.texts[index] for index in batch]
            tokens = sum(map(estimate_tokens, texts))
            self._limiter.update_estimate(permit, tokens)
            try:
                answer = await self._ask(call, texts, tokens, permit)
            except BatchSizeError as error:
                self._learn_cap(error, len(batch))
                queue.put_back(batch)
            except RequestError as error:
                out_of_service = error.scope == "request" and self._limiter.served == served_before
                if error.scope == "call" or out_of_service:
                    raise
                self._isolate(call, queue, batch, error)
            else:
                call.rows.put(batch, answer)
                call.usage.tokens += answer.tokens
                call.progress(len(batch))

    async def _may_send(self, call: Call, tokens: float, *, again: bool = False) -> Permit:
        """Wait until a request may leave."""
        permit = await self._limiter.acquire(tokens, retry=again)
        if call.ended is not None:
            self._limiter.cancel(permit)
            raise call.ended
        return permit

    def _learn_cap(self, error: BatchSizeError, sent: int) -> None:
        cap = min(error.limit or sent // 2, sent - 1)
        if cap < 1:
            raise error
        self._cap = min(self._cap, cap)

    def _isolate(
        self, call: Call, queue: RequestQueue, batch: list[int], error: RequestError
    ) -> None:
        """Halve a request whose texts are at fault; note the texts of one that failed for good."""
        if error.scope == "texts" and len(batch) > 1:
            queue.halve(batch)
            return
        blames_texts = error.scope == "texts" and not isinstance(error, ModerationError)
        instead = call.instead(batch[0]) if blames_texts else []
        if instead:
            queue.send_first(instead)
            call.progress(len(batch) - len(instead))
            return
        call.failures.update(dict.fromkeys(batch, error))
        call.progress(len(batch))
        if blames_texts and not self._served and len(call.failures) >= _REFUSED_FOR_ALL:
            raise error

    async def _ask(
        self, call: Call, texts: Sequence[str], tokens: int, permit: Permit
    ) -> ParsedResponse:
        """Send one request until it is answered or given up."""
        sent = failures = 0
        while True:
            wire = self._wire
            served_before = self._limiter.served
            outcome = Outcome("other")
            fallback: Codec | None = None
            try:
                body = wire.build_body(texts, call.parameters)
                call.usage.requests += 1
                call.usage.retries += sent > 0
                sent += 1
                with call.observer.request(
                    texts=len(texts), size=len(body), repeats=sent - 1
                ) as request:
                    reply = await self.transport.post(wire.path, body)
                    request.status = reply.status
                    answer = self._read(call, reply, len(texts))
                    request.request_id, request.tokens = answer.request_id, answer.tokens
                outcome = Outcome("served", answer.tokens)
                self._served += 1
            except RequestError as error:
                failure = error
                if isinstance(error, UnsupportedEncodingError) and wire.fallback is not None:
                    self._wire = fallback = wire.fallback
                elif error.scope == "call":
                    self._end_all(error)  # before the permit goes on to another request
                elif isinstance(error, RateLimitError):
                    outcome = Outcome(error.quota, retry_after=error.retry_after)
            else:
                return answer
            finally:
                self._limiter.release(permit, outcome)
            if fallback is None:  # else it is asked again at once
                failures += not isinstance(failure, RateLimitError)
                await self._pause(failure, failures, starved=self._limiter.served == served_before)
            permit = await self._may_send(call, tokens, again=True)

    async def _pause(self, failure: RequestError, failures: int, *, starved: bool) -> None:
        """Wait before a request is sent again, or raise where it is not to be.

        Args:
            failure: Why it failed.
            failures: How often it has failed for other reasons than a quota.
            starved: Whether the account has served nothing since it was sent.
        """
        if isinstance(failure, RateLimitError):
            # While the account serves others, a throttled request only has to wait its turn.
            asked = failure.retry_after or 0.0
            waited = max(asked, self._limiter.throttled_for() if starved else 0.0)
            if (starved or asked) and not self._retry.outlasts(waited):
                raise failure
            if asked:
                await self._sleep(asked)
            return
        wait = self._retry.wait(failure, failures)
        if wait is None:
            raise failure
        await self._sleep(wait)

    def _read(self, call: Call, reply: Response, count: int) -> ParsedResponse:
        try:
            if reply.status != 200:
                raise parse_error(reply.status, reply.headers, reply.body)
            answer = self._wire.parse_response(
                reply.body,
                count=count,
                dimension=call.parameters.dimension or self._dimension,
                output=call.parameters.output,
                arrays=call.rows.arrays,
                truncate=call.parameters.truncate,
            )
        except ServiceError as error:
            error.hint = self._advise(error)
            raise
        if answer.dense:
            self._dimension = len(answer.dense[0])
        return answer


async def _all_or_none(coroutines: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Await all; when one fails, cancel the others and wait for their end before raising."""
    if len(coroutines) == 1:  # a query must not pay for a task of its own
        return await coroutines[0]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
