"""`QwenEmbedder`: embeddings as numpy arrays, without a framework."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import model_validator
from typing_extensions import Self

from qwen_embed.base import BaseEmbedder, check_sparse
from qwen_embed.results import CallResult, EmbeddingResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qwen_embed.pipeline.collectors import OutputFormat
    from qwen_embed.sparse import SparseRow

    StreamedRow: TypeAlias = NDArray[np.float32] | SparseRow | tuple[NDArray[np.float32], SparseRow]


class QwenEmbedder(BaseEmbedder):
    """Qwen text embeddings as numpy arrays. Safe to use from threads and from any event loop.

    Queries are sent as queries and documents as documents. Lists of any length are split into
    batches and sent concurrently, duplicates are sent once, and a failed request is retried alone.

    Raises:
        pydantic.ValidationError: If an option cannot be used; the message says what can.

    Example:
        >>> from qwen_embed.emulator import Emulator
        >>> with Emulator() as service:
        ...     embedder = QwenEmbedder(
        ...         api_key=service.api_key,
        ...         base_url=service.native_url,
        ...         dimension=512,
        ...         output="dense&sparse",
        ...     )
        ...     result = embedder.embed_documents(["The wind rises.", "风起了。"])
        ...     embedder.close()
        >>> result.dense.shape, result.dense.dtype.name
        ((2, 512), 'float32')
        >>> len(result.sparse), "wind" in result.sparse.tokens
        (2, True)
    """

    output: Literal["dense", "sparse", "dense&sparse"] = "dense"
    """The kind of vectors. Both kinds together cost as much as one."""

    @model_validator(mode="after")
    def _check_output(self) -> Self:
        if self.output != "dense":
            check_sparse(self)
        return self

    def embed_documents(self, texts: Iterable[str]) -> EmbeddingResult:
        """Embed documents: texts to be found.

        Args:
            texts: Any number of texts, as a list or another ordered iterable.

        Returns:
            An `EmbeddingResult` with one vector per text, in the order of `texts`: `dense`, a
            float32 array of shape `(len(texts), dimension)`, `sparse`, or both, as `output` says.

        Raises:
            InputError: If a text cannot be embedded. Nothing was sent.
            PartialFailureError: If some of several texts failed; the vectors of the others are in
                its `result`, also an `EmbeddingResult`.
            RequestError: If the only text failed, or the call as a whole, such as for a bad key.
            ClosedError: After `close()`.

        Example:
            >>> from qwen_embed.emulator import Emulator
            >>> with Emulator() as service:
            ...     options = {"api_key": service.api_key, "base_url": service.native_url}
            ...     with QwenEmbedder(**options) as embedder:
            ...         embedder.embed_documents(["The wind rises.", "风起了。"]).dense.shape
            (2, 1024)
        """
        return self._with_usage(self._session.embed(texts, "document", self._output_format))

    async def aembed_documents(self, texts: Iterable[str]) -> EmbeddingResult:
        """Embed documents; see `embed_documents`."""
        return self._with_usage(await self._session.aembed(texts, "document", self._output_format))

    def embed_queries(self, texts: Iterable[str]) -> EmbeddingResult:
        """Embed queries, with `instruct` if it is set.

        Args:
            texts: Any number of texts, as a list or another ordered iterable.

        Returns:
            An `EmbeddingResult` with one vector per text, in the order of `texts`.

        Raises:
            QwenEmbedError: As from `embed_documents`.
        """
        return self._with_usage(self._session.embed(texts, "query", self._output_format))

    async def aembed_queries(self, texts: Iterable[str]) -> EmbeddingResult:
        """Embed queries; see `embed_queries`."""
        return self._with_usage(await self._session.aembed(texts, "query", self._output_format))

    def embed_query(self, text: str) -> EmbeddingResult:
        """Embed one query, with `instruct` if it is set.

        Returns:
            An `EmbeddingResult` with one vector; its `dense` has the shape `(1, dimension)`.

        Raises:
            InputError: If the text cannot be embedded. Nothing was sent.
            RequestError: If it failed.
            ClosedError: After `close()`.
        """
        return self.embed_queries([text])

    async def aembed_query(self, text: str) -> EmbeddingResult:
        """Embed one query; see `embed_query`."""
        return await self.aembed_queries([text])

    def embed_stream(self, texts: Iterable[str]) -> Iterator[StreamedRow]:
        """Embed documents as they come, and yield their vectors in the same order.

        At most twice as many texts are read ahead as can be in flight, so a stream of any length
        needs little memory. An exception of `texts` itself is raised after the vectors before it.

        Args:
            texts: Any number of texts, such as from a generator.

        Yields:
            One vector per text: a float32 array of shape `(dimension,)`, a `SparseRow`, or both as
            a tuple, as `output` says. That of a text that failed is NaN, or has no entries.

        Raises:
            InputError: When a text cannot be embedded, after the vectors of the blocks before it.
            PartialFailureError: After the last vector, if some texts failed, named by `failures`.
            RequestError: If the stream ended for all texts that follow, such as for a bad key.

        Example:
            >>> from qwen_embed.emulator import Emulator
            >>> with Emulator() as service:
            ...     options = {"api_key": service.api_key, "base_url": service.native_url}
            ...     with QwenEmbedder(**options) as embedder:
            ...         rows = embedder.embed_stream(f"line {n}" for n in range(5))
            ...         [row.shape for row in rows]
            [(1024,), (1024,), (1024,), (1024,), (1024,)]
        """
        return self._session.stream(self._output_format, _vectors_of).run(texts)

    def aembed_stream(
        self, texts: Iterable[str] | AsyncIterable[str]
    ) -> AsyncIterator[StreamedRow]:
        """Embed documents as they come; see `embed_stream`.

        Args:
            texts: Any number of texts, such as from an async generator.

        Yields:
            One vector per text, in the order of `texts`.
        """
        return self._session.stream(self._output_format, _vectors_of).arun(texts)

    @property
    def _output_format(self) -> OutputFormat[EmbeddingResult]:
        return self._session.RESULTS[self.output]

    def _with_usage(self, result: CallResult[EmbeddingResult]) -> EmbeddingResult:
        return replace(result.unwrap(), usage=self._priced(result.usage))


def _vectors_of(result: EmbeddingResult) -> Iterator[StreamedRow]:
    # Copies, because a vector that the caller keeps would keep its whole block alive.
    dense = None if result.dense is None else (row.copy() for row in result.dense)
    if dense is None:
        return iter(result.sparse or ())
    return dense if result.sparse is None else zip(dense, result.sparse, strict=True)
