import pytest

from qwen_embed.emulator.dialects.request import ApiError
from qwen_embed.emulator.dialects.rules import check_key, check_workspace, not_found, too_large


@pytest.mark.parametrize("key", [None, "", "sk-other"])
def test_another_key_is_refused(key):
    with pytest.raises(ApiError) as caught:
        check_key(key, "sk-test")
    refused = caught.value
    assert (refused.status, refused.code) == (401, "InvalidApiKey")
    assert refused.message == "Invalid API-key provided."


@pytest.mark.parametrize(
    ("key", "expected"), [("sk-test", "sk-test"), ("sk-any", None), (None, None)]
)
def test_the_right_key_is_let_in_and_any_where_none_is_asked_for(key, expected):
    check_key(key, expected)


def test_a_workspace_that_does_not_exist_is_refused():
    with pytest.raises(ApiError) as caught:
        check_workspace("llm-0", ["llm-1"])
    assert (caught.value.status, caught.value.code) == (401, "NOT AUTHORIZED")


@pytest.mark.parametrize(("named", "existing"), [(None, []), ("llm-1", ["llm-1"]), ("llm-0", None)])
def test_a_workspace_that_exists_is_let_in_and_any_where_none_is_listed(named, existing):
    check_workspace(named, existing)


def test_a_path_that_does_not_exist_is_answered_with_the_one_that_does():
    refused = not_found("GET", "/v1/models", ["/v1/embeddings"])
    assert (refused.status, refused.code) == (404, "NotFound")
    assert refused.message == "This emulator has no GET /v1/models. It has POST /v1/embeddings."


def test_too_large_a_body_is_refused_in_the_words_of_the_service():
    refused = too_large()
    assert (refused.status, refused.code, refused.message) == (
        413,
        "BadRequest.TooLarge",
        "Payload Too Large.",
    )
