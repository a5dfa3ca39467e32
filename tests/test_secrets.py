"""The key is nowhere but in its header and in a pickle."""

from __future__ import annotations

import json
import logging
import traceback

import pytest
from faces import API_KEY
from pydantic import ValidationError

from llamaindex_qwen_embed import QwenEmbedding
from qwen_embed import AuthenticationError, PartialFailureError


def test_the_key_is_in_no_representation(face, service):
    embeddings = face(service)
    face.query(embeddings, "a")

    shown = [
        repr(embeddings),
        str(embeddings),
        str(vars(embeddings)),
        str(embeddings.model_dump()),
        embeddings.model_dump_json(),
        embeddings.cache_namespace,
        str(embeddings.usage),
        json.dumps(type(embeddings).model_json_schema(mode="serialization"))
        if face.name.startswith("core")
        else "",
    ]
    if isinstance(embeddings, QwenEmbedding):
        shown += [str(embeddings.to_dict()), embeddings.to_json(), str(embeddings.to_payload())]
    assert not [text for text in shown if API_KEY in text]


def test_the_key_is_in_no_log(face, service, caplog):
    with caplog.at_level(logging.DEBUG):
        embeddings = face(service)
        face.documents(embeddings, ["a", "b"])
        service.fail_next(1, status=401, code="InvalidApiKey", message="no")
        with pytest.raises(AuthenticationError):
            face.query(embeddings, "c")

    assert API_KEY not in caplog.text


@pytest.mark.parametrize("status", [400, 401, 403])
def test_the_key_is_in_no_error(face, service, status):
    embeddings = face(service)
    service.fail_next(9, status=status, code="Refused", message="no")

    with pytest.raises(Exception, match="no") as caught:
        face.documents(embeddings, ["a", "b"])

    error = caught.value
    while error is not None:
        assert API_KEY not in "".join(traceback.format_exception(error))
        frames = traceback.walk_tb(error.__traceback__)
        for frame, _ in frames:
            if "/qwen_embed/" in frame.f_code.co_filename:
                assert API_KEY not in repr(frame.f_locals)
        if isinstance(error, PartialFailureError):
            assert API_KEY not in repr(error.failures)
        error = error.__cause__ or error.__context__


def test_an_option_that_is_refused_does_not_show_the_key(face):
    with pytest.raises(ValidationError) as caught:
        face.make(api_key=API_KEY, region="mars")
    assert API_KEY not in str(caught.value)

    with pytest.raises(ValidationError) as caught:
        face.make(api_key=[API_KEY])
    assert API_KEY not in str(caught.value)
