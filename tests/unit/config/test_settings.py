"""Options: names, environment, invalid values, and what a dump contains."""

from __future__ import annotations

import copy
import pickle

import pytest
from pydantic import ValidationError

from qwen_embed.config.settings import EmbeddingSettings

BEIJING = "https://dashscope.aliyuncs.com/api/v1"
SINGAPORE = "https://dashscope-intl.aliyuncs.com/api/v1"


def settings(**options):
    return EmbeddingSettings(**{"api_key": "sk-1", **options})


@pytest.mark.parametrize(
    ("alias", "name", "value"),
    [
        ("model_name", "model", "text-embedding-v3"),
        ("dimensions", "dimension", 512),
        ("chunk_size", "batch_size", 5),
        ("request_timeout", "timeout", 5.0),
        ("openai_api_base", "base_url", "https://gateway/api/v1"),
        ("api_base", "base_url", "https://gateway/api/v1"),
    ],
)
def test_names_of_other_classes_are_accepted(alias, name, value):
    assert getattr(settings(**{alias: value}), name) == value


@pytest.mark.parametrize("name", ["dashscope_api_key", "openai_api_key"])
def test_the_key_is_accepted_under_the_name_of_another_class(name):
    made = EmbeddingSettings(**{name: "sk-2"})

    assert made.api_key.get_secret_value() == "sk-2"


def test_an_option_under_two_names_is_rejected():
    with pytest.raises(ValidationError, match="dimension and dimensions are one option"):
        settings(dimension=512, dimensions=256)


def test_an_invalid_cache_is_rejected_with_the_valid_types():
    with pytest.raises(ValidationError, match="a folder or a VectorCache"):
        settings(cache=5)


def test_an_unknown_option_is_rejected():
    with pytest.raises(ValidationError, match="dimention"):
        settings(dimention=512)


@pytest.mark.parametrize(
    ("options", "environment", "root"),
    [
        ({}, {}, BEIJING),
        ({"region": "ap-southeast-1"}, {}, SINGAPORE),
        ({"region": "intl"}, {}, SINGAPORE),
        ({"region": "eu-central-1"}, {}, SINGAPORE),
        ({"region": "cn-hongkong"}, {}, "https://cn-hongkong.dashscope.aliyuncs.com/api/v1"),
        ({}, {"DASHSCOPE_REGION": "intl"}, SINGAPORE),
        ({"workspace": "ws"}, {}, "https://ws.cn-beijing.maas.aliyuncs.com/api/v1"),
        (
            {"region": "intl"},
            {"DASHSCOPE_WORKSPACE": "ws"},
            "https://ws.ap-southeast-1.maas.aliyuncs.com/api/v1",
        ),
        ({}, {"DASHSCOPE_HTTP_BASE_URL": "https://a/api/v1"}, "https://a/api/v1"),
        (
            {},
            {"DASHSCOPE_BASE_URL": "https://b/api/v1", "DASHSCOPE_HTTP_BASE_URL": "https://a"},
            "https://b/api/v1",
        ),
        ({"region": "intl"}, {"DASHSCOPE_BASE_URL": "https://b/api/v1"}, SINGAPORE),
        (
            {"base_url": "https://c/api/v1/"},
            {"DASHSCOPE_BASE_URL": "https://b"},
            "https://c/api/v1",
        ),
        ({"base_url": "http://127.0.0.1:8765"}, {}, "http://127.0.0.1:8765/api/v1"),
        (
            {"base_url": "https://gateway/qwen"},
            {"DASHSCOPE_REGION": "intl"},
            "https://gateway/qwen",
        ),
    ],
)
def test_options_take_precedence_over_the_environment(monkeypatch, options, environment, root):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert settings(**options).base_url == root


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"region": "mars"}, "set it to one of cn-beijing"),
        (
            {"base_url": "https://a/compatible-mode/v1", "protocol": "native"},
            "the same host with /api/v1",
        ),
        ({"base_url": BEIJING, "protocol": "openai"}, "the same host with /compatible-mode/v1"),
        ({"workspace": "ws.evil.example/"}, "letters, digits"),
        ({"base_url": "dashscope.aliyuncs.com"}, "http"),
        ({"base_url": "https://user:password@host/api/v1"}, "user name"),
        ({"dimension": 1000}, "set one of 64, 128, 256, 512, 768, 1024, 1536, 2048"),
        ({"model": "text-embedding-v3", "instruct": "Find it"}, "does not support `instruct`"),
        ({"api_key": "sk-with\nnewline"}, "spaces, control or non-ASCII"),
    ],
)
def test_invalid_options_name_the_valid_ones(options, message):
    with pytest.raises(ValidationError, match=message):
        settings(**options)


@pytest.mark.parametrize("long_text", ["truncate", "average"])
def test_counting_tokens_without_a_vocabulary_says_what_to_install(monkeypatch, long_text):
    monkeypatch.setattr("qwen_embed.config.settings.can_count", lambda: False)

    with pytest.raises(ValidationError, match=r'pip install "qwen-embed\[tokens\]"'):
        settings(long_text=long_text)


def test_no_vocabulary_is_needed_if_nothing_is_counted(monkeypatch):
    monkeypatch.setattr("qwen_embed.config.settings.can_count", lambda: False)

    assert settings().long_text == "error"
    assert settings(model="text-embedding-v9", long_text="average").long_text == "average"


def test_a_missing_key_says_what_to_do():
    with pytest.raises(ValidationError, match=r"DASHSCOPE_API_KEY.*qwen_embed\.emulator"):
        EmbeddingSettings()


def test_the_key_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-env\n")

    assert EmbeddingSettings().api_key.get_secret_value() == "sk-env"


def test_an_unknown_model_accepts_any_dimension_and_an_instruction():
    assert settings(model="text-embedding-v9", dimension=77, instruct="Find it").dimension == 77


def test_a_dump_shows_what_changes_a_vector_and_nothing_else():
    assert settings(dimension=512, timeout=5).model_dump() == {
        "model": "text-embedding-v4",
        "dimension": 512,
        "instruct": None,
        "protocol": "native",
        "query_template": None,
        "truncate_locally": False,
        "normalize": False,
        "long_text": "error",
        "empty_text": "error",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"model": "text-embedding-v3"},
        {"dimension": 64},
        {"instruct": "x"},
        {"normalize": True},
        {"long_text": "average"},
    ],
)
def test_what_changes_a_vector_changes_the_namespace(change):
    assert settings().cache_namespace != settings(**change).cache_namespace


@pytest.mark.parametrize("change", [{"api_key": "sk-2"}, {"region": "intl"}, {"timeout": 5}])
def test_what_changes_no_vector_keeps_the_namespace(change):
    assert settings().cache_namespace == settings(**change).cache_namespace


def test_the_namespace_has_only_characters_that_every_store_accepts():
    name = settings(model="vendor/名字 v1:2", instruct="x").cache_namespace

    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")


@pytest.mark.parametrize("name", ["dimension", "dimensions", "api_key", "model_name"])
def test_an_option_cannot_be_changed_after_the_object_is_created(name):
    with pytest.raises(TypeError, match="model_copy"):
        setattr(settings(), name, "other")


def test_a_copy_with_changes_is_validated():
    made = settings(dimension=512, batch_size=5)

    changed = made.model_copy(update={"dimensions": 256, "region": "intl"})

    assert (changed.dimension, changed.batch_size, changed.base_url) == (256, 5, SINGAPORE)
    with pytest.raises(ValidationError):
        made.model_copy(update={"dimension": 1000})


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))]
)
def test_a_copy_has_the_same_options_and_the_key(copied):
    made = settings(dimension=512, base_url="https://a/api/v1", workspace="ws")

    assert copied(made) == made
    assert copied(made).api_key.get_secret_value() == "sk-1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"region": "example.com/", "workspace": "ws-1"}, "region must be a name"),
        ({"region": "x.example.com:443#", "workspace": "ws-1"}, "region must be a name"),
        ({"workspace": "ws.example.com/", "region": "cn-beijing"}, "workspace must be"),
        ({"workspace": "a\nb", "base_url": "https://gateway.example.com/api/v1"}, "workspace must"),
        ({"base_url": "https://a:b/api/v1"}, "base_url must be"),
        ({"base_url": "https://[::1/api/v1"}, "base_url must be"),
    ],
)
def test_options_that_would_change_the_host_or_are_not_an_address_are_rejected(options, message):
    with pytest.raises(ValidationError, match=message):
        EmbeddingSettings(api_key="sk-1", **options)


@pytest.mark.parametrize(
    ("given", "changes"),
    [
        ({"base_url": "https://gateway.example.com", "protocol": "openai"}, {"protocol": "native"}),
        (
            {"base_url": "http://127.0.0.1:8000/v1", "workspace": "ws-1"},
            {"base_url": None, "protocol": "native"},
        ),
        ({"region": "cn-hongkong"}, {"workspace": "ws-1"}),
        ({"base_url": "http://127.0.0.1:8000/v1", "model": "Qwen3-Embedding-8B"}, {"model": "bge"}),
        ({}, {"api_key": "sk-2", "region": "intl"}),
    ],
    ids=str,
)
def test_a_copy_with_changes_equals_a_new_object_with_the_same_options(given, changes):
    given = {"api_key": "sk-1", **given}

    copied = EmbeddingSettings(**given).model_copy(update=changes)

    assert copied == EmbeddingSettings(**{**given, **changes})


def test_a_copy_keeps_the_key_that_its_original_found_in_the_environment(monkeypatch):
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-of-environment")
    original = EmbeddingSettings()
    monkeypatch.delenv("DASHSCOPE_API_KEY")

    assert original.model_copy().resolved == original.resolved
    changed = original.model_copy(update={"region": "intl", "model": "text-embedding-v3"})

    assert changed.resolved[0] == "https://dashscope-intl.aliyuncs.com/api/v1"
    assert changed.resolved[1].get_secret_value() == "sk-of-environment"
    elsewhere = original.model_copy(update={"base_url": "http://127.0.0.1:8000/v1"})
    assert elsewhere.resolved[1].get_secret_value() == ""


def test_a_copy_without_the_key_of_its_original_has_none():
    original = EmbeddingSettings(api_key="sk-given")

    with pytest.raises(ValidationError, match="no API key"):
        original.model_copy(update={"api_key": None})


def test_an_empty_region_counts_as_omitted(monkeypatch):
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "https://dashscope-intl.aliyuncs.com")

    settings = EmbeddingSettings(api_key="sk-1", region="")

    assert settings.base_url == "https://dashscope-intl.aliyuncs.com/api/v1"
