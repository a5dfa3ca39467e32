import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from qwen_embed.emulator import Emulator

from .calls import EMBEDDING_PATH, KEY, body_for, embed


def open_sockets():
    """Return the open sockets of this process; none if the system does not list them."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        return set()
    # Listing the folder opens a descriptor of its own, which is already closed here.
    links = [str(link.readlink()) for link in list(folder.iterdir()) if link.is_symlink()]
    return {link for link in links if link.startswith("socket:")}


def test_stop_leaves_no_thread_and_no_socket():
    threads, sockets = set(threading.enumerate()), open_sockets()
    with Emulator(api_key=KEY) as service:
        embed(service, ["a"])
        assert set(threading.enumerate()) > threads
    assert set(threading.enumerate()) <= threads
    assert open_sockets() <= sockets


def test_stop_is_prompt_with_open_connections_and_requests_in_flight():
    service = Emulator(api_key=KEY)
    service.start()
    host = service.native_url.split("/")[2]
    idle, waiting = http.client.HTTPConnection(host), http.client.HTTPConnection(host)
    idle.request("GET", "/")
    idle.getresponse().read()
    service.latency = 60
    waiting.request(
        "POST", EMBEDDING_PATH, json.dumps(body_for(["a"])), {"Authorization": f"Bearer {KEY}"}
    )
    while len(service.requests) < 2:
        time.sleep(0.005)
    started_at = time.monotonic()
    service.stop()
    assert time.monotonic() - started_at < 20
    idle.close()
    waiting.close()


def test_stop_waits_for_an_engine_in_the_middle_of_a_call():
    started, finished = threading.Event(), threading.Event()

    class SlowEngine:
        dimension = 8

        def embed(self, texts, *, text_type, instruct):
            started.set()
            time.sleep(0.2)
            finished.set()
            return np.eye(len(texts), 8)

    service = Emulator(api_key=KEY, engine=SlowEngine())
    service.start()
    connection = http.client.HTTPConnection(service.native_url.split("/")[2])
    connection.request(
        "POST", EMBEDDING_PATH, json.dumps(body_for(["a"])), {"Authorization": f"Bearer {KEY}"}
    )
    assert started.wait(10)
    service.stop()
    connection.close()
    assert finished.is_set()


def test_it_can_be_restarted():
    service = Emulator(api_key=KEY)
    for _ in range(2):
        service.start()
        assert embed(service, ["a"]).status == 200
        service.stop()
    assert len(service.requests) == 2


def test_stopping_twice_does_nothing():
    service = Emulator()
    service.start()
    service.stop()
    service.stop()


def test_starting_twice_is_an_error():
    with Emulator() as service, pytest.raises(RuntimeError, match="already running"):
        service.start()


def test_the_urls_exist_only_while_it_runs():
    service = Emulator()
    with pytest.raises(RuntimeError, match="not running"):
        _ = service.native_url
    with pytest.raises(RuntimeError, match="not running"):
        _ = service.openai_url
    with service:
        assert service.native_url.startswith("http://127.0.0.1:")
        assert service.native_url.endswith("/api/v1")
        host = service.native_url.removesuffix("/api/v1")
        assert service.openai_url == f"{host}/compatible-mode/v1"


def test_the_port_can_be_chosen():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Emulator(port=port) as service:
        assert service.native_url == f"http://127.0.0.1:{port}/api/v1"


def test_a_port_in_use_is_an_error_at_once():
    with Emulator() as service:
        port = int(service.native_url.split(":")[2].split("/")[0])
        with pytest.raises(OSError, match=r"in use|only one usage"):
            Emulator(port=port).start()


def test_nothing_is_left_open_in_development_mode():
    code = (
        "from qwen_embed.emulator import Emulator\n"
        "import http.client\n"
        "with Emulator() as service:\n"
        "    connection = http.client.HTTPConnection(service.native_url.split('/')[2])\n"
        "    connection.request('GET', '/')\n"
        "    connection.getresponse().read()\n"
        "    connection.close()\n"
    )
    finished = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, check=True
    )
    assert finished.stderr == ""


def test_the_client_is_never_imported():
    code = (
        "import sys, qwen_embed\n"
        "already = set(sys.modules)\n"
        "import qwen_embed.emulator, qwen_embed.emulator.__main__\n"
        "new = {name for name in set(sys.modules) - already if name.startswith('qwen_embed')}\n"
        "allowed = ('qwen_embed.emulator', 'qwen_embed.models')\n"
        "print(sorted(name for name in new if not name.startswith(allowed)))\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == "[]"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a second loopback address")
def test_it_listens_on_one_loopback_address_only():
    with Emulator() as service:
        port = int(service.native_url.split(":")[2].split("/")[0])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5).close()
