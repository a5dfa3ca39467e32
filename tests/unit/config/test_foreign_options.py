"""Options of other classes: those that match the defaults here, and those that do not exist."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from langchain_qwen_embed import QwenEmbeddings
from llamaindex_qwen_embed import QwenEmbedding

CLASSES = pytest.mark.parametrize("make", [QwenEmbeddings, QwenEmbedding])


@CLASSES
@pytest.mark.parametrize(
    "option",
    [
        {"check_embedding_ctx_length": False},
        {"tiktoken_enabled": False},
        {"text_type": "document"},
        {"model_kwargs": {"encoding_format": "float"}},
        {"additional_kwargs": {}},
        {"http_client": None},
        {"reuse_client": True},
        {"request_timeout": None},
    ],
)
def test_an_option_whose_value_is_the_default_here_is_accepted(make, option):
    assert make(api_key="sk-1", **option).model_dump() == make(api_key="sk-1").model_dump()


@CLASSES
@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ({"check_embedding_ctx_length": True}, "never as token ids"),
        ({"text_type": "query"}, "by the method that is called"),
        ({"model_kwargs": {"user": "me"}}, "no other parameters"),
        ({"default_headers": {"a": "b"}}, "client=openai.OpenAI"),
        ({"openai_proxy": "http://proxy"}, "set HTTPS_PROXY"),
        ({"deployment": "mine"}, "Azure"),
        ({"skip_empty": True}, "empty_text='zero'"),
        ({"retry_max_seconds": 20}, "max_retries"),
    ],
)
def test_an_option_that_does_not_exist_here_is_rejected_with_what_to_do_instead(
    make, option, instead
):
    [name] = option

    with pytest.raises(ValidationError, match=f"{name}: .*{instead}"):
        make(api_key="sk-1", **option)


def test_all_options_that_do_not_exist_here_are_named_at_once():
    with pytest.raises(ValidationError, match=r"deployment: .*skip_empty: "):
        QwenEmbeddings(api_key="sk-1", deployment="mine", skip_empty=True)


def test_an_option_of_llamaindex_is_rejected_by_langchains_class_with_the_name_used_here():
    with pytest.raises(ValidationError, match="batch_size is the number of texts per request"):
        QwenEmbeddings(api_key="sk-1", embed_batch_size=10)


def test_a_rejected_value_is_not_shown():
    with pytest.raises(ValidationError) as caught:
        QwenEmbeddings(api_key="sk-1", default_headers={"Authorization": "Bearer sk-secret"})

    assert "sk-secret" not in str(caught.value)
