"""Trusted authorities: those of the system, and those set in the environment."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys

import pytest
import trustme

from qwen_embed import CertificateError, ConnectionFailedError, QwenEmbedder
from qwen_embed.config.settings import EmbeddingSettings
from tests.support.interfaces import API_KEY
from tests.support.network import ForwardProxy, port_of, relay_to, serving

PROGRAM = f"""
import sys
from qwen_embed import QwenEmbedder
with QwenEmbedder(api_key={API_KEY!r}, base_url=sys.argv[1], max_retries=0) as embedder:
    print(embedder.embed_query("a").dense.shape)
"""


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls_port(authority, service):
    """A port that serves the emulator over TLS, with a certificate of a private authority."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "service.test").configure_cert(tls)
    with serving(relay_to(port_of(service)), tls=tls) as port:
        yield port


@pytest.fixture
def bundle(authority, tmp_path):
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def ask_in_another_process(root, **environment):
    # aiohttp reads the authorities when it is imported.
    outside = {name: it for name, it in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, root],
        env={**outside, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout or done.stderr


def test_an_unknown_authority_is_rejected_with_what_to_set(service, tls_port):
    embedder = QwenEmbedder(api_key=API_KEY, base_url=f"https://127.0.0.1:{tls_port}")

    with pytest.raises(CertificateError, match=r"127\.0\.0\.1 could not .*SSL_CERT_FILE") as caught:
        embedder.embed_query("a")

    assert isinstance(caught.value, ConnectionFailedError)
    assert (service.requests, embedder.usage.retries) == ([], 0)


def test_an_authority_in_ssl_cert_file_is_trusted(tls_port, bundle):
    root = f"https://127.0.0.1:{tls_port}"

    assert ask_in_another_process(root, SSL_CERT_FILE=str(bundle)) == "(1, 1024)\n"


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl names the files of such a folder")
def test_an_authority_in_ssl_cert_dir_is_trusted(tls_port, bundle):
    name = ["openssl", "x509", "-hash", "-noout", "-in", str(bundle)]
    digest = subprocess.run(name, capture_output=True, text=True, check=True).stdout.strip()
    bundle.rename(bundle.with_name(f"{digest}.0"))

    shown = ask_in_another_process(f"https://127.0.0.1:{tls_port}", SSL_CERT_DIR=str(bundle.parent))

    assert shown == "(1, 1024)\n"


def test_a_certificate_for_another_host_is_rejected_even_from_a_trusted_authority(tls_port, bundle):
    shown = ask_in_another_process(f"https://localhost:{tls_port}", SSL_CERT_FILE=str(bundle))

    assert "CertificateError: The certificate of localhost could not be verified" in shown


def test_requests_to_a_tls_host_use_a_tunnel_through_the_proxy(service, tls_port, bundle):
    proxy = ForwardProxy({"service.test": tls_port})
    with serving(proxy.serve) as port:
        shown = ask_in_another_process(
            "https://service.test/api/v1",
            SSL_CERT_FILE=str(bundle),
            HTTPS_PROXY=f"http://127.0.0.1:{port}",
        )

    assert shown == "(1, 1024)\n"
    assert [head.split("\r\n")[0] for head in proxy.heads] == ["CONNECT service.test:443 HTTP/1.1"]
    assert API_KEY not in proxy.heads[0]
    assert [request.api_key for request in service.requests] == [API_KEY]


def test_no_option_turns_verification_off():
    words = ("ssl", "tls", "verify", "trust", "insecure", "certificate")

    assert [
        name for name in EmbeddingSettings.model_fields if any(word in name for word in words)
    ] == []
