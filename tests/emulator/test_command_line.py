import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from qwen_embed.emulator.__main__ import main

from .calls import EMBEDDING_PATH, body_for, send


@contextmanager
def running(*options):
    """Yield the process and its greeting, and kill the process if it is still running."""
    command = [sys.executable, "-X", "dev", "-m", "qwen_embed.emulator", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        greeting = ""
        while "Ctrl-C" not in greeting:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            greeting += line
        yield process, greeting
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def url_in(greeting):
    return re.search(r"http://\S+/api/v1", greeting).group()


def ask(url, key="sk-emulator"):
    return send(
        url.removesuffix("/api/v1") + EMBEDDING_PATH,
        data=json.dumps(body_for(["a"], dimension=64)).encode(),
        headers={"Authorization": f"Bearer {key}"},
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_responds_and_stops_cleanly_on_a_signal(number):
    with running() as (process, greeting):
        url = url_in(greeting)
        assert f"export DASHSCOPE_BASE_URL={url}" in greeting
        assert "export DASHSCOPE_API_KEY=sk-emulator" in greeting
        assert url.replace("/api/v1", "/compatible-mode/v1\n") in greeting
        assert "vectors are NOT Qwen's" in greeting
        assert ask(url).status == 200
        os.kill(process.pid, number)
        output, errors = process.communicate(timeout=10)
        # On a busy machine asyncio's debug mode logs slow callbacks, which are no errors.
        error_lines = [line for line in errors.splitlines() if not line.startswith("Executing ")]
        assert (process.returncode, output, error_lines) == (0, "Stopped.\n", [])


def test_options_reach_the_service():
    with running("--api-key", "sk-mine", "--requests-per-minute", "1") as (_, greeting):
        assert "export DASHSCOPE_API_KEY=sk-mine" in greeting
        assert ask(url_in(greeting)).status == 401
        assert ask(url_in(greeting), "sk-mine").status == 200
        assert ask(url_in(greeting), "sk-mine").status == 429


def test_it_plays_a_self_hosted_server_without_a_key():
    with running("--backend", "vllm") as (_, greeting):
        url = re.search(r"http://\S+/v1\n", greeting).group().strip()
        assert "Emulator of vllm with Qwen3-Embedding" in greeting
        assert "Qwen/Qwen3-Embedding-0.6B, Qwen/Qwen3-Embedding-4B" in greeting
        assert "DASHSCOPE" not in greeting
        body = json.dumps({"model": "Qwen/Qwen3-Embedding-0.6B", "input": "a"}).encode()
        assert send(f"{url}/embeddings", data=body).status == 200


def test_a_host_that_is_not_loopback_gets_a_warning():
    with running("--host", "0.0.0.0") as (process, greeting):  # noqa: S104 - what is warned about
        assert "127.0.0.1" in url_in(greeting)
        process.terminate()
        assert "not a loopback address" in process.communicate(timeout=10)[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--requests-per-minute", "0"], "A quota must be above 0"),
        (["--host", "203.0.113.1"], "assign requested address"),
    ],
)
def test_invalid_options_are_reported_in_one_line(options, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--port", "0", *options])
    assert message in capsys.readouterr().err
