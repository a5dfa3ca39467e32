"""The thread for disk I/O: its order, its errors, and if no thread can be started."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from qwen_embed.process.disk_thread import DiskThread


@pytest.fixture
def thread():
    thread = DiskThread()
    yield thread
    thread.end()


@pytest.fixture
def no_thread_starts(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_work_runs_in_order_in_one_other_thread(thread):
    ran = []

    futures = [
        thread.submit(lambda n: ran.append((n, threading.get_ident())), n) for n in range(50)
    ]
    for future in futures:
        future.result(30)

    assert [n for n, _ in ran] == list(range(50))
    assert len({ident for _, ident in ran}) == 1
    assert ran[0][1] != threading.get_ident()


def test_an_error_is_raised_where_the_result_is_awaited(thread):
    failed = thread.submit(int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        failed.result(30)
    assert thread.submit(int, "7").result(30) == 7


def test_cancelled_work_does_not_run(thread):
    may_go_on = threading.Event()
    ran = []
    thread.submit(may_go_on.wait, 30)
    waiting = thread.submit(ran.append, "cancelled")

    waiting.cancel()
    may_go_on.set()
    thread.submit(ran.append, "last").result(30)

    assert ran == ["last"]


def test_the_thread_ends_after_what_was_submitted(thread):
    ran = []
    own = thread.submit(threading.current_thread).result(30)
    thread.submit(ran.append, "last")

    thread.end()
    own.join(30)

    assert ran == ["last"]
    assert not own.is_alive()


def test_work_runs_at_once_if_no_thread_can_be_started(no_thread_starts):
    thread = DiskThread()

    done = thread.submit(threading.current_thread)
    failed = thread.submit(int, "x")

    assert done.result(0) is threading.current_thread()
    with pytest.raises(ValueError, match="invalid literal"):
        failed.result(0)


def test_work_runs_in_the_thread_after_the_main_thread_has_ended():
    program = """
import threading
from qwen_embed.process.disk_thread import DiskThread
thread = DiskThread()
def outlive():
    threading.main_thread().join()
    print(thread.submit(threading.current_thread).result(30).name, flush=True)
threading.Thread(target=outlive).start()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )

    if sys.version_info < (3, 12):  # older versions still start threads then
        assert done.stdout == "qwen-embed-cache\n"
    assert (done.stderr, done.returncode) == ("", 0)
