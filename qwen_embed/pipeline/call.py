"""One call: what it asks for, and what has become of it so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from qwen_embed.errors import RequestError
from qwen_embed.pipeline.collectors import Collector
from qwen_embed.protocols.base import Parameters
from qwen_embed.telemetry.events import NULL_OBSERVER, Observer
from qwen_embed.usage import Usage


@dataclass(eq=False)
class Call:
    """The state of one call. Each stage of the call changes only the part that it is there for.

    Attributes:
        texts: The texts to send, each once. A stage that splits texts puts their chunks here.
        parameters: What is requested for all of them.
        collector: Receives the vectors. A stage that keeps vectors wraps it.
        indices: The positions in `texts` that still have to be sent; all of them if `None`.
        deadline: When the call must have ended, in seconds of `time.monotonic`; `None` for no
            deadline.
        progress: Called with the number of texts that were completed.
        on_text_rejected: Called when a single text is rejected; returns the indices of shorter
            chunks to send instead, or `[]` to fail the text.
        observer: Is told of each request.
        usage: What the call has used.
        failures: The errors of texts that failed, by their position in `texts`.
        ended: The error that ended the call before all texts were sent, or `None`.
        workers_waiting: How many of the call's workers wait for their turn to send.
    """

    texts: Sequence[str]
    parameters: Parameters
    collector: Collector[Any]
    indices: Sequence[int] | None = None
    deadline: float | None = None
    progress: Callable[[int], object] = lambda _: None
    on_text_rejected: Callable[[int], list[int]] = lambda _: []
    observer: Observer = NULL_OBSERVER
    usage: Usage = field(default_factory=Usage)
    failures: dict[int, RequestError] = field(default_factory=dict)
    ended: RequestError | None = None
    workers_waiting: int = 0

    @property
    def to_send(self) -> Sequence[int]:
        """The positions in `texts` that still have to be sent."""
        return range(len(self.texts)) if self.indices is None else self.indices
