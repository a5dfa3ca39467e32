"""The clients of these models that are compared, each used as a program would use it."""

# ruff: noqa: D102, PLC0415 -- the base says what the calls do; packages are loaded when opened

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from qwen_embed.emulator import Emulator

API_KEY = "sk-0123456789abcdef-comparison"
MODEL = "text-embedding-v4"
TEXTS_PER_REQUEST = 10


@dataclass(frozen=True)
class Options:
    """The options of a program; `None` stands for the client's default.

    Attributes:
        api_key: The key.
        model: The model.
        batch_size: Texts per request, for clients that do not know the service's limit.
        dimension: The length of a vector.
        instruct: The instruction for queries.
        output_type: The kinds of vectors, as the native protocol names them.
    """

    api_key: str = API_KEY
    model: str = MODEL
    batch_size: int | None = TEXTS_PER_REQUEST
    dimension: int | None = None
    instruct: str | None = None
    output_type: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The requested parameters of the service, as the native protocol names them."""
        names = ("dimension", "instruct", "output_type")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class Client(ABC):
    """A client of the models.

    Attributes:
        name: Its name in the table.
        packages: The distributions that it needs.
        modules: The modules that a program imports for it.
        embeddings: The client's own object.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    modules: ClassVar[tuple[str, ...]]
    embeddings: Any

    @abstractmethod
    def __init__(self, service: Emulator, options: Options) -> None:
        """Make the object."""

    @abstractmethod
    def documents(self, texts: list[str]) -> Sequence[Any]:
        """Embed documents in one call."""

    @abstractmethod
    def query(self, text: str) -> list[float]:
        """Embed a query."""

    @abstractmethod
    async def adocuments(self, texts: list[str]) -> Sequence[Any]:
        """Embed documents in one async call."""

    @abstractmethod
    async def aquery(self, text: str) -> list[float]:
        """Embed a query in an async call."""

    def both(self, texts: list[str]) -> tuple[Sequence[Any], Sequence[Any]]:
        """Embed texts as a hybrid store does: dense, then sparse.

        Raises:
            NotImplementedError: If the client has no sparse vectors.
        """
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 -- most have nothing to close
        """Close connections."""


class _LangChain(Client):
    """The calls of LangChain's `Embeddings`."""

    def documents(self, texts: list[str]) -> Sequence[Any]:
        return self.embeddings.embed_documents(texts)

    def query(self, text: str) -> list[float]:
        return self.embeddings.embed_query(text)

    async def adocuments(self, texts: list[str]) -> Sequence[Any]:
        return await self.embeddings.aembed_documents(texts)

    async def aquery(self, text: str) -> list[float]:
        return await self.embeddings.aembed_query(text)


class _LlamaIndex(Client):
    """The calls of LlamaIndex's `BaseEmbedding`."""

    def documents(self, texts: list[str]) -> Sequence[Any]:
        return self.embeddings.get_text_embedding_batch(texts)

    def query(self, text: str) -> list[float]:
        return self.embeddings.get_query_embedding(text)

    async def adocuments(self, texts: list[str]) -> Sequence[Any]:
        return await self.embeddings.aget_text_embedding_batch(texts)

    async def aquery(self, text: str) -> list[float]:
        return await self.embeddings.aget_query_embedding(text)


def _name_service(service: Emulator) -> None:
    """Set the address in the module `dashscope`: its 1.x calls have no option for it."""
    import dashscope

    dashscope.base_http_api_url = service.native_url


class LangChainDashScope(_LangChain):
    """`DashScopeEmbeddings`, which splits lists by its own table of limits."""

    name = "LangChain DashScope"
    packages = ("langchain-community", "dashscope")
    modules = ("langchain_community.embeddings.dashscope", "dashscope")

    def __init__(self, service: Emulator, options: Options) -> None:
        from langchain_community.embeddings import DashScopeEmbeddings

        _name_service(service)
        self.embeddings = DashScopeEmbeddings(
            model=options.model, dashscope_api_key=options.api_key, **options.parameters
        )


class LlamaIndexDashScope(_LlamaIndex):
    """`DashScopeEmbedding`."""

    name = "LlamaIndex DashScope"
    packages = ("llama-index-embeddings-dashscope", "dashscope")
    modules = ("llama_index.embeddings.dashscope", "dashscope")

    def __init__(self, service: Emulator, options: Options) -> None:
        from llama_index.embeddings.dashscope import DashScopeEmbedding

        _name_service(service)
        size = {} if options.batch_size is None else {"embed_batch_size": options.batch_size}
        self.embeddings = DashScopeEmbedding(
            model_name=options.model, api_key=options.api_key, **size, **options.parameters
        )


def _by_openai(options: Options) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the option `dimensions`, and the parameters that its client passes through."""
    own = {} if options.dimension is None else {"dimensions": options.dimension}
    others = {name: it for name, it in options.parameters.items() if name != "dimension"}
    return own, {"extra_body": others} if others else {}


class LangChainOpenAI(_LangChain):
    """`OpenAIEmbeddings` at the OpenAI-compatible address."""

    name = "LangChain OpenAI"
    packages = ("langchain-openai", "openai")
    modules = ("langchain_openai",)

    def __init__(self, service: Emulator, options: Options) -> None:
        from langchain_openai import OpenAIEmbeddings
        from pydantic import SecretStr

        dimensions, unread = _by_openai(options)
        size = {} if options.batch_size is None else {"chunk_size": options.batch_size}
        self.embeddings = OpenAIEmbeddings(
            model=options.model,
            api_key=SecretStr(options.api_key),
            base_url=service.openai_url,
            check_embedding_ctx_length=False,
            model_kwargs=unread,
            **size,
            **dimensions,
        )


class LlamaIndexOpenAILike(_LlamaIndex):
    """`OpenAILikeEmbedding` at the OpenAI-compatible address."""

    name = "LlamaIndex OpenAILike"
    packages = ("llama-index-embeddings-openai-like", "openai")
    modules = ("llama_index.embeddings.openai_like",)

    def __init__(self, service: Emulator, options: Options) -> None:
        from llama_index.embeddings.openai_like import OpenAILikeEmbedding

        dimensions, unread = _by_openai(options)
        size = {} if options.batch_size is None else {"embed_batch_size": options.batch_size}
        self.embeddings = OpenAILikeEmbedding(
            model_name=options.model,
            api_key=options.api_key,
            api_base=service.openai_url,
            additional_kwargs=unread,
            **size,
            **dimensions,
        )


class DashScopeClient(Client):
    """The official `Client` and `AsyncClient`, called in a plain loop."""

    name = "dashscope Client"
    packages = ("dashscope",)
    modules = ("dashscope",)

    def __init__(self, service: Emulator, options: Options) -> None:
        import dashscope

        connection = {"api_key": options.api_key, "base_url": service.native_url}
        self.embeddings = dashscope.Client(**connection)
        self._async_client = dashscope.AsyncClient(**connection)
        self._options = options

    def documents(self, texts: list[str]) -> Sequence[Any]:
        return [row.embedding for row in self._create(texts)]

    def query(self, text: str) -> list[float]:
        [row] = self._create([text], text_type="query")
        return row.embedding

    async def adocuments(self, texts: list[str]) -> Sequence[Any]:
        return [row.embedding for row in await self._acreate(texts)]

    async def aquery(self, text: str) -> list[float]:
        [row] = await self._acreate([text], text_type="query")
        return row.embedding

    def both(self, texts: list[str]) -> tuple[Sequence[Any], Sequence[Any]]:
        rows = self._create(texts)
        return [row.embedding for row in rows], [row.sparse_embedding for row in rows]

    def close(self) -> None:
        self.embeddings.close()

    def _create(self, texts: list[str], **parameters: str) -> list[Any]:
        rows: list[Any] = []
        for request in self._requests(texts):
            merged = {**self._options.parameters, **parameters}
            answer = self.embeddings.embeddings.create(
                model=self._options.model, input=request, **merged
            )
            rows.extend(answer.embeddings)
        return rows

    async def _acreate(self, texts: list[str], **parameters: str) -> list[Any]:
        rows: list[Any] = []
        for request in self._requests(texts):
            merged = {**self._options.parameters, **parameters}
            answer = await self._async_client.embeddings.create(
                model=self._options.model, input=request, **merged
            )
            rows.extend(answer.embeddings)
        return rows

    def _requests(self, texts: list[str]) -> list[list[str]]:
        size = self._options.batch_size or len(texts)
        return [texts[start : start + size] for start in range(0, len(texts), size)]


def _of_ours(service: Emulator, options: Options) -> dict[str, Any]:
    """Return our options: sparse vectors have their own object, and no batch size is needed."""
    parameters = {name: it for name, it in options.parameters.items() if name != "output_type"}
    own = {"model": options.model, "api_key": options.api_key, "base_url": service.native_url}
    return {**own, **parameters}


class LangChainQwen(_LangChain):
    """Our `QwenEmbeddings`."""

    name = "qwen-embed LangChain"
    packages = ("qwen-embed", "langchain-core")
    modules = ("langchain_qwen_embed.embeddings", "qwen_embed.runtime.session")

    def __init__(self, service: Emulator, options: Options) -> None:
        from langchain_qwen_embed import QwenEmbeddings

        self.embeddings = QwenEmbeddings(**_of_ours(service, options))

    def both(self, texts: list[str]) -> tuple[Sequence[Any], Sequence[Any]]:
        sparse = self.embeddings.sparse()
        return self.documents(texts), sparse.embed_documents(texts)

    def close(self) -> None:
        self.embeddings.close()


class LlamaIndexQwen(_LlamaIndex):
    """Our `QwenEmbedding`."""

    name = "qwen-embed LlamaIndex"
    packages = ("qwen-embed", "llama-index-core")
    modules = ("llamaindex_qwen_embed.embeddings", "qwen_embed.runtime.session")

    def __init__(self, service: Emulator, options: Options) -> None:
        from llamaindex_qwen_embed import QwenEmbedding

        self.embeddings = QwenEmbedding(**_of_ours(service, options))

    def both(self, texts: list[str]) -> tuple[Sequence[Any], Sequence[Any]]:
        sparse = self.embeddings.sparse()
        dense = self.documents(texts)
        return dense, sparse.encode_documents(texts)[0]

    def close(self) -> None:
        self.embeddings.close()


OURS: tuple[type[Client], ...] = (LangChainQwen, LlamaIndexQwen)
PEERS: tuple[type[Client], ...] = (
    LangChainDashScope,
    LlamaIndexDashScope,
    LangChainOpenAI,
    LlamaIndexOpenAILike,
    DashScopeClient,
)


@contextmanager
def opened(kind: type[Client], service: Emulator, **options: Any) -> Iterator[Client]:
    """Open a client of a service for the block. Keywords are those of `Options`."""
    client = kind(service, Options(**options))
    try:
        yield client
    finally:
        client.close()
