"""An engine that keeps requests in flight for as long as a test wants, however slow the machine."""

from __future__ import annotations

import threading
import time

import numpy as np

from qwen_embed.emulator import Emulator

_MOMENT = 0.05
_PATIENCE = 30.0


class HeldEngine:
    """Responds only when released. Its vectors have no meaning."""

    dimension = 8

    def __init__(self) -> None:
        self._free = threading.Event()

    def embed(self, texts, *, text_type, instruct):
        assert self._free.wait(2 * _PATIENCE)
        return np.ones((len(texts), self.dimension))

    def let_go(self) -> None:
        """Answer all requests, those to come too."""
        self._free.set()

    def hold(self) -> None:
        """Answer no request from now on."""
        self._free.clear()

    def let_go_when_in_flight(self, service: Emulator, count: int) -> None:
        """Answer once so many requests have arrived, and any more had a moment to."""
        given_up_at = time.monotonic() + _PATIENCE
        while service.peak_in_flight < count and time.monotonic() < given_up_at:
            time.sleep(0.005)
        time.sleep(_MOMENT)
        self.let_go()
