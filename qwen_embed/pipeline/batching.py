"""Texts split into batches, one per request.

They are split only when a request is about to be sent: a smaller limit that the service named
meanwhile already counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence


def estimate_tokens(text: str) -> int:
    """Return an estimate of a text's tokens that is rather too high for prose.

    A token of the Qwen vocabulary holds four to five bytes of English or Chinese prose in UTF-8;
    the estimate counts one token per three bytes.

    Example:
        >>> estimate_tokens("The wind rises; we must try to live.")
        12
    """
    return -(-(len(text) if text.isascii() else len(text.encode())) // 3)


class BatchQueue:
    """The texts of one call that still have to be sent.

    Args:
        texts: The texts of the call.
        indices: Their positions in `texts`, in the order in which they are sent.
        max_tokens: Maximum estimated tokens per batch; a longer text is a batch of its own.

    Example:
        >>> queue = BatchQueue(["a", "b", "c"], range(3))
        >>> queue.take(2), queue.take(2), queue.take(2)
        ([0, 1], [2], None)
    """

    def __init__(
        self, texts: Sequence[str], indices: Sequence[int], max_tokens: int | None = None
    ) -> None:
        self._texts = texts
        self._max_tokens = max_tokens
        self._unsplit: deque[int] = deque(indices)
        self._batches: deque[list[int]] = deque()

    def take(self, size: int) -> list[int] | None:
        """Return the positions of the next batch's texts, at most `size`; `None` at the end."""
        if self._batches:
            return self._batches.popleft()
        if self._max_tokens is None:
            unsplit = self._unsplit
            batch = [unsplit.popleft() for _ in range(min(size, len(unsplit)))]
        else:
            batch = list(self._next(size, self._max_tokens))
        return batch or None

    def _next(self, size: int, max_tokens: int) -> Iterator[int]:
        tokens = 0
        for taken in range(min(size, len(self._unsplit))):
            tokens += estimate_tokens(self._texts[self._unsplit[0]])
            if taken and tokens > max_tokens:
                return
            yield self._unsplit.popleft()

    def remaining(self, size: int) -> int:
        """Return how many batches of at most `size` texts remain, at least."""
        return len(self._batches) + -(-len(self._unsplit) // size)

    def put_back(self, batch: Sequence[int]) -> None:
        """Return the texts of a batch that was too large; they are split again."""
        self._unsplit.extendleft(reversed(batch))

    def halve(self, batch: Sequence[int]) -> None:
        """Send the two halves of a batch separately, to find the text that is rejected."""
        middle = len(batch) // 2
        self._batches.extendleft((list(batch[middle:]), list(batch[:middle])))

    def send_first(self, batch: Sequence[int]) -> None:
        """Send these texts next, as a batch of their own."""
        self._batches.appendleft(list(batch))

    def clear(self) -> None:
        """Send nothing more."""
        self._unsplit.clear()
        self._batches.clear()

    def __len__(self) -> int:
        """Return how many texts still have to be sent."""
        return len(self._unsplit) + sum(map(len, self._batches))
