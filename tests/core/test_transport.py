"""Bytes out and in: redirects, proxies, credentials from elsewhere."""

from __future__ import annotations

import pytest
from faces import API_KEY

from qwen_embed import QwenEmbedder, ServiceError
from qwen_embed.emulator import Emulator
from qwen_embed.transport import environment_proxy


@pytest.fixture(autouse=True)
def no_proxy_from_outside(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("root", "proxy"),
    [
        ("https://dashscope.aliyuncs.com/api/v1", "http://proxy:3128"),
        ("http://gateway/api/v1", None),
        ("https://inside.example/api/v1", None),
        ("https://127.0.0.1:8765/api/v1", None),
    ],
)
def test_the_proxy_of_the_environment_is_used_where_it_should(monkeypatch, root, proxy):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")

    assert environment_proxy(root) == proxy


def test_a_redirect_is_not_followed_with_the_key(service):
    with Emulator(api_key=API_KEY) as elsewhere:
        service.fail_next(status=307, code="", headers={"Location": elsewhere.native_url})

        with pytest.raises(ServiceError, match="307"):
            QwenEmbedder(api_key=API_KEY, base_url=service.native_url).embed_query("a")

        assert elsewhere.requests == []


def test_a_netrc_file_does_not_take_the_place_of_the_key(service, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    QwenEmbedder(api_key=API_KEY, base_url=service.native_url).embed_query("a")

    assert service.requests[0].api_key == API_KEY


def test_connections_are_kept_and_used_again(service):
    service.latency = 0.01
    with QwenEmbedder(api_key=API_KEY, base_url=service.native_url, max_concurrency=4) as embedder:
        for _ in range(5):
            embedder.embed_documents([f"text {n}" for n in range(100)])

    assert len({request.client for request in service.requests}) <= 4
