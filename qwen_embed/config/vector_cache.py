"""The option `cache`: the folder in which vectors are kept between runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 4 * 1024**3
MIN_BYTES = 1024**2


@dataclass(frozen=True, init=False)
class VectorCache:
    """A folder in which vectors are kept, so that no text is paid for twice.

    The key of a vector contains the text's role and every option that changes the vector, for
    queries `instruct` too. It does not contain the service's address: use a separate folder for
    another service, such as the emulator. Neither the texts nor the API key are stored.

    Threads, objects and processes of one machine may share a folder; it must not be on a network
    drive. Errors, such as a full disk or a damaged file, are logged by
    `qwen_embed.caching.store`: the texts are requested again, no call fails, and no vector is
    wrong.

    Vectors from the cache have the precision of float32, also in lists of Python floats: the
    service's numbers, rounded to the nearest float32.

    Args:
        folder: The folder, as a path or str; it is created by the first call.
        max_bytes: Approximate maximum size of the file, at least 1 MiB; the least recently used
            vectors are evicted first. 4 GiB hold about 900,000 dense vectors of 1,024 dimensions.
            Choose it large enough for your whole corpus: otherwise, when the corpus is embedded
            again, each vector is evicted just before it is needed.

    Attributes:
        folder: The folder, as an absolute `Path`.
        max_bytes: The maximum size in bytes.

    Raises:
        ValueError: If `max_bytes` is too small or the folder's name is invalid.

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
        if max_bytes < MIN_BYTES:
            raise ValueError(f"max_bytes must be {MIN_BYTES:,} or more, not {max_bytes:,}.")
        try:
            # Absolute, so that a process that changes its directory keeps its cache.
            path = Path(folder).expanduser().absolute()
        except RuntimeError as error:  # ~user without a home directory
            raise ValueError(f"The folder {folder} cannot be found: {error}") from None
        if b"\0" in os.fsencode(path):
            raise ValueError("The name of a folder must not contain a null character.")
        object.__setattr__(self, "folder", path)
        object.__setattr__(self, "max_bytes", max_bytes)
