"""Every option that a user can set, once: both adapters and the core inherit this model.

Fields that change a vector are dumped; every other field, the key first, is left out of dumps, so
that caches and hashes see exactly what matters.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    Secret,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from typing_extensions import Self

from qwen_embed import endpoints
from qwen_embed.cache import VectorCache
from qwen_embed.errors import PlainHttpWarning
from qwen_embed.models import find_model
from qwen_embed.tokens import can_count

ALIASES = {
    "model_name": "model",
    "dimensions": "dimension",
    "dashscope_api_key": "api_key",
    "chunk_size": "batch_size",
}
"""Names accepted so that code written for other classes runs with only its import changed."""


_KEY_NAMES = {"api_key"} | {alias for alias, name in ALIASES.items() if name == "api_key"}
_NOT_THE_USERS = ("qwen_embed", "langchain_qwen_embed", "llamaindex_qwen_embed", "pydantic")
_hosts_warned_of: set[str] = set()


def _also(alias: str) -> AliasChoices:
    return AliasChoices(ALIASES[alias], alias)


class EmbeddingSettings(BaseModel):
    """The options of every embedding object of this package.

    Options are fixed once the object is made; `model_copy(update={...})` makes another one.

    Raises:
        pydantic.ValidationError: If an option cannot be used; the message says what can.
    """

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        protected_namespaces=(),
    )

    model: str = Field(
        default="text-embedding-v4", min_length=1, validation_alias=_also("model_name")
    )
    """Any model the service knows, today or tomorrow."""

    dimension: int | None = Field(default=None, gt=0, validation_alias=_also("dimensions"))
    """Length of a dense vector; the model's own where not given. Checked against the table only
    for models in the table."""

    instruct: str | None = None
    """What the search is for, in English, such as "Given a question, retrieve passages that answer
    it". Sent with queries only."""

    normalize: bool = False
    """Scale dense rows to unit length."""

    long_text: Literal["error", "truncate", "average"] = "error"
    """What a text of more tokens than the model takes does. `error`: it is sent, and fails alone.
    `truncate`: only its first tokens are sent. `average`: it is sent in parts, and its row is their
    mean, weighted by their tokens and scaled to unit length; in a sparse row each index has its
    largest value in any part. Tokens are counted by the Qwen vocabulary, which the extra `tokens`
    installs. Models whose limit is not known here are left alone."""

    empty_text: Literal["error", "zero"] = "error"
    """What an empty or blank text does: an error before anything is sent, or a row of zeros for
    which nothing is sent."""

    api_key: SecretStr | None = Field(
        default=None, exclude=True, validation_alias=_also("dashscope_api_key")
    )
    """The key; else `DASHSCOPE_API_KEY`. A key belongs to one region."""

    region: str | None = Field(default=None, exclude=True)
    """`cn-beijing`, `ap-southeast-1` (or `intl`), `cn-hongkong`, `us-east-1`, `eu-central-1` or
    `ap-northeast-1`; else `DASHSCOPE_REGION`, else `cn-beijing` as in the official SDK."""

    workspace: str | None = Field(default=None, exclude=True)
    """A workspace's id; else `DASHSCOPE_WORKSPACE`. It selects the workspace's host and header."""

    base_url: str | None = Field(default=None, exclude=True)
    """Root of the native protocol, such as `https://dashscope.aliyuncs.com/api/v1`; else
    `DASHSCOPE_BASE_URL` or `DASHSCOPE_HTTP_BASE_URL`, else made from `region` and `workspace`."""

    batch_size: int | None = Field(
        default=None, gt=0, exclude=True, validation_alias=_also("chunk_size")
    )
    """Texts per request; the model's cap where not given. A smaller cap named by the service's own
    error is learnt while running."""

    max_request_tokens: int | None = Field(default=None, gt=0, exclude=True)
    """Most tokens in one request, by an estimate that errs upwards; no limit where not given."""

    max_concurrency: int = Field(default=32, gt=0, le=1024, exclude=True)
    """Most requests in flight; fewer where the account's quotas leave no use for more."""

    requests_per_minute: float | None = Field(default=None, gt=0, exclude=True)
    """The account's quota of requests for the model, where you know it: requests are spread evenly
    below it. Where not given it is found while running."""

    tokens_per_minute: float | None = Field(default=None, gt=0, exclude=True)
    """The account's quota of tokens for the model, likewise."""

    timeout: float = Field(default=60.0, gt=0, exclude=True)
    """Seconds for one request, from its sending to its last byte."""

    connect_timeout: float = Field(default=10.0, gt=0, exclude=True)
    """Seconds of them in which a connection must be there."""

    total_timeout: float | None = Field(default=None, gt=0, exclude=True)
    """Seconds for a whole call or stream, repeats and waits included; no limit where not given.
    When they are over, the error carries what is done."""

    gzip: bool = Field(default=False, exclude=True)
    """Ask for compressed answers. They are less than half as large, and take more time to unpack
    than to read: worth it on lines slower than some 50 Mbit/s."""

    max_retries: int = Field(default=6, ge=0, exclude=True)
    """How often one request is repeated for what can heal: 408, 5xx and network faults. A 429 is
    repeated as long as the account serves anything, and for 15 seconds times this number while it
    serves nothing at all."""

    cache: InstanceOf[VectorCache] | Path | str | None = Field(default=None, exclude=True)
    """A folder in which vectors are kept, or a `VectorCache`, so that no text is paid for twice."""

    show_progress_bar: bool = Field(default=False, exclude=True)
    """Show a tqdm bar, in texts, while a list is embedded."""

    if not TYPE_CHECKING:  # type checkers go by the fields

        def __init__(self, **options: Any) -> None:
            _hide_key(options)
            try:
                super().__init__(**options)
            except ValidationError as error:
                refusal = _without_input(error)
            else:
                _warn_of_plain_http(self.__dict__["base_url"])
                return
            raise refusal

    @field_validator("cache")
    @classmethod
    def _make_cache(cls, cache: VectorCache | Path | str | None) -> VectorCache | None:
        return cache if isinstance(cache, VectorCache) or cache is None else VectorCache(cache)

    @model_validator(mode="after")
    def _resolve(self) -> Self:
        """Fill in what the environment says, so that a copy in another process has it too."""
        env = os.environ
        given_key = self.api_key.get_secret_value() if self.api_key else ""
        api_key = (given_key or env.get(endpoints.API_KEY_VARIABLE, "")).strip()
        if not api_key:
            raise ValueError(
                f"no API key: set {endpoints.API_KEY_VARIABLE} or give `api_key`. To try without a "
                f"key, start the emulator: python -m qwen_embed.emulator"
            )
        if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
            raise ValueError("`api_key` holds characters that no key has.")
        workspace = self.workspace or env.get(endpoints.WORKSPACE_VARIABLE) or None
        base_url, region = endpoints.native_root(
            base_url=self.base_url, region=self.region, workspace=workspace, env=env
        )
        # Straight into the fields: __setattr__ guards them, and fields_set keeps the user's own.
        self.__dict__.update(
            api_key=SecretStr(api_key), workspace=workspace, base_url=base_url, region=region
        )
        self._check_model()
        return self

    def _check_model(self) -> None:
        row = find_model(self.model)
        if self.dimension is not None and row.dimensions and self.dimension not in row.dimensions:
            choices = ", ".join(map(str, sorted(row.dimensions)))
            raise ValueError(f"{self.model} makes vectors of {choices}, not {self.dimension}.")
        if self.instruct is not None and not row.instruct:
            raise ValueError(f"{self.model} takes no `instruct`; text-embedding-v4 does.")
        if self.long_text != "error" and row.tokens_per_text is not None and not can_count():
            raise ValueError(
                f"long_text={self.long_text!r} counts tokens by the Qwen vocabulary, which is not "
                f'installed: pip install "qwen-embed[tokens]"'
            )

    @property
    def resolved(self) -> tuple[str, SecretStr]:
        """The root and the key that are used; where not given, the environment's."""
        if self.base_url is None or self.api_key is None:
            raise TypeError("Options are resolved when the object is made.")
        return self.base_url, self.api_key

    @property
    def vector_options(self) -> dict[str, Any]:
        """The options that change a vector, by name."""
        return {
            name: self.__dict__[name]
            for name, field in EmbeddingSettings.model_fields.items()
            if not field.exclude
        }

    @property
    def cache_namespace(self) -> str:
        """A name for everything that changes a vector, for caches that are keyed by text alone.

        It holds only letters, digits, dots and dashes, so it also serves as a folder's name.

        Example:
            >>> EmbeddingSettings(api_key="sk-...", dimension=512).cache_namespace
            'qwen-embed-text-embedding-v4-512-1bbf13005980'
        """
        options = json.dumps(self.vector_options, sort_keys=True)
        digest = hashlib.sha256(options.encode()).hexdigest()[:12]
        model = re.sub(r"[^A-Za-z0-9.]+", "-", self.model)
        return f"qwen-embed-{model}-{self.dimension or 'default'}-{digest}"

    def __setattr__(self, name: str, value: Any) -> None:
        if ALIASES.get(name, name) in EmbeddingSettings.model_fields:
            del value  # it may be a key, and a traceback may show it
            raise TypeError(
                f"{name} is fixed once the object is made; "
                f"model_copy(update={{{name!r}: ...}}) makes another object with it changed."
            )
        super().__setattr__(name, value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a new object with these options but for `update`, all of them checked anew.

        Args:
            update: Options to change, by name or alias.
            deep: Accepted as pydantic has it; options hold nothing that two objects could share.
        """
        changes = {ALIASES.get(name, name): value for name, value in (update or {}).items()}
        _hide_key(changes)
        del update, deep  # a traceback may show what is in them
        options = {
            name: self.__dict__[name] for name in type(self).model_fields if name not in ALIASES
        }
        if changes.keys() & {"region", "workspace"}:
            del options["base_url"]
            if "region" not in changes and "region" not in self.model_fields_set:
                del options["region"]
        return type(self)(**{**options, **changes})

    def __copy__(self) -> Self:
        return self.model_copy()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()


def _hide_key(options: dict[str, Any]) -> None:
    """Put a key of whatever type where no traceback shows it."""
    for name in _KEY_NAMES & options.keys():
        if isinstance(options[name], str):
            options[name] = SecretStr(options[name])
        elif options[name] is not None and not isinstance(options[name], (SecretStr, Secret)):
            options[name] = Secret[Any](options[name])


def _without_input(error: ValidationError) -> ValidationError:
    """Return an error that says the same and holds nothing of what was given.

    pydantic's own holds all options, the key among them: `errors()` and `json()` show them even
    where the message does not.
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


def _warn_of_plain_http(root: str) -> None:
    """Warn once for each host of the process that the key and the texts can be read on the way."""
    parts = urlsplit(root)
    host = parts.hostname or ""
    if parts.scheme == "https" or endpoints.is_loopback(root) or host in _hosts_warned_of:
        return
    warnings.warn(
        f"base_url is an http:// address: the API key and all texts go to {host} "
        f"unencrypted. Use https:// where the host offers it.",
        PlainHttpWarning,
        stacklevel=_users_level(),
    )
    _hosts_warned_of.add(host)


def _users_level() -> int:
    """Return the stack level of the user's own line, as seen from the function that calls this."""
    level = 1
    frame = sys._getframe(1)  # noqa: SLF001 -- public in all but its name
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _NOT_THE_USERS:
        frame = frame.f_back
        level += 1
    return level
