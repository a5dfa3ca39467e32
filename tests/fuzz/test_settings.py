"""Where requests go and with which key, for any options in any environment."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import openai
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from qwen_embed import QwenEmbedder

SERVICE_HOSTS = {
    "cn-beijing": "dashscope.aliyuncs.com",
    "ap-southeast-1": "dashscope-intl.aliyuncs.com",
    "cn-hongkong": "cn-hongkong.dashscope.aliyuncs.com",
    "us-east-1": "dashscope-intl.aliyuncs.com",
    "eu-central-1": "dashscope-intl.aliyuncs.com",
    "ap-northeast-1": "dashscope-intl.aliyuncs.com",
}
ROOTS = {"native": "/api/v1", "openai": "/compatible-mode/v1"}
OPEN_WEIGHTS = "Qwen/Qwen3-Embedding-0.6B"

HOSTS = (
    "https://dashscope.aliyuncs.com",
    "https://dashscope-intl.aliyuncs.com",
    "https://ws-9.cn-hongkong.maas.aliyuncs.com",
    "http://127.0.0.1:8000",
    "http://localhost",
    "https://gateway.example.com",
    "https://dashscope.aliyuncs.com.example.com",
    "https://notaliyuncs.com",
)
PATHS = ("", "/", "/api/v1", "/api/v1/", "/compatible-mode/v1", "/v1", "/openai/v1", "/proxy")
NO_ROOTS = ("", "ftp://dashscope.aliyuncs.com/api/v1", "dashscope.aliyuncs.com/api/v1", "https://")
NO_ROOTS += ("https://user:secret@gateway.example.com/v1", "https://[::1/v1", "https://a:b/v1")

roots = st.builds("".join, st.tuples(st.sampled_from(HOSTS), st.sampled_from(PATHS)))
any_roots = st.none() | roots | st.sampled_from(NO_ROOTS)
regions = st.none() | st.sampled_from([*SERVICE_HOSTS, "intl", "", "mars-1"])
regions |= st.sampled_from(["x.example.com/", "example.com#", "cn-beijing.example.com:443/"])
workspaces = st.none() | st.sampled_from(["ws-1", "", "ws.example.com/", "w s", "a\nb"])
keys = st.none() | st.sampled_from(["sk-given", "", " sk-given ", "sk-\u00e9", "sk given"])

options = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["text-embedding-v4", "text-embedding-v2", OPEN_WEIGHTS, "new"]),
        "protocol": st.sampled_from([None, "native", "openai"]),
        "base_url": any_roots,
        "region": regions,
        "workspace": workspaces,
        "api_key": keys,
    },
)
environments = st.fixed_dictionaries(
    {
        "OPENAI_API_KEY": st.just("sk-of-openai"),
        "OPENAI_BASE_URL": st.just("https://openai.example.com/v1"),
        "OPENAI_API_BASE": st.just("https://openai.example.com/v1"),
    },
    optional={
        "DASHSCOPE_API_KEY": st.sampled_from(["sk-of-environment", "", " "]),
        "DASHSCOPE_BASE_URL": roots | st.sampled_from(NO_ROOTS),
        "DASHSCOPE_HTTP_BASE_URL": roots,
        "DASHSCOPE_REGION": st.sampled_from([*SERVICE_HOSTS, "intl", "", "mars-1"]),
        "DASHSCOPE_WORKSPACE": st.sampled_from(["ws-2", ""]),
    },
)


@dataclass(frozen=True)
class Resolved:
    """Where requests go, and what they carry."""

    root: str
    region: str
    protocol: str
    key: str
    workspace: str | None


class UnusableError(Exception):
    """Options that cannot be used; the message says which of them."""


def expected(given: Mapping[str, Any], env: Mapping[str, str]) -> Resolved:
    """Return what the documentation promises, or raise `UnusableError`."""
    model = given.get("model") or "text-embedding-v4"
    base_url = given.get("base_url")
    protocol = given.get("protocol") or protocol_of(model, base_url)
    if model == OPEN_WEIGHTS and base_url is None:
        raise UnusableError("base_url")
    asked = given.get("region") or env.get("DASHSCOPE_REGION")
    asked = {"intl": "ap-southeast-1"}.get(asked or "", asked)
    workspace = given.get("workspace") or env.get("DASHSCOPE_WORKSPACE") or None
    if workspace and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", workspace):
        raise UnusableError("workspace")
    root = base_url
    if root is None and not given.get("region"):
        root = env.get("DASHSCOPE_BASE_URL") or env.get("DASHSCOPE_HTTP_BASE_URL") or None
        root = root and with_ending(root, protocol)
    if root is not None:
        root = checked(root, protocol)
        region = asked or region_of(root)
        host = urlsplit(root).hostname or ""
        of_service = base_url is None or protocol == "native" or is_service(host)
        of_service = of_service or root.endswith(ROOTS["openai"])
    else:
        region = asked or "cn-beijing"
        if not re.fullmatch(r"[a-z0-9-]+", region):
            raise UnusableError("region")
        if workspace is None and region not in SERVICE_HOSTS:
            raise UnusableError("region")
        host = f"{workspace}.{region}.maas.aliyuncs.com" if workspace else SERVICE_HOSTS[region]
        root, of_service = f"https://{host}{ROOTS[protocol]}", True
    key = (given.get("api_key") or "").strip()
    if of_service:
        key = key or env.get("DASHSCOPE_API_KEY", "").strip()
        if not key:
            raise UnusableError("api_key")
    if not re.fullmatch(r"[!-~]*", key):
        raise UnusableError("api_key")
    return Resolved(root, region, protocol, key, workspace if of_service else None)


def protocol_of(model: str, base_url: str | None) -> str:
    path = urlsplit((base_url or "").rstrip("/")).path if "[" not in (base_url or "") else ""
    ends_so = path.endswith("/v1") and not path.endswith("/api/v1")
    return "openai" if ends_so or model == OPEN_WEIGHTS else "native"


def with_ending(root: str, protocol: str) -> str:
    bare = root.rstrip("/")
    for ending in ROOTS.values():
        if bare.endswith(ending):
            return bare.removesuffix(ending) + ROOTS[protocol]
    return root


def checked(root: str, protocol: str) -> str:
    root = root.rstrip("/")
    try:
        parts = urlsplit(root)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UnusableError("base_url") from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise UnusableError("base_url")
    if protocol == "native" and root.endswith(ROOTS["openai"]):
        raise UnusableError("base_url")
    if protocol == "openai" and is_service(host) and root.endswith(ROOTS["native"]):
        raise UnusableError("base_url")
    if parts.path:
        return root
    return root + (ROOTS[protocol] if protocol == "native" or is_service(host) else "/v1")


def is_service(host: str) -> bool:
    return host.endswith(".aliyuncs.com")


def region_of(root: str) -> str:
    host = urlsplit(root).hostname or ""
    if host.endswith(".maas.aliyuncs.com"):
        return host.split(".")[1]
    shared = (region for region, shared in SERVICE_HOSTS.items() if shared == host)
    return next(shared, "cn-beijing")


@contextmanager
def in_environment(env: Mapping[str, str]) -> Iterator[None]:
    others = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DASHSCOPE_", "OPENAI_"))
    }
    with mock.patch.dict(os.environ, {**others, **env}, clear=True), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of lost roles and plain HTTP
        yield


def made(options: Mapping[str, Any], env: Mapping[str, str]) -> QwenEmbedder:
    with in_environment(env):
        return QwenEmbedder(**options)


def resolved(make: Callable[[], QwenEmbedder]) -> Resolved | str:
    """Return where the requests of what is made go, or why it cannot be made."""
    try:
        it = make()
    except ValidationError as error:
        return str(error)
    root, key = it.resolved
    return Resolved(root, str(it.region), str(it.protocol), key.get_secret_value(), it.workspace)


@settings(max_examples=2 * settings.default.max_examples)
@given(options=options, env=environments)
@example(options={"region": "x.example.com/", "workspace": "ws-1", "api_key": "sk-given"}, env={})
def test_options_and_environment_give_what_is_documented(
    options: dict[str, Any], env: dict[str, str]
) -> None:
    came = resolved(lambda: made(options, env))
    try:
        due: Resolved | UnusableError = expected(options, env)
    except UnusableError as error:
        due = error
    if isinstance(due, UnusableError):
        assert isinstance(came, str), f"{due} is to be refused"
        assert any(name in came for name in ("base_url", "region", "workspace", "api_key"))
    else:
        assert came == due


@given(options=options, env=environments)
def test_a_key_of_the_environment_goes_to_no_host_that_nobody_named(
    options: dict[str, Any], env: dict[str, str]
) -> None:
    came = resolved(lambda: made(options, env))
    if isinstance(came, str):
        return
    assert came.key != "sk-of-openai"
    assert "openai.example.com" not in came.root
    if came.key == "sk-of-environment":
        host = urlsplit(came.root).hostname or ""
        variables = ("DASHSCOPE_BASE_URL", "DASHSCOPE_HTTP_BASE_URL")
        named = (options.get("base_url"), *map(env.get, variables))
        assert is_service(host) or host in [urlsplit(each or "").hostname for each in named]


@settings(max_examples=2 * settings.default.max_examples)
@given(options=options, changes=options, env=environments)
def test_a_changed_copy_equals_an_object_made_afresh(
    options: dict[str, Any], changes: dict[str, Any], env: dict[str, str]
) -> None:
    if isinstance(resolved(lambda: made(options, env)), str):
        return
    original = made(options, env)
    with in_environment(env):
        copied = resolved(lambda: original.model_copy(update=changes))
    assert copied == resolved(lambda: made({**options, **changes}, env))


@settings(max_examples=settings.default.max_examples // 5)  # a client takes a while to make
@given(
    options=st.fixed_dictionaries(
        {},
        optional={
            "api_key": st.just("sk-given"),
            "base_url": roots,
            "region": st.sampled_from([*SERVICE_HOSTS]),
            "workspace": st.just("ws-1"),
            "protocol": st.sampled_from(["native", "openai"]),
        },
    ),
    env=environments,
)
def test_a_client_brings_its_own_address_and_key(
    options: dict[str, Any], env: dict[str, str]
) -> None:
    with openai.OpenAI(api_key="sk-of-client", base_url="http://127.0.0.1:9/v1") as client:
        own = [name for name in ("api_key", "base_url", "region", "workspace") if name in options]
        came = resolved(lambda: made({**options, "client": client}, env))
        if own or options.get("protocol") == "native":
            assert isinstance(came, str)
            assert all(name in came for name in own or ["protocol"])
        else:
            root = "http://127.0.0.1:9/v1"
            assert came == Resolved(root, "cn-beijing", "openai", "sk-of-client", None)
