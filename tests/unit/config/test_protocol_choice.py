"""Which protocol, root and key follow from the options, and what each protocol does not have."""

from __future__ import annotations

import copy
import pickle
import sys
import types
import warnings

import pytest
from pydantic import ValidationError

from qwen_embed import QwenEmbedder
from qwen_embed.config.settings import EmbeddingSettings
from qwen_embed.errors import InputError, QueryRoleWarning
from qwen_embed.models import QUERY_TEMPLATE

COMPATIBLE = "https://dashscope.aliyuncs.com/compatible-mode/v1"
NATIVE = "https://dashscope.aliyuncs.com/api/v1"
OWN = "http://127.0.0.1:8000/v1"
QWEN3 = "Qwen/Qwen3-Embedding-0.6B"


def settings(**options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QueryRoleWarning)
        return EmbeddingSettings(**options)


@pytest.mark.parametrize(
    ("options", "protocol", "root"),
    [
        ({}, "native", NATIVE),
        ({"protocol": "openai"}, "openai", COMPATIBLE),
        ({"protocol": "openai", "region": "intl"}, "openai", COMPATIBLE.replace("e.", "e-intl.")),
        (
            {"protocol": "openai", "workspace": "ws"},
            "openai",
            "https://ws.cn-beijing.maas.aliyuncs.com/compatible-mode/v1",
        ),
        ({"base_url": COMPATIBLE + "/"}, "openai", COMPATIBLE),
        ({"base_url": "https://gateway/qwen/v1"}, "openai", "https://gateway/qwen/v1"),
        ({"base_url": "https://gateway/qwen"}, "native", "https://gateway/qwen"),
        ({"base_url": "https://gateway/api/v1"}, "native", "https://gateway/api/v1"),
        ({"base_url": OWN, "model": QWEN3}, "openai", OWN),
        ({"base_url": "http://127.0.0.1:8000", "model": QWEN3}, "openai", OWN),
        (
            {"base_url": "https://host/api/v1", "model": "qwen3-embedding:8b"},
            "openai",
            "https://host/api/v1",
        ),
        (
            {"base_url": "https://dashscope.aliyuncs.com", "protocol": "openai"},
            "openai",
            COMPATIBLE,
        ),
    ],
)
def test_the_protocol_follows_from_the_options(options, protocol, root):
    made = settings(api_key="sk-1", **options)

    assert (made.protocol, made.base_url) == (protocol, root)


@pytest.mark.parametrize("variable", ["DASHSCOPE_BASE_URL", "DASHSCOPE_HTTP_BASE_URL"])
@pytest.mark.parametrize("ending", ["/api/v1", "/compatible-mode/v1"])
def test_a_root_from_the_environment_serves_both_protocols(monkeypatch, variable, ending):
    monkeypatch.setenv(variable, f"https://gateway{ending}")

    assert settings(api_key="sk-1").base_url == "https://gateway/api/v1"
    made = settings(api_key="sk-1", protocol="openai")
    assert made.base_url == "https://gateway/compatible-mode/v1"


@pytest.mark.parametrize(
    ("root", "region"),
    [
        ("https://dashscope-intl.aliyuncs.com/api/v1", "ap-southeast-1"),
        ("https://cn-hongkong.dashscope.aliyuncs.com/api/v1", "cn-hongkong"),
        ("https://ws.us-east-1.maas.aliyuncs.com/api/v1", "us-east-1"),
        ("https://gateway/api/v1", "cn-beijing"),
    ],
)
def test_the_region_is_that_of_the_host(root, region):
    assert settings(api_key="sk-1", base_url=root).region == region


@pytest.fixture
def dashscope(monkeypatch):
    """Return a stub of the official SDK's module as it is after its import."""
    module = types.ModuleType("dashscope")
    module.common = types.SimpleNamespace(env=types.SimpleNamespace(base_http_api_url=NATIVE))
    module.api_key = None
    module.base_http_api_url = NATIVE
    monkeypatch.setitem(sys.modules, "dashscope", module)
    return module


def test_settings_of_the_sdks_module_take_precedence_over_defaults(dashscope):
    dashscope.api_key = "sk-module"
    dashscope.base_http_api_url = "https://dashscope-intl.aliyuncs.com/api/v1"

    made = settings()

    assert made.api_key.get_secret_value() == "sk-module"
    assert (made.base_url, made.region) == (dashscope.base_http_api_url, "ap-southeast-1")


@pytest.mark.parametrize(
    ("options", "environment", "root"),
    [
        ({"base_url": "https://a/api/v1"}, {}, "https://a/api/v1"),
        ({"region": "cn-beijing"}, {}, NATIVE),
        ({}, {"DASHSCOPE_BASE_URL": "https://b/api/v1"}, "https://b/api/v1"),
        ({}, {"DASHSCOPE_REGION": "cn-beijing"}, NATIVE),
    ],
)
def test_options_and_the_environment_take_precedence_over_the_sdks_module(
    dashscope, monkeypatch, options, environment, root
):
    dashscope.api_key = "sk-module"
    dashscope.base_http_api_url = "https://module/api/v1"
    for name, value in {"DASHSCOPE_API_KEY": "sk-env", **environment}.items():
        monkeypatch.setenv(name, value)

    made = settings(**options)

    assert (made.base_url, made.api_key.get_secret_value()) == (root, "sk-env")


def test_the_sdks_default_root_is_not_a_setting_of_the_program(dashscope, monkeypatch):
    dashscope.base_http_api_url = dashscope.common.env.base_http_api_url = "https://old/api/v1"

    assert settings(api_key="sk-1").base_url == NATIVE


def test_the_real_sdk_is_read_like_the_stub():
    dashscope = pytest.importorskip("dashscope")
    dashscope.api_key, dashscope.base_http_api_url = "sk-module", "https://module/api/v1"
    try:
        made = settings()
    finally:
        dashscope.api_key = None
        dashscope.base_http_api_url = dashscope.common.env.base_http_api_url

    assert (made.base_url, made.api_key.get_secret_value()) == (
        "https://module/api/v1",
        "sk-module",
    )


def test_a_self_hosted_server_needs_no_key_and_is_not_sent_the_services(monkeypatch):
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-of-the-service")
    monkeypatch.setenv("DASHSCOPE_WORKSPACE", "ws")

    made = settings(model=QWEN3, base_url=OWN)

    assert (made.api_key, made.workspace) == (None, None)
    assert settings(model=QWEN3, base_url=OWN, api_key="own").api_key.get_secret_value() == "own"


def test_a_gateway_with_the_services_path_is_sent_its_key(monkeypatch):
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-of-the-service")

    made = settings(base_url="https://gateway/compatible-mode/v1")

    assert made.api_key.get_secret_value() == "sk-of-the-service"


def test_open_weights_without_an_address_are_rejected():
    with pytest.raises(ValidationError, match="base_url"):
        EmbeddingSettings(model=QWEN3, api_key="sk-1")


@pytest.mark.parametrize("name", [QWEN3, "qwen3-embedding", "text-embedding-qwen3-embedding-4b"])
def test_open_weights_get_the_query_template_they_were_trained_on(name):
    made = settings(model=name, base_url=OWN, instruct="Find the part")

    assert made.query_template == QUERY_TEMPLATE
    assert made.query_frame == ("Instruct: Find the part\nQuery:", "")


def test_without_an_instruction_the_template_names_the_models_own_task():
    assert settings(model=QWEN3, base_url=OWN).query_frame == (
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
        "Query:",
        "",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "openai", "instruct": "Find it"}, "does not have it"),
        ({"base_url": OWN, "query_template": "Query: "}, r"must contain \{query\} exactly once"),
        (
            {"base_url": OWN, "query_template": "q: {query}", "instruct": "x"},
            r"template that contains \{task\}",
        ),
        ({"query_template": "q: {query}"}, "protocol='openai'"),
        ({"truncate_locally": True, "dimension": 64}, "protocol='openai'"),
        ({"base_url": OWN, "truncate_locally": True}, "set it too"),
        (
            {"protocol": "openai", "truncate_locally": True, "dimension": 64},
            "omit truncate_locally",
        ),
        ({"model": QWEN3, "base_url": OWN, "dimension": 2048}, "up to 1024"),
    ],
)
def test_options_that_a_protocol_does_not_have_are_rejected(options, message):
    with pytest.raises(ValidationError, match=message):
        settings(api_key="sk-1", **options)


@pytest.mark.parametrize("output", ["sparse", "dense&sparse"])
def test_sparse_vectors_with_the_compatible_protocol_are_rejected_with_the_reason(output):
    with pytest.raises(ValidationError, match="has no sparse vectors; the native one has them"):
        QwenEmbedder(api_key="sk-1", base_url=COMPATIBLE, output=output, query_template="{query}")


def test_a_match_cannot_be_explained_without_sparse_vectors():
    embedder = QwenEmbedder(api_key="sk-1", base_url=COMPATIBLE, query_template="{query}")

    with pytest.raises(InputError, match="no sparse vectors"):
        embedder.explain_match("a", "b")


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"base_url": COMPATIBLE}, f"base_url='{NATIVE}'"),
        ({"base_url": OWN, "model": "bge-m3"}, "set query_template"),
    ],
)
def test_a_lost_query_role_is_warned_about_once_with_the_remedy(options, remedy):
    with pytest.warns(QueryRoleWarning, match=remedy) as warned:
        EmbeddingSettings(api_key="sk-1", **options)

    assert len(warned) == 1
    assert warned[0].filename == __file__


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": "sk-1"},
        {"model": QWEN3, "base_url": OWN},
        {"model": "bge-m3", "base_url": OWN, "query_template": "{query}"},
    ],
)
def test_no_warning_if_roles_are_distinguished_or_declared_irrelevant(options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EmbeddingSettings(**options)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))]
)
def test_a_copy_uses_the_same_protocol_and_server(copied):
    made = settings(model=QWEN3, base_url=OWN, dimension=64, truncate_locally=True)

    assert copied(made) == made
    assert copied(made).query_template == QUERY_TEMPLATE


def test_a_changed_copy_resolves_its_connection_again():
    made = settings(api_key="sk-1")

    own = made.model_copy(update={"model": QWEN3, "base_url": OWN})
    back = own.model_copy(update={"model": "text-embedding-v4", "base_url": NATIVE})

    assert (own.protocol, own.query_template) == ("openai", QUERY_TEMPLATE)
    assert (back.protocol, back.query_template) == ("native", None)


def test_a_changed_protocol_uses_its_own_root_of_the_same_service():
    made = settings(api_key="sk-1", region="intl")

    with pytest.warns(QueryRoleWarning):
        changed = made.model_copy(update={"protocol": "openai"})

    assert changed.base_url == COMPATIBLE.replace("dashscope.", "dashscope-intl.")


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "openai"},
        {"protocol": "openai", "query_template": "query: {query}"},
    ],
)
def test_what_changes_a_vector_changes_the_namespace(change):
    assert settings(api_key="k").cache_namespace != settings(api_key="k", **change).cache_namespace
