"""Where vectors are kept from one run to the next, as a user names it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 4 * 1024**3
LEAST_BYTES = 1024**2


@dataclass(frozen=True, init=False)
class VectorCache:
    """A folder in which vectors are kept, so that no text is paid for twice.

    Every option that changes a vector is part of the name under which it is kept, and so are the
    text's role and, for queries, `instruct`. The address of the service is not: give another
    service, such as the emulator, a folder of its own. Neither the texts nor the API key are in it.

    Threads, objects and processes of one machine may share a folder; it must not be on a network
    drive. Whatever goes wrong with it, such as a full disk or a damaged file, is logged by
    `qwen_embed.caching.store` and costs requests, but no call fails and no vector is wrong.

    Rows from the cache are float32, also in lists of Python floats: the service's own numbers,
    rounded to the nearest float32 where they are not float32 already.

    Args:
        folder: The folder, also as str; it is made with the first call.
        max_bytes: About the most that its file takes on the disk, 1 MiB or more; the vectors that
            were used least recently go first. 4 GiB hold about 900,000 dense vectors of 1,024
            dimensions. Let it hold a whole corpus: of a larger one, embedded again from its start,
            the vectors that are needed next are always those that have just gone.

    Attributes:
        folder: The folder, as an absolute `Path`.
        max_bytes: As given, in bytes.

    Raises:
        ValueError: If `max_bytes` is too small, or no folder can have this name.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from qwen_embed import QwenEmbedder
        >>> from qwen_embed.emulator import Emulator
        >>> with Emulator() as service, TemporaryDirectory() as folder:
        ...     cache = VectorCache(folder, max_bytes=10 * 1024**3)
        ...     options = {"api_key": service.api_key, "base_url": service.native_url}
        ...     for _ in range(2):
        ...         with QwenEmbedder(cache=cache, **options) as embedder:
        ...             usage = embedder.embed_documents(["The wind rises."]).usage
        ...             print(usage.requests, "sent,", usage.cached, "cached")
        1 sent, 0 cached
        0 sent, 1 cached
    """

    folder: Path
    max_bytes: int

    def __init__(self, folder: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> None:
        if max_bytes < LEAST_BYTES:
            raise ValueError(f"max_bytes must be {LEAST_BYTES:,} or more, not {max_bytes:,}.")
        try:
            # Absolute, so that a process which changes its directory keeps its cache.
            found = Path(folder).expanduser().absolute()
        except RuntimeError as error:  # ~somebody who has no home here
            raise ValueError(f"The folder {folder} cannot be found: {error}") from None
        if b"\0" in os.fsencode(found):
            raise ValueError("The name of a folder must not contain a null character.")
        object.__setattr__(self, "folder", found)
        object.__setattr__(self, "max_bytes", max_bytes)
