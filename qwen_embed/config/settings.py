"""The options of all embedding objects: the core and both adapters inherit this model.

Only fields that change a vector are dumped; all others, above all the key, are excluded, so that
caches and hashes of frameworks see exactly what matters.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    PrivateAttr,
    Secret,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from typing_extensions import Self

from qwen_embed.config import endpoints
from qwen_embed.config.foreign_options import without_foreign
from qwen_embed.config.option_help import OptionDocs
from qwen_embed.config.resolve import Given, resolve
from qwen_embed.config.sdk_clients import SdkClient, recognize
from qwen_embed.config.user_warnings import warn_about_http, warn_about_query_role
from qwen_embed.config.vector_cache import VectorCache
from qwen_embed.models import QUERY_TEMPLATE, WEB_SEARCH, find_model, has_open_weights
from qwen_embed.tokenizer import can_count
from qwen_embed.types import ProtocolName

ALIASES = {
    "model_name": "model",
    "dimensions": "dimension",
    "dashscope_api_key": "api_key",
    "openai_api_key": "api_key",
    "openai_api_base": "base_url",
    "api_base": "base_url",
    "chunk_size": "batch_size",
    "request_timeout": "timeout",
}
"""Names of other embedding classes, accepted so that only the import has to be changed."""

_CLIENT_OPTIONS = ("api_key", "base_url", "region", "workspace", "connect_timeout", "gzip")
_KEY_NAMES = {"api_key"} | {alias for alias, name in ALIASES.items() if name == "api_key"}
_RESOLVED = ("protocol", "base_url", "region", "workspace", "api_key", "query_template")
"""Options that are derived from others, or from the environment, if the user omits them."""


def _names_of(option: str) -> AliasChoices:
    return AliasChoices(option, *(alias for alias, name in ALIASES.items() if name == option))


class EmbeddingSettings(BaseModel, metaclass=OptionDocs):
    """The options of every embedding object of this package.

    Options cannot be changed after the object is created; `model_copy(update={...})` creates
    another one.

    Raises:
        pydantic.ValidationError: If an option is invalid; the message says what is valid.
    """

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        protected_namespaces=(),
    )

    model: str = Field(
        default="text-embedding-v4", min_length=1, validation_alias=_names_of("model")
    )
    """Any model name that the service knows, including ones released after this package."""

    dimension: int | None = Field(default=None, gt=0, validation_alias=_names_of("dimension"))
    """Length of a dense vector; the model's default if omitted. Known models are checked before
    anything is sent."""

    instruct: str | None = None
    """What the search is for, in English, such as "Given a question, retrieve passages that
    answer it". Sent with queries only."""

    protocol: ProtocolName | None = None
    """"native", the service's own, or "openai", the OpenAI-compatible one, which self-hosted
    servers speak too and which has no sparse vectors and does not distinguish queries from
    documents. If omitted: that of `client`; otherwise "openai" for a Qwen3-Embedding model or a
    `base_url` that ends in `/v1` but not in `/api/v1`; otherwise "native"."""

    query_template: str | None = None
    """The form in which the "openai" protocol sends queries, such as `Instruct:
    {task}\\nQuery:{query}`, with `instruct` as the task; documents are sent as they are. If
    omitted: this form for Qwen3-Embedding models, which were trained on it, and none for other
    models. `{query}` sends queries as they are."""

    truncate_locally: bool = False
    """Truncate vectors to `dimension` here and scale them to unit length, for self-hosted
    servers that reject or ignore `dimensions`. The model must be trained for it (Matryoshka),
    as Qwen3-Embedding is."""

    normalize: bool = False
    """Scale dense vectors to unit length."""

    long_text: Literal["error", "truncate", "average"] = "error"
    """How to handle a text longer than the model's limit. "error": send it, and let it fail
    alone. "truncate": send only its first tokens. "average": send it in chunks and return the
    mean of their vectors, weighted by tokens and scaled to unit length; in a sparse vector each
    index gets its largest value. Tokens are counted with the Qwen vocabulary, which the extra
    `tokens` installs. Models whose limit is unknown are not affected."""

    empty_text: Literal["error", "zero"] = "error"
    """How to handle an empty or blank text. "error": raise `InputError` before anything is
    sent. "zero": return a vector of zeros and send nothing."""

    api_key: SecretStr | None = Field(
        default=None, exclude=True, validation_alias=_names_of("api_key")
    )
    """The API key; `DASHSCOPE_API_KEY` if omitted, then `dashscope.api_key` if the program has
    set it. A key belongs to one region. Self-hosted servers get only a key that is passed
    here."""

    region: str | None = Field(default=None, exclude=True)
    """`cn-beijing`, `ap-southeast-1` (or `intl`), `cn-hongkong`, `us-east-1`, `eu-central-1` or
    `ap-northeast-1`. If omitted: `DASHSCOPE_REGION`, then `cn-beijing` as in the official
    SDK."""

    workspace: str | None = Field(default=None, exclude=True)
    """The id of a workspace; `DASHSCOPE_WORKSPACE` if omitted. It selects the workspace's host
    and header."""

    base_url: str | None = Field(default=None, exclude=True, validation_alias=_names_of("base_url"))
    """Root of the protocol, such as `https://dashscope.aliyuncs.com/api/v1`. If omitted:
    `DASHSCOPE_BASE_URL`, `DASHSCOPE_HTTP_BASE_URL`, then `dashscope.base_http_api_url` if the
    program has set it, then derived from `region` and `workspace`."""

    client: Any = Field(default=None, exclude=True, repr=False)
    """Your own SDK client that sends the requests, with its address, key, proxies, headers and
    hooks: `dashscope.Client`, `dashscope.AsyncClient`, `openai.OpenAI` or `openai.AsyncOpenAI`.
    The SDK's own retries are disabled for these requests. You close a blocking client yourself.
    An async client runs on this package's event loop, so use it for nothing else; it is closed
    with the last embedding object that uses it."""

    transport: Any = Field(default=None, exclude=True, repr=False)
    """Your own transport, an object with the two methods of `qwen_embed.transports.base.Transport`:
    it sends bytes to a path and returns the response. Address, key and time-outs are its own
    affair; you close it yourself."""

    batch_size: int | None = Field(
        default=None, gt=0, exclude=True, validation_alias=_names_of("batch_size")
    )
    """Texts per request; the model's limit if omitted. If the service names a smaller limit, it
    is adopted."""

    max_request_tokens: int | None = Field(default=None, gt=0, exclude=True)
    """Maximum tokens per request, by an estimate that is rather too high; no limit if
    omitted."""

    max_concurrency: int = Field(default=32, gt=0, le=1024, exclude=True)
    """Maximum requests in flight, up to 1,024. Fewer are used if the account's quota does not
    allow more."""

    requests_per_minute: float | None = Field(default=None, gt=0, exclude=True)
    """The account's quota for the model in requests per minute, if you know it: requests are
    sent evenly just below it. If omitted, it is discovered."""

    tokens_per_minute: float | None = Field(default=None, gt=0, exclude=True)
    """The account's quota for the model in tokens per minute, if you know it. If omitted, it is
    discovered."""

    timeout: float = Field(default=60.0, gt=0, exclude=True, validation_alias=_names_of("timeout"))
    """Seconds for one request, from its start to its last byte."""

    connect_timeout: float = Field(default=10.0, gt=0, exclude=True)
    """Seconds in which the connection must be established; part of `timeout`."""

    total_timeout: float | None = Field(default=None, gt=0, exclude=True)
    """Seconds for a whole call or stream, including retries and waits; no limit if omitted.
    After that the error carries what is done."""

    gzip: bool = Field(default=False, exclude=True)
    """Request compressed responses. They have less than half the size, and take more CPU time:
    worthwhile on connections slower than about 50 Mbit/s."""

    max_retries: int = Field(default=6, ge=0, exclude=True)
    """Retries of one request for transient failures: 408, 5xx and network errors. 429s are
    retried as long as any request of the account succeeds, otherwise for 15 seconds times this
    number."""

    cache: InstanceOf[VectorCache] | Path | str | None = Field(default=None, exclude=True)
    """A folder in which vectors are kept, or a `VectorCache`: texts that are in it are not sent
    again."""

    show_progress_bar: bool = Field(default=False, exclude=True)
    """Show a tqdm bar, in texts, while a list is embedded."""

    _given: dict[str, Any] = PrivateAttr(default_factory=dict)
    """The options in `_RESOLVED` that the user passed."""

    if not TYPE_CHECKING:  # type checkers use the fields

        def __init__(self, **options: Any) -> None:
            """Accept options by name; the docstring of the class describes them."""
            _hide_key(options)
            try:
                super().__init__(**options)
            except ValidationError as error:
                invalid = _without_input(error)
            else:
                self._given = {
                    ALIASES.get(name, name): value
                    for name, value in options.items()
                    if ALIASES.get(name, name) in _RESOLVED
                }
                resolved = self.__dict__
                warn_about_http(resolved["base_url"], keyed=bool(resolved["api_key"]))
                if resolved["protocol"] == "openai" and resolved["query_template"] is None:
                    warn_about_query_role(resolved["base_url"])
                return
            raise invalid

    @model_validator(mode="before")
    @classmethod
    def _drop_foreign(cls, options: dict[str, Any]) -> dict[str, Any]:
        kept = without_foreign(options, cls.model_fields.keys())
        for alias, name in ALIASES.items():
            if alias in kept and name in kept and alias not in cls.model_fields:
                raise ValueError(f"{name} and {alias} are one option: set only one of them.")
        return kept

    @field_validator("cache", mode="before")
    @classmethod
    def _make_cache(cls, cache: object) -> object:
        if cache is None or isinstance(cache, VectorCache):
            return cache
        if isinstance(cache, (str, os.PathLike)):
            return VectorCache(cache)
        # Not a TypeError, which pydantic does not turn into a ValidationError.
        raise ValueError("cache must be a folder or a VectorCache.")

    @model_validator(mode="after")
    def _resolve(self) -> Self:
        """Store what follows from the environment, so that a copy in another process has it too."""
        self._check_transport()
        if self.client is None:
            given = Given(
                self.model, self.protocol, self.base_url, self.region, self.workspace, self.api_key
            )
            connection = resolve(
                given,
                os.environ,
                sys.modules.get("dashscope"),
                needs_key=self.transport is None,
            )
            # Directly: __setattr__ rejects changes, and fields_set lists what the user passed.
            self.__dict__.update(vars(connection))
        else:
            self._resolve_client(recognize(self.client))
        self._check_model()
        self._check_protocol()
        return self

    def _check_transport(self) -> None:
        if self.transport is None:
            return
        if self.client is not None:
            raise ValueError("transport and client exclude each other: give one of them.")
        if not all(callable(getattr(self.transport, name, None)) for name in ("post", "aclose")):
            raise ValueError(
                f"transport must have the methods post and aclose of "
                f"qwen_embed.transports.base.Transport; {type(self.transport).__name__} has not."
            )

    def _resolve_client(self, sdk: SdkClient) -> None:
        fields = EmbeddingSettings.model_fields
        passed = [name for name in _CLIENT_OPTIONS if self.__dict__[name] != fields[name].default]
        if passed:
            raise ValueError(f"{', '.join(passed)}: the client has its own. Set it there.")
        if self.protocol not in (None, sdk.protocol):
            raise ValueError(f"protocol={self.protocol!r}: the client uses {sdk.protocol!r}.")
        region = endpoints.region_of(sdk.root)
        self.__dict__.update(base_url=sdk.root, region=region, protocol=sdk.protocol)

    def _check_model(self) -> None:
        known = find_model(self.model)
        if (
            self.dimension is not None
            and known.dimensions
            and self.dimension not in known.dimensions
        ):
            choices = ", ".join(map(str, sorted(known.dimensions)))
            raise ValueError(
                f"{self.model} does not support dimension {self.dimension}: set one of {choices}."
            )
        longest = known.default_dimension if has_open_weights(self.model) else None
        if self.dimension is not None and longest is not None and self.dimension > longest:
            raise ValueError(f"{self.model} supports dimensions up to {longest}.")
        if self.instruct is not None and not known.instruct:
            raise ValueError(f"{self.model} does not support `instruct`; text-embedding-v4 does.")
        if self.long_text != "error" and known.tokens_per_text is not None and not can_count():
            raise ValueError(
                f"long_text={self.long_text!r} counts tokens with the Qwen vocabulary, which is "
                f'not installed: pip install "qwen-embed[tokens]"'
            )

    def _check_protocol(self) -> None:
        template = self.query_template
        if self.truncate_locally and self.dimension is None:
            raise ValueError("truncate_locally=True truncates vectors to `dimension`: set it too.")
        if self.protocol == "native":
            if template is not None or self.truncate_locally:
                raise ValueError(
                    "query_template and truncate_locally=True are for protocol='openai': the "
                    "native one has roles and returns vectors of the requested dimension."
                )
            return
        if self.truncate_locally and find_model(self.model).dimensions:
            raise ValueError(
                f"{self.model} supports `dimension` on the server: omit truncate_locally."
            )
        if template is None and has_open_weights(self.model):
            template = self.__dict__["query_template"] = QUERY_TEMPLATE
        if template is not None and template.count("{query}") != 1:
            raise ValueError("query_template must contain {query} exactly once.")
        if self.instruct is not None and "{task}" not in (template or ""):
            raise ValueError(
                "instruct: the OpenAI-compatible protocol does not have it. Use the native "
                "protocol, or a query_template that contains {task}."
            )

    @property
    def query_frame(self) -> tuple[str, str] | None:
        """The parts of `query_template` before and after the query; `None` without a template."""
        if self.query_template is None:
            return None
        before, after = self.query_template.split("{query}")
        task = self.instruct or WEB_SEARCH
        return before.replace("{task}", task), after.replace("{task}", task)

    @property
    def resolved(self) -> tuple[str, SecretStr]:
        """The root and the key that requests use; the key is empty if there is none.

        Raises:
            TypeError: If the object was created without validation.
        """
        if self.base_url is None:
            raise TypeError(
                "The object was created without validation: call the class, not model_construct()."
            )
        key = self.api_key
        if self.client is not None:
            key = SecretStr(recognize(self.client).key)
        return self.base_url, key or SecretStr("")

    @property
    def vector_options(self) -> dict[str, Any]:
        """The options that change a vector, by name, in a new dict."""
        return {
            name: self.__dict__[name]
            for name, field in EmbeddingSettings.model_fields.items()
            if not field.exclude
        }

    @property
    def cache_namespace(self) -> str:
        """A name for all options that change a vector, for caches whose keys are the texts alone.

        It consists of letters, digits, dots and dashes, so it can also name a folder.

        Example:
            >>> EmbeddingSettings(api_key="sk-...", dimension=512).cache_namespace
            'qwen-embed-text-embedding-v4-512-92eb4bb92811'
        """
        # Defaults are left out, so that options of later releases do not change the name.
        options = {
            name: value
            for name, value in self.vector_options.items()
            if value != EmbeddingSettings.model_fields[name].default
        }
        digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:12]
        model = re.sub(r"[^A-Za-z0-9.]+", "-", self.model)
        return f"qwen-embed-{model}-{self.dimension or 'default'}-{digest}"

    def __setattr__(self, name: str, value: Any) -> None:
        if ALIASES.get(name, name) in EmbeddingSettings.model_fields:
            del value  # it may be a key, which a traceback could show
            raise TypeError(
                f"{name} cannot be changed after the object is created; "
                f"model_copy(update={{{name!r}: ...}}) returns a changed copy."
            )
        super().__setattr__(name, value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a new object with the same options, except `update`; all are validated.

        Args:
            update: Options to change, by name or alias.
            deep: Without effect, accepted because pydantic's method has it.

        Returns:
            An object of the same class, with its own connections and usage.

        Raises:
            pydantic.ValidationError: If an option is invalid.

        Example:
            >>> settings = EmbeddingSettings(api_key="sk-...", dimension=512)
            >>> settings.model_copy(update={"dimension": 256}).dimension
            256
        """
        changes = {ALIASES.get(name, name): value for name, value in (update or {}).items()}
        _hide_key(changes)
        del update, deep  # a traceback could show a key in them
        given = {**self._given, **{name: changes[name] for name in _RESOLVED if name in changes}}
        options = {
            name: self.__dict__[name] for name in type(self).model_fields if name not in ALIASES
        }
        options.update(changes)
        if changes.keys() & {*_RESOLVED, "model", "client", "transport"} or self.client is not None:
            options.update((name, given.get(name)) for name in _RESOLVED)
            options.update(self._resolved_again(options))
        copied = type(self)(**options)
        copied.__pydantic_fields_set__ = self.model_fields_set | changes.keys()
        copied._given = given  # noqa: SLF001 -- an object of the same class
        return copied

    def _resolved_again(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the resolved options of a copy; none if they are invalid, so that the copy raises.

        A key that this object found in the environment also serves its copies, even if the
        environment no longer has it, for example in another process.
        """
        if options["client"] is not None or not isinstance(options["model"], str):
            return {}
        found = None if self._given.get("api_key") else self.api_key
        key = found.get_secret_value() if found else ""
        names = ("model", *_RESOLVED[:-1])
        try:
            given = Given(**{name: options[name] for name in names})
            environment = {endpoints.API_KEY_VARIABLE: key, **os.environ}
            needs_key = options["transport"] is None
            sdk = sys.modules.get("dashscope")
            return vars(resolve(given, environment, sdk, needs_key=needs_key))
        except (ValueError, TypeError, AttributeError):
            return {}

    def copy(
        self,
        *,
        include: object = None,
        exclude: object = None,
        update: Mapping[str, Any] | None = None,
        deep: bool = False,
    ) -> Self:
        """Return `model_copy(update=update)`; pydantic's old name for it.

        Raises:
            TypeError: If `include` or `exclude` is passed, because an object has all options.
        """
        if include is not None or exclude is not None:
            raise TypeError(
                "copy(include=..., exclude=...) would drop options: use model_copy(update={...})."
            )
        return self.model_copy(update=update, deep=deep)

    def __getstate__(self) -> dict[Any, Any]:
        """Return the state to pickle.

        Raises:
            TypeError: If there is a `client` or a `transport`: connections cannot be pickled.
        """
        own = "SDK client" if self.client is not None else "transport"
        if self.client is not None or self.transport is not None:
            raise TypeError(
                f"This {type(self).__name__} has your own {own}, which cannot be pickled: for "
                f"worker processes pass api_key and base_url instead."
            )
        return super().__getstate__()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # like every mutable pydantic model

    def __copy__(self) -> Self:
        return self.model_copy()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()


def _hide_key(options: dict[str, Any]) -> None:
    """Wrap a key of any type, so that no traceback shows it."""
    for name in _KEY_NAMES & options.keys():
        if isinstance(options[name], str):
            options[name] = SecretStr(options[name])
        elif options[name] is not None and not isinstance(options[name], (SecretStr, Secret)):
            options[name] = Secret[Any](options[name])


def _without_input(error: ValidationError) -> ValidationError:
    """Return an error with the same messages and without the options.

    pydantic's own error contains all options, including the key: `errors()` and `json()` show them
    even if the message does not.
    """
    return ValidationError.from_exception_data(
        error.title,
        [
            InitErrorDetails(
                type=PydanticCustomError(line["type"], line["msg"]), loc=line["loc"], input=None
            )
            for line in error.errors(include_url=False, include_input=False)
        ],
        hide_input=True,
    )
