"""Sends the texts of a call: batches are admitted, sent, retried, parsed and collected.

Everything here runs on one event loop, so nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from qwen_embed.errors import (
    BatchSizeError,
    ModerationError,
    RateLimitError,
    RequestError,
    ServiceError,
    UnsupportedEncodingError,
)
from qwen_embed.pipeline.batching import BatchQueue, estimate_tokens
from qwen_embed.pipeline.call import Call
from qwen_embed.pipeline.retry import Fail, RetryPolicy
from qwen_embed.protocols.base import Codec, ParsedResponse
from qwen_embed.protocols.errors import parse_error
from qwen_embed.rate_limit.account import Outcome, Permit
from qwen_embed.rate_limit.limiter import Limiter
from qwen_embed.transports.base import Response, Transport

_SAMPLE = 10
_REJECTED_FOR_ALL = 3
"""If so many texts were rejected alone and none was ever served, the request is to blame."""


class Dispatcher:
    """Sends calls through one limiter and one transport.

    Args:
        codec: The protocol.
        transport: Carries the requests.
        limiter: Decides when they are sent.
        retry: Decides whether they are retried.
        sleep: Waits for seconds.
        hint_for: Returns what to do about an error response.
        batch_size: Texts per request to begin with.
        max_concurrency: Maximum requests that one call prepares at a time.
        max_request_tokens: Maximum estimated tokens per request, or `None`.
    """

    def __init__(  # noqa: PLR0913 -- whatever has to do with time, chance and sockets is passed in
        self,
        *,
        codec: Codec,
        transport: Transport,
        limiter: Limiter,
        retry: RetryPolicy,
        sleep: Callable[[float], Awaitable[None]],
        hint_for: Callable[[ServiceError], str | None],
        batch_size: int,
        max_concurrency: int,
        max_request_tokens: int | None,
    ) -> None:
        self.transport = transport
        self._codec = codec
        self._limiter = limiter
        self._retry = retry
        self._sleep = sleep
        self._hint_for = hint_for
        self._served = 0
        self._batch_size = batch_size
        self._max_concurrency = max_concurrency
        self._max_request_tokens = max_request_tokens
        self._dimension: int | None = None
        self._active: dict[Call, BatchQueue] = {}

    async def dispatch(self, call: Call) -> None:
        """Send a call's texts and collect their vectors; texts that failed are in its `failures`.

        Raises:
            RequestError: If no other request would succeed either. The call's requests in flight
                are cancelled, and no other call of this dispatcher sends anything more.
        """
        queue = BatchQueue(call.texts, call.to_send, self._max_request_tokens)
        workers = min(queue.remaining(self._batch_size), self._max_concurrency)
        first = call.texts[:_SAMPLE]
        tokens_per_text = sum(map(estimate_tokens, first)) / max(1, len(first))
        self._active[call] = queue
        try:
            await _all_or_none([self._work(call, queue, tokens_per_text) for _ in range(workers)])
        finally:
            del self._active[call]
        if call.ended is not None:
            raise call.ended

    async def _work(self, call: Call, queue: BatchQueue, tokens_per_text: float) -> None:
        # A worker takes no texts along while it waits for its turn: whatever is learnt meanwhile
        # counts, and the halves of a rejected batch go first.
        while queue.remaining(self._batch_size) > call.workers_waiting:
            served_before = self._limiter.served
            call.workers_waiting += 1
            try:
                permit = await self._admit(call, tokens_per_text * self._batch_size)
            finally:
                call.workers_waiting -= 1
            batch = queue.take(self._batch_size)
            if batch is None:
                self._limiter.cancel(permit)
                return
            texts = [call.texts[index] for index in batch]
            tokens = sum(map(estimate_tokens, texts))
            self._limiter.update_estimate(permit, tokens)
            try:
                response = await self._request(call, texts, tokens, permit)
            except BatchSizeError as error:
                self._learn_batch_size(error, len(batch))
                queue.put_back(batch)
            except RequestError as error:
                outage = error.scope == "request" and self._limiter.served == served_before
                if error.scope == "call" or outage:
                    raise
                self._isolate(call, queue, batch, error)
            else:
                call.collector.put(batch, response)
                call.usage.tokens += response.tokens
                call.progress(len(batch))

    async def _admit(self, call: Call, tokens: float, *, retry: bool = False) -> Permit:
        """Wait until a request of the call may be sent."""
        permit = await self._limiter.acquire(tokens, retry=retry)
        if call.ended is not None:
            self._limiter.cancel(permit)
            raise call.ended
        return permit

    async def _request(
        self, call: Call, texts: Sequence[str], tokens: int, permit: Permit
    ) -> ParsedResponse:
        """Send one request until it is served or given up."""
        retries = failures = 0
        while True:
            codec, served_before = self._codec, self._limiter.served
            try:
                return await self._attempt(call, texts, codec, permit, retries)
            except RequestError as error:
                failure = error
            fallback = _fallback(codec, failure)
            if fallback is not None:
                self._codec = fallback
            else:
                failures += not isinstance(failure, RateLimitError)
                throttled = self._limiter.served == served_before
                step = self._retry.next_step(
                    failure,
                    failures=failures,
                    throttled_for=self._limiter.throttled_for() if throttled else None,
                )
                if isinstance(step, Fail):
                    raise failure
                if step.after:
                    await self._sleep(step.after)
            retries += 1
            permit = await self._admit(call, tokens, retry=True)

    async def _attempt(
        self, call: Call, texts: Sequence[str], codec: Codec, permit: Permit, retries: int
    ) -> ParsedResponse:
        """Send one request once, and tell the limiter what became of it."""
        outcome = Outcome("other")
        try:
            body = codec.build_body(texts, call.parameters)
            call.usage.requests += 1
            call.usage.retries += retries > 0
            with call.observer.request(
                texts=len(texts), size=len(body), retries=retries
            ) as request:
                response = await self.transport.post(codec.path, body)
                request.status = response.status
                parsed = self._parse(call, codec, response, len(texts))
                request.request_id, request.tokens = parsed.request_id, parsed.tokens
        except RequestError as error:
            if isinstance(error, RateLimitError):
                outcome = Outcome(error.quota, retry_after=error.retry_after)
            elif error.scope == "call" and _fallback(codec, error) is None:
                self._end_all(error)  # before another request gets the permit
            raise
        else:
            outcome = Outcome("served", parsed.tokens)
            self._served += 1
            return parsed
        finally:
            self._limiter.release(permit, outcome)

    def _parse(self, call: Call, codec: Codec, response: Response, count: int) -> ParsedResponse:
        try:
            if response.status != 200:
                raise parse_error(response.status, response.headers, response.body)
            parsed = codec.parse_response(
                response.body,
                count=count,
                dimension=call.parameters.dimension or self._dimension,
                output=call.parameters.output,
                arrays=call.collector.arrays,
                truncate=call.parameters.truncate,
            )
        except ServiceError as error:
            error.hint = self._hint_for(error)
            raise
        if parsed.dense:
            self._dimension = len(parsed.dense[0])
        return parsed

    def _end_all(self, error: RequestError) -> None:
        for call, queue in self._active.items():
            queue.clear()
            call.ended = copy.copy(error)  # each call puts its own result into its copy

    def _learn_batch_size(self, error: BatchSizeError, sent: int) -> None:
        size = min(error.limit or sent // 2, sent - 1)
        if size < 1:
            raise error
        self._batch_size = min(self._batch_size, size)

    def _isolate(
        self, call: Call, queue: BatchQueue, batch: list[int], error: RequestError
    ) -> None:
        """Halve a batch that holds a rejected text; fail the texts of any other batch."""
        if error.scope == "texts" and len(batch) > 1:
            queue.halve(batch)
            return
        rejected = error.scope == "texts" and not isinstance(error, ModerationError)
        chunks = call.on_text_rejected(batch[0]) if rejected else []
        if chunks:
            queue.send_first(chunks)
            call.progress(len(batch) - len(chunks))
            return
        call.failures.update(dict.fromkeys(batch, error))
        call.progress(len(batch))
        if rejected and not self._served and len(call.failures) >= _REJECTED_FOR_ALL:
            raise error


def _fallback(codec: Codec, error: RequestError) -> Codec | None:
    """Return the codec to go on with where the server does not know this one's encoding."""
    return codec.fallback if isinstance(error, UnsupportedEncodingError) else None


async def _all_or_none(coroutines: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Await all; if one fails, cancel the others and wait for their end before raising."""
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
