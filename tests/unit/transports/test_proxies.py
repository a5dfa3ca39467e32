"""The proxy set in the environment: which requests use it, and what it receives."""

from __future__ import annotations

import re
import socket
import traceback

import pytest

from qwen_embed import ConnectionFailedError, InputError, QwenEmbedder, ServiceError
from qwen_embed.transports.proxy import environment_proxy
from tests.support.interfaces import API_KEY
from tests.support.network import ForwardProxy, basic, port_of, serving

ROOT = "http://service.test/api/v1"
CREDENTIALS = "someone:proxy-password"

pytestmark = pytest.mark.filterwarnings("ignore::qwen_embed.InsecureHttpWarning")


@pytest.fixture(autouse=True)
def no_proxy_from_outside(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def proxy(service, monkeypatch):
    proxy = ForwardProxy({"service.test": port_of(service)})
    with serving(proxy.serve) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        yield proxy


@pytest.fixture
def locked_proxy(service, monkeypatch):
    """A proxy that requires credentials, and a function that sets it with some."""
    proxy = ForwardProxy({"service.test": port_of(service)}, CREDENTIALS)
    with serving(proxy.serve) as port:

        def name(credentials):
            for variable in ("HTTP_PROXY", "HTTPS_PROXY"):
                monkeypatch.setenv(variable, f"http://{credentials}@127.0.0.1:{port}")

        yield proxy, name


def ask(root=ROOT):
    with QwenEmbedder(api_key=API_KEY, base_url=root, max_retries=0) as embedder:
        return embedder.embed_query("a")


@pytest.mark.parametrize(
    ("root", "proxy"),
    [
        ("https://dashscope.aliyuncs.com/api/v1", "http://proxy:3128"),
        ("http://gateway/api/v1", None),
        ("https://inside.example/api/v1", None),
        ("https://gateway:8443/api/v1", None),
        ("https://gateway:9443/api/v1", "http://proxy:3128"),
        ("https://127.0.0.1:8765/api/v1", None),
        ("https://127.1.2.3:8765/api/v1", None),
        ("https://[::1]:8765/api/v1", None),
        ("https://localhost/api/v1", None),
    ],
)
@pytest.mark.parametrize("named", ["http://proxy:3128", "proxy:3128"])
def test_the_proxy_from_the_environment_is_used_for_the_right_hosts(
    monkeypatch, root, proxy, named
):
    monkeypatch.setenv("HTTPS_PROXY", named)
    monkeypatch.setenv("NO_PROXY", "inside.example,gateway:8443")

    assert environment_proxy(root) == proxy


def test_a_proxy_of_another_kind_is_rejected_before_anything_is_sent(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"socks5://{CREDENTIALS}@127.0.0.1:1080")

    with pytest.raises(InputError, match=r"socks5.*NO_PROXY") as caught:
        ask()

    assert "proxy-password" not in str(caught.value)


def test_requests_to_an_http_host_use_the_proxy(service, proxy):
    assert ask().dense.shape == (1, 1024)

    [head] = proxy.heads
    assert head.startswith(f"POST {ROOT}/services/embeddings/")
    assert [request.api_key for request in service.requests] == [API_KEY]


@pytest.mark.parametrize("exempt", ["service.test", ".test", "*"])
def test_a_host_in_no_proxy_is_called_directly(service, proxy, monkeypatch, exempt):
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *args, **named: resolve("127.0.0.1", *args, **named)
    )
    monkeypatch.setenv("NO_PROXY", exempt)

    ask(f"http://service.test:{port_of(service)}/api/v1")

    assert proxy.heads == []
    assert len(service.requests) == 1


def test_credentials_of_the_proxy_are_sent_to_the_proxy(service, locked_proxy):
    proxy, name = locked_proxy
    name(CREDENTIALS)

    ask()

    assert f"Proxy-Authorization: {basic(CREDENTIALS)}" in proxy.heads[0]
    assert [request.api_key for request in service.requests] == [API_KEY]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_error_of_the_proxy_shows_no_credentials(locked_proxy, scheme):
    proxy, name = locked_proxy
    name("someone:wrong-password")

    with pytest.raises((ServiceError, ConnectionFailedError), match="407") as caught:
        ask(f"{scheme}://service.test/api/v1")

    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    shown = [secret for secret in ("wrong-password", API_KEY) if secret in text]
    assert (len(proxy.heads), shown) == (1, [])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_unreachable_proxy_shows_no_credentials(monkeypatch, scheme):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv(
            f"{scheme.upper()}_PROXY", f"http://{CREDENTIALS}@127.0.0.1:{unused.getsockname()[1]}"
        )

        with pytest.raises(ConnectionFailedError, match=re.escape("127.0.0.1")) as caught:
            ask(f"{scheme}://service.test/api/v1")

    assert "proxy-password" not in str(caught.value)


def test_a_tunnel_is_requested_without_the_key(locked_proxy):
    proxy, name = locked_proxy
    name(CREDENTIALS)

    # The emulator has no TLS, so the connection ends after the tunnel is established.
    with pytest.raises(ConnectionFailedError):
        ask("https://service.test/api/v1")

    assert proxy.heads[0].startswith("CONNECT service.test:443 ")
    assert f"Proxy-Authorization: {basic(CREDENTIALS)}" in proxy.heads[0]
    assert API_KEY not in proxy.heads[0]


def test_a_netrc_file_does_not_replace_the_key_behind_a_proxy(
    service, proxy, monkeypatch, tmp_path
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine service.test login a password b\ndefault login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))

    ask()

    assert [request.api_key for request in service.requests] == [API_KEY]
    assert "proxy-authorization" not in proxy.heads[0].lower()
