import pytest

from qwen_embed.emulator.dialects.request import ApiError
from qwen_embed.emulator.dialects.rules import check_key, check_workspace, not_found, too_large


@pytest.mark.parametrize("key", [None, "", "sk-other"])
def test_a_wrong_key_is_rejected(key):
    with pytest.raises(ApiError) as caught:
        check_key(key, "sk-test")
    error = caught.value
    assert (error.status, error.code) == (401, "InvalidApiKey")
    assert error.message == "Invalid API-key provided."


@pytest.mark.parametrize(
    ("key", "expected"), [("sk-test", "sk-test"), ("sk-any", None), (None, None)]
)
def test_the_right_key_is_accepted_and_any_key_if_none_is_expected(key, expected):
    check_key(key, expected)


def test_an_unknown_workspace_is_rejected():
    with pytest.raises(ApiError) as caught:
        check_workspace("llm-0", ["llm-1"])
    assert (caught.value.status, caught.value.code) == (401, "NOT AUTHORIZED")


@pytest.mark.parametrize(("named", "existing"), [(None, []), ("llm-1", ["llm-1"]), ("llm-0", None)])
def test_an_existing_workspace_is_accepted_and_any_if_none_are_listed(named, existing):
    check_workspace(named, existing)


def test_the_error_for_an_unknown_path_names_the_existing_one():
    error = not_found("GET", "/v1/models", ["/v1/embeddings"])
    assert (error.status, error.code) == (404, "NotFound")
    assert error.message == "This emulator has no GET /v1/models. It has POST /v1/embeddings."


def test_a_body_that_is_too_large_is_rejected_with_the_message_of_the_service():
    error = too_large()
    assert (error.status, error.code, error.message) == (
        413,
        "BadRequest.TooLarge",
        "Payload Too Large.",
    )
