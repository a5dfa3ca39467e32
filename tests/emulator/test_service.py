import contextlib
import http.client
import json
import threading
import time
import urllib.error
import uuid

import numpy as np
import pytest

from qwen_embed.emulator import Emulator
from tests.support.held_engine import HeldEngine

from .calls import EMBEDDING_PATH, KEY, RESOURCE, body_for, embed, post, send


def error_of(response):
    """Return status, code and message of a body that holds only these and an id."""
    assert set(response.json) == {"code", "message", "request_id"}
    assert uuid.UUID(response.json["request_id"])
    assert response.headers["Content-Type"] == "application/json"
    return response.status, response.json["code"], response.json["message"]


def test_a_success_has_exactly_the_format_of_the_service(service):
    response = embed(service, ["风急天高", "hello"], dimension=64)
    body = response.json
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    assert set(body) == {"output", "usage", "request_id"}
    assert set(body["output"]) == {"embeddings"}
    assert [set(item) for item in body["output"]["embeddings"]] == [{"text_index", "embedding"}] * 2
    assert [item["text_index"] for item in body["output"]["embeddings"]] == [0, 1]
    assert all(type(x) is float for item in body["output"]["embeddings"] for x in item["embedding"])
    assert body["usage"] == {"total_tokens": 6}
    assert str(uuid.UUID(body["request_id"])) == body["request_id"]


@pytest.mark.parametrize(
    ("output_type", "keys"),
    [
        (None, ["text_index", "embedding"]),
        ("dense", ["text_index", "embedding"]),
        ("sparse", ["text_index", "sparse_embedding"]),
        ("dense&sparse", ["text_index", "embedding", "sparse_embedding"]),
    ],
)
def test_embeddings_have_exactly_what_was_requested_at_the_same_price(service, output_type, keys):
    body = embed(service, ["风急天高", "hello"], output_type=output_type).json
    assert [list(item) for item in body["output"]["embeddings"]] == [keys] * 2
    assert body["usage"] == {"total_tokens": 6}


def test_a_sparse_vector_has_exactly_the_format_of_the_service(service):
    (item,) = embed(service, ["风 QX-7731B"], output_type="sparse").json["output"]["embeddings"]
    entries = item["sparse_embedding"]
    assert [list(entry) for entry in entries] == [["index", "value", "token"]] * 4
    assert [entry["token"] for entry in entries] == ["风", "qx-7731b", "qx", "7731b"]
    assert all(type(entry["index"]) is int for entry in entries)
    assert all(type(entry["value"]) is float for entry in entries)


def test_sparse_vectors_belong_to_their_texts_when_shuffled(service):
    texts = [f"number{letter}" for letter in "abcdefghij"]
    service.shuffle = True
    items = embed(service, texts, output_type="dense&sparse").json["output"]["embeddings"]
    assert [item["text_index"] for item in items] != list(range(10))
    for item in items:
        assert item["sparse_embedding"][0]["token"] == texts[item["text_index"]]


def test_sparse_vectors_are_rejected_if_the_model_has_none(service):
    response = embed(service, ["a"], model="text-embedding-v2", output_type="dense&sparse")
    status, code, message = error_of(response)
    assert (status, code) == (400, "InvalidParameter")
    assert "`text-embedding-v2`" in message
    service.set_model("text-embedding-v2", sparse=True)
    assert embed(service, ["a"], model="text-embedding-v2", output_type="sparse").status == 200


def test_indices_can_be_repeated_and_this_can_change_while_it_runs():
    def indices(service):
        response = embed(service, ["风急天高 hello"], output_type="sparse")
        entries = response.json["output"]["embeddings"][0]["sparse_embedding"]
        return [entry["index"] for entry in entries]

    with Emulator(api_key=KEY, repeat_indices=True) as service:
        repeated = indices(service)
        service.repeat_indices = False
        plain = indices(service)
    assert len(plain) == len(set(plain)) == 8
    assert len(repeated) > len(plain)
    assert set(repeated) == set(plain)


def test_the_engine_is_not_called_for_sparse_vectors_only():
    class Broken:
        dimension = 8

        def embed(self, texts, *, text_type, instruct):
            raise AssertionError

    with Emulator(api_key=KEY, engine=Broken()) as service:
        assert embed(service, ["a"], output_type="sparse").status == 200


def test_vectors_are_unit_vectors_of_the_requested_dimension(service):
    vectors = embed(service, ["a cat", "a dog"], dimension=256).vectors
    assert vectors.shape == (2, 256)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_numbers_are_float32_printed_as_doubles(service):
    vectors = embed(service, ["a cat"]).vectors
    np.testing.assert_array_equal(vectors.astype(np.float32).astype(np.float64), vectors)


def test_every_response_has_its_own_id(service):
    ids = {embed(service, ["a"], dimension=64).json["request_id"] for _ in range(3)}
    assert len(ids) == 3


def test_a_wrong_key_is_rejected(service):
    response = post(service, body_for(["a"]), key="sk-other")
    assert error_of(response) == (401, "InvalidApiKey", "Invalid API-key provided.")


def test_a_request_without_a_key_is_rejected(service):
    response = send(service.native_url + RESOURCE, data=b"{}")
    assert response.status == 401
    assert service.requests[0].api_key is None


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"\xff\xfe", b'"text"', b"[" * 100_000])
def test_a_body_that_is_not_a_json_object_is_rejected(service, raw):
    assert error_of(post(service, raw)) == (
        400,
        "InvalidParameter",
        "The request body must be a JSON object.",
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", RESOURCE), ("GET", "/models"), ("POST", "/services/rerank"), ("POST", "/tasks/7")],
)
def test_other_paths_are_not_found_and_the_error_names_the_existing_one(service, method, path):
    response = send(service.native_url + path, method=method)
    assert error_of(response)[:2] == (404, "NotFound")
    assert EMBEDDING_PATH in response.json["message"]


def test_a_body_above_16_mib_is_rejected(service):
    response = post(service, body_for(["a" * (16 * 1024 * 1024)]))
    assert error_of(response) == (413, "BadRequest.TooLarge", "Payload Too Large.")


def test_a_body_just_below_16_mib_is_read(service):
    response = post(service, body_for(["a" * (16 * 1024 * 1024 - 200)]))
    assert error_of(response)[2].endswith("Range of input length should be [1, 8192]")


def test_vectors_can_be_shuffled_with_the_right_indices(service):
    texts = [f"text number {number}" for number in range(10)]
    in_order = embed(service, texts).vectors
    service.shuffle = True
    items = embed(service, texts).json["output"]["embeddings"]
    order = [item["text_index"] for item in items]
    assert order != sorted(order)
    assert sorted(order) == list(range(10))
    for item in items:
        np.testing.assert_array_equal(item["embedding"], in_order[item["text_index"]])


def test_a_seed_fixes_the_random_orders():
    def orders(seed):
        with Emulator(api_key=KEY, shuffle=True, seed=seed) as service:
            items = embed(service, ["a"] * 10, dimension=64).json["output"]["embeddings"]
            return [item["text_index"] for item in items]

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)


def test_latency_is_added_to_a_response_and_can_change_while_it_runs(service):
    embed(service, ["a"])
    service.latency = 0.2
    started_at = time.monotonic()
    embed(service, ["a"])
    assert time.monotonic() - started_at >= 0.2


def test_requests_above_the_quota_are_throttled(service):
    service.set_quota(requests_per_minute=60)
    assert embed(service, ["a"]).status == 200
    assert error_of(embed(service, ["a"])) == (
        429,
        "Throttling.RateQuota",
        "Requests rate limit exceeded, please try again later.",
    )


def test_tokens_above_the_quota_are_throttled(service):
    service.set_quota(tokens_per_minute=60)
    assert embed(service, ["a"]).status == 200
    assert error_of(embed(service, ["a"])) == (
        429,
        "Throttling.AllocationQuota",
        "Allocated quota exceeded, please increase your quota limit.",
    )


def test_a_quota_can_be_removed(service):
    service.set_quota(requests_per_minute=1, tokens_per_minute=1)
    embed(service, ["a"])
    service.set_quota()
    assert embed(service, ["a"]).status == 200


def test_an_injected_error_is_sent_once(service):
    service.fail_next()
    response = embed(service, ["a"])
    assert error_of(response)[:2] == (500, "InternalError")
    assert embed(service, ["a"]).status == 200


def test_injected_errors_are_queued(service):
    service.fail_next(2, status=503, code="ModelUnavailable", message="Busy.")
    service.fail_next(status=429, code="Throttling", headers={"Retry-After": "3"})
    responses = [embed(service, ["a"]) for _ in range(4)]
    assert [response.status for response in responses] == [503, 503, 429, 200]
    assert error_of(responses[0]) == (503, "ModelUnavailable", "Busy.")
    assert responses[2].headers["Retry-After"] == "3"


def test_an_injected_error_can_have_status_200(service):
    service.fail_next(status=200, code="DataInspectionFailed", message="No.")
    assert error_of(embed(service, ["a"])) == (200, "DataInspectionFailed", "No.")


def test_an_injected_error_can_be_an_html_page(service):
    page = b"<html>502 Bad Gateway</html>"
    service.fail_next(status=502, body=page)
    response = embed(service, ["a"])
    assert (response.status, response.raw, response.headers["Content-Type"]) == (
        502,
        page,
        "text/html",
    )
    assert service.requests[0].code is None


def test_an_injected_error_can_have_its_own_content_type(service):
    service.fail_next(status=502, body=b"bad", headers={"content-type": "text/plain"})
    assert embed(service, ["a"]).headers["Content-Type"] == "text/plain"


def test_requests_for_other_paths_do_not_consume_faults(service):
    service.fail_next()
    send(f"{service.native_url}/models", method="GET")
    assert embed(service, ["a"]).status == 500


def test_a_connection_can_be_dropped_before_the_response(service):
    service.drop_next()
    with pytest.raises(http.client.RemoteDisconnected):
        embed(service, ["a"])
    assert service.requests[0].status is None
    assert embed(service, ["a"]).status == 200


def test_a_connection_can_be_dropped_in_the_middle_of_the_body(service):
    service.drop_next(2, when="body")
    for _ in range(2):
        with pytest.raises(http.client.IncompleteRead) as caught:
            embed(service, ["a"])
        assert caught.value.partial.startswith(b'{"output":')
        assert caught.value.expected > 0
    assert service.requests[0].status == 200
    assert embed(service, ["a"]).status == 200


@pytest.mark.parametrize(
    "plan",
    [
        lambda service: service.fail_next(0),
        lambda service: service.drop_next(-1),
        lambda service: service.drop_next(when="after"),
    ],
)
def test_an_invalid_fault_is_an_error(service, plan):
    with pytest.raises(ValueError, match="must be"):
        plan(service)


def test_a_model_can_be_changed_for_one_emulator(service):
    service.set_model("text-embedding-v4", texts_per_request=6)
    assert embed(service, ["a"] * 6).status == 200
    assert "larger than 6." in embed(service, ["a"] * 7).json["message"]
    with Emulator(api_key=KEY) as other:
        assert embed(other, ["a"] * 7).status == 200


def test_a_model_can_be_added(service):
    assert embed(service, ["a"], model="text-embedding-v9").status == 404
    service.set_model("text-embedding-v9", default_dimension=512)
    assert embed(service, ["a"], model="text-embedding-v9").vectors.shape == (1, 512)


def test_a_request_is_recorded_completely(service):
    body = body_for(["a"], dimension=64)
    before = time.monotonic()
    post(service, body, X_DashScope_WorkSpace="ws-1")
    (recorded,) = service.requests
    assert recorded.path == EMBEDDING_PATH
    assert recorded.api_key == KEY
    assert recorded.headers["X-DashScope-WorkSpace"] == "ws-1"
    assert "Authorization" not in recorded.headers
    assert recorded.body == body
    assert (recorded.status, recorded.code) == (200, None)
    assert recorded.client.startswith("127.0.0.1:")
    assert before <= recorded.started_at <= time.monotonic()


def test_error_responses_are_recorded_with_their_code(service):
    post(service, b"{")
    post(service, body_for(["a"]), key="sk-other")
    embed(service, ["a"], model="xxx")
    assert [(request.status, request.code) for request in service.requests] == [
        (400, "InvalidParameter"),
        (401, "InvalidApiKey"),
        (404, "ModelNotFound"),
    ]
    assert service.requests[0].body is None


def test_a_request_is_recorded_before_its_response():
    engine = HeldEngine()
    with Emulator(api_key=KEY, engine=engine) as service:
        thread = threading.Thread(target=embed, args=(service, ["a"]))
        thread.start()
        while not service.requests:
            time.sleep(0.005)
        assert service.requests[0].status is None
        engine.let_go()
        thread.join()
        assert service.requests[0].status == 200


def test_requests_on_one_connection_have_the_same_client(service):
    connection = http.client.HTTPConnection(service.native_url.split("/")[2])
    for _ in range(2):
        connection.request(
            "POST",
            EMBEDDING_PATH,
            json.dumps(body_for(["a"], dimension=64)),
            {"Authorization": f"Bearer {KEY}"},
        )
        connection.getresponse().read()
    connection.close()
    embed(service, ["a"])
    first, second, third = (request.client for request in service.requests)
    assert first == second != third


def test_clear_forgets_requests_and_the_peak(service):
    embed(service, ["a"])
    service.clear()
    assert service.requests == []
    assert service.peak_in_flight == 0


def test_the_peak_is_the_most_requests_in_flight_at_one_time():
    engine = HeldEngine()
    with Emulator(api_key=KEY, engine=engine) as service:
        threads = [threading.Thread(target=embed, args=(service, ["a"])) for _ in range(5)]
        for thread in threads:
            thread.start()
        engine.let_go_when_in_flight(service, 5)
        for thread in threads:
            thread.join()
        assert service.peak_in_flight == 5
        service.clear()
        for _ in range(3):
            embed(service, ["a"])
        assert service.peak_in_flight == 1


def test_a_slow_engine_does_not_block_other_responses():
    engine = HeldEngine()
    with Emulator(api_key=KEY, engine=engine) as service:
        thread = threading.Thread(target=embed, args=(service, ["a"]))
        thread.start()
        while not service.requests:
            time.sleep(0.005)
        assert embed(service, []).status == 400
        assert service.requests[0].status is None
        engine.let_go()
        thread.join()
        assert service.requests[0].status == 200


def test_an_error_of_the_engine_is_a_500():
    class Broken:
        dimension = 8

        def embed(self, texts, *, text_type, instruct):
            raise RuntimeError("out of luck")

    with Emulator(api_key=KEY, engine=Broken()) as service:
        assert error_of(embed(service, ["a"])) == (
            500,
            "InternalError.Algo",
            "RuntimeError('out of luck')",
        )


def test_an_unknown_workspace_is_rejected(service):
    assert post(service, body_for(["a"]), X_DashScope_WorkSpace="ws-1").status == 200
    service.workspaces = ["ws-2"]
    response = post(service, body_for(["a"]), X_DashScope_WorkSpace="ws-1")
    assert error_of(response)[:2] == (401, "NOT AUTHORIZED")
    assert post(service, body_for(["a"]), X_DashScope_WorkSpace="ws-2").status == 200
    assert post(service, body_for(["a"])).status == 200


def test_two_emulators_have_separate_keys():
    with Emulator(api_key="sk-one") as one, Emulator(api_key="sk-two") as two:
        assert post(one, body_for(["a"]), key="sk-one").status == 200
        assert post(two, body_for(["a"]), key="sk-two").status == 200
        assert post(one, body_for(["a"]), key="sk-two").status == 401
        assert [len(one.requests), len(two.requests)] == [2, 1]


def test_nothing_listens_after_stop():
    with Emulator(api_key=KEY) as service:
        url = service.native_url
    with pytest.raises(urllib.error.URLError):
        send(url)


def test_random_faults_hit_a_share_of_all_requests(service):
    service.inject_faults(0.5, seed=1)
    for _ in range(40):
        with contextlib.suppress(Exception):
            embed(service, ["a"])
    service.inject_faults(0)

    whole = [request for request in service.requests if request.status == 200 and request.whole]
    assert 10 <= len(whole) <= 30
    assert {request.status for request in service.requests} >= {200, 429, 500}


def test_the_rate_of_random_faults_is_from_0_to_1(service):
    with pytest.raises(ValueError, match="rate"):
        service.inject_faults(1.5)
