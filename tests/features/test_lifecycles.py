"""Event loops, threads, processes and exits: one object serves them all, and cleans up."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from qwen_embed import ClosedError, QwenEmbedder
from qwen_embed.emulator import Emulator
from qwen_embed.runtime import event_loop
from tests.support.held_engine import HeldEngine
from tests.support.interfaces import API_KEY, INTERFACES

TEXTS = [f"text {n}" for n in range(23)]

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def test_two_event_loops_one_after_the_other(interface, service):
    embeddings = interface(service)
    first = interface.documents(embeddings, TEXTS)

    assert interface.documents(embeddings, TEXTS) == first
    assert interface.query(embeddings, "a") == interface.query(embeddings, "a")


@pytest.mark.parametrize(
    "interface",
    [interface for interface in INTERFACES if "async" not in interface.name],
    ids=lambda interface: interface.name,
)
def test_a_blocking_call_works_inside_a_running_loop(interface, service):
    embeddings = interface(service)

    async def notebook_cell():
        return interface.documents(embeddings, TEXTS)

    assert len(asyncio.run(notebook_cell())) == 23


async def test_an_async_call_leaves_the_callers_loop_free(service):
    service.latency = 0.3
    embedder = QwenEmbedder(api_key=API_KEY, base_url=service.native_url)
    await embedder.aembed_query("warm")
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.ensure_future(tick())
    await embedder.aembed_documents(TEXTS)
    ticking.cancel()

    assert ticks >= 3  # of 30 on an idle machine


def test_many_threads_share_one_object(interface, service):
    embeddings = interface(service)
    expected = {text: interface.query(embeddings, text) for text in TEXTS}

    with ThreadPoolExecutor(16) as threads:
        rows = list(threads.map(lambda text: interface.query(embeddings, text), TEXTS * 4))

    assert rows == [expected[text] for text in TEXTS * 4]


def test_threads_that_call_first_share_one_session(service):
    embedder = QwenEmbedder(api_key=API_KEY, base_url=service.native_url)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(embedder.embed_query, TEXTS))

    assert embedder.usage.requests == 23


async def test_cancelling_the_await_stops_the_requests(service):
    service.latency = 10.0
    embedder = QwenEmbedder(api_key=API_KEY, base_url=service.native_url)
    waiting = asyncio.ensure_future(embedder.aembed_documents([f"t {n}" for n in range(500)]))
    while len(service.requests) < 4:
        await asyncio.sleep(0.01)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    await asyncio.sleep(0.1)
    assert len(service.requests) == 4
    service.latency = 0.0
    assert (await embedder.aembed_query("still works")).dense.shape == (1, 1024)


async def test_calls_run_in_the_callers_context():
    tracing = contextvars.ContextVar("tracing", default="none")
    tracing.set("parent")

    async def seen():
        return tracing.get()

    assert await event_loop.current().arun(seen()) == "parent"
    assert await asyncio.to_thread(lambda: event_loop.current().run(seen())) == "parent"


def test_a_blocking_call_on_the_background_loop_is_an_error_rather_than_a_deadlock():
    async def nothing():
        pass

    async def blocking():
        event_loop.current().run(nothing())

    with pytest.raises(RuntimeError, match="never end"):
        event_loop.current().run(blocking())


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_works_after_the_original_was_used_and_closed(interface, service, copied):
    embeddings = interface(service, dimension=64)
    row = interface.query(embeddings, "a")
    other = copied(embeddings)
    embeddings.close()

    assert interface.query(other, "a") == row
    assert other.usage.requests == 1


def test_use_after_close_is_a_clear_error(interface, service):
    with interface(service) as embeddings:
        interface.query(embeddings, "a")

    with pytest.raises(ClosedError, match="was closed"):
        interface.query(embeddings, "a")
    assert embeddings.usage.requests == 1


async def test_an_async_context_manager_closes(service):
    async with QwenEmbedder(api_key=API_KEY, base_url=service.native_url) as embedder:
        await embedder.aembed_query("a")

    with pytest.raises(ClosedError):
        await embedder.aembed_query("a")


def test_an_object_that_is_garbage_collected_closes_its_connections(service):
    embedder = QwenEmbedder(api_key=API_KEY, base_url=service.native_url)
    embedder.embed_query("a")
    gc.collect()
    before = len(event_loop.current().open)

    del embedder

    assert len(event_loop.current().open) == before - 1


def test_making_an_object_starts_no_thread():
    program = (
        "import threading\n"
        "from qwen_embed import QwenEmbedder\n"
        "QwenEmbedder(api_key='sk-1').close()\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def run_program(program, service, in_flight=lambda process: None, *, dev_mode=True):
    """Run a program that calls a service, and call a function once it has a request in flight.

    Returns:
        What it wrote to standard output and to standard error, and its exit code.
    """
    command = [sys.executable, *(["-X", "dev"] if dev_mode else [])]
    command += ["-c", PREAMBLE + program, service.native_url]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while not service.requests and process.poll() is None:
            time.sleep(0.01)
        in_flight(process)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    # On a busy machine asyncio's debug mode reports slow callbacks, which are no errors.
    lines = errors.splitlines(keepends=True)
    complaints = "".join(line for line in lines if not line.startswith("Executing "))
    return output, complaints, process.returncode


PREAMBLE = f"""
import asyncio, os, sys, threading
from qwen_embed import QwenEmbedder
embedder = QwenEmbedder(api_key={API_KEY!r}, base_url=sys.argv[1], dimension=64)
"""


def test_a_program_that_closes_nothing_ends_without_a_warning(service):
    done = run_program("embedder.embed_query('a'); print('done')", service)

    assert done == ("done\n", "", 0)


def test_a_program_ends_at_once_with_work_in_flight(service):
    service.latency = 90.0
    started = time.monotonic()

    output, _, code = run_program(
        "threading.Thread(target=embedder.embed_query, args=['a'], daemon=True).start()\n"
        "input(); print('done')",
        service,
        in_flight=lambda process: process.stdin.write("end\n"),
    )

    assert (output, code) == ("done\n", 0)
    assert time.monotonic() - started < 60


@forks
def test_a_forked_child_makes_a_loop_and_connections_of_its_own(service):
    done = run_program(
        """
row = embedder.embed_query('a').dense.tolist()
import warnings; warnings.simplefilter('ignore', DeprecationWarning)  # threads and fork, 3.12
child = os.fork()
if child == 0:
    same = embedder.embed_query('a').dense.tolist() == row
    print('child', same, flush=True)
    sys.exit(0)
_, status = os.waitpid(child, 0)
print('parent', embedder.embed_query('a').dense.tolist() == row, status)
""",
        service,
    )

    assert done == ("child True\nparent True 0\n", "", 0)


@forks
@pytest.mark.parametrize(
    "ending",
    [
        "embedder.close()",
        "asyncio.run(embedder.aclose())",
        "embedder.__exit__(None, None, None)",
        "with embedder: sys.exit(0)",
        "embedder.embed_query('a'); embedder.close()",
    ],
)
@pytest.mark.parametrize("cache", ["None", "tempfile.mkdtemp()"], ids=["no cache", "cache"])
def test_a_forked_child_closes_what_its_parent_opened(service, ending, cache):
    done = run_program(
        f"""
import tempfile, time, warnings
warnings.simplefilter('ignore', DeprecationWarning)  # threads and fork, 3.12
embedder = QwenEmbedder(api_key={API_KEY!r}, base_url=sys.argv[1], cache={cache})
embedder.embed_query('a')
child = os.fork()
if child == 0:
    if {cache != "None"}:
        embedder.embed_query('a')  # which the cache has
    {ending}
    sys.exit(0)
for _ in range(2000):
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        break
    time.sleep(0.01)
else:
    os.kill(child, 9)
    status = 'it hangs'
print(status, embedder.embed_query('b').dense.shape)
embedder.close()
""",
        service,
        dev_mode=False,  # it would warn of connections that an exiting child leaves open
    )

    assert done == ("0 (1, 1024)\n", "", 0)


@forks
@pytest.mark.parametrize(
    "holder",
    [
        "threading.Thread(target=lambda: [embedder.limits for _ in range(5000)])",
        "threading.Thread(target=lambda: [QwenEmbedder(**options).limits for _ in range(500)])",
        "threading.Thread(target=dense.embed_documents, args=[[f't {n}' for n in range(300)]])",
    ],
    ids=["an object in use", "objects that open", "a pair"],
)
def test_a_fork_while_another_thread_works_leaves_a_child_that_works(service, holder):
    done = run_program(
        f"""
import random, time, warnings
from langchain_qwen_embed import QwenEmbeddings
warnings.simplefilter('ignore', DeprecationWarning)  # threads and fork, 3.12
options = {{'api_key': {API_KEY!r}, 'base_url': sys.argv[1], 'dimension': 64}}
dense = QwenEmbeddings(**options)
sparse = dense.sparse()
dense.embed_query('a')
statuses = set()
for _ in range(6):
    thread = {holder}
    thread.start()
    time.sleep(random.random() / 100)
    child = os.fork()
    if child == 0:
        embedder.embed_query('a'), dense.embed_query('a'), sparse.embed_query('a')
        os._exit(0)
    for _ in range(2000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.01)
    else:
        os.kill(child, 9)
        status = 'it hangs'
    statuses.add(status)
    thread.join()
print(statuses)
""",
        service,
    )

    assert done[0] == "{0}\n", done


@forks
def test_a_fork_while_another_thread_loads_the_package_leaves_a_child_that_works(service):
    done = run_program(
        """
import time, warnings
warnings.simplefilter('ignore', DeprecationWarning)  # threads and fork, 3.12
thread = threading.Thread(target=embedder.embed_query, args=['a'])
thread.start()
while 'qwen_embed.runtime.session' not in sys.modules:
    pass
child = os.fork()
if child == 0:
    embedder.embed_query('a')
    os._exit(0)
for _ in range(2000):
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        break
    time.sleep(0.01)
else:
    os.kill(child, 9)
    status = 'it hangs'
print(status)
thread.join()
""",
        service,
    )

    assert done[0] == "0\n", done


def test_a_thread_that_outlives_the_main_thread_goes_on_embedding(service):
    host = service.native_url.replace("127.0.0.1", "localhost")
    done = run_program(
        f"""
options = {{'api_key': {API_KEY!r}, 'base_url': {host!r}, 'long_text': 'truncate'}}
embedder = QwenEmbedder(**options)
embedder.embed_query('before')
def work():
    threading.main_thread().join()
    for each in (embedder, QwenEmbedder(**options)):  # the second resolves the host
        print(each.embed_documents(['after', 'word ' * 9000]).dense.shape)
        each.close()
threading.Thread(target=work).start()
""",
        service,
    )

    assert done == ("(2, 1024)\n" * 2, "", 0)


def test_a_first_call_after_the_main_thread_ends_works_or_raises_a_clear_error(service):
    done = run_program(
        """
from qwen_embed import QwenEmbedError
def work():
    threading.main_thread().join()
    try:
        print(embedder.embed_query('after').dense.shape)
    except QwenEmbedError as error:
        print('(1, 64)' if 'interpreter is exiting' in str(error) else error)
threading.Thread(target=work).start()
""",
        service,
    )

    assert done == ("(1, 64)\n", "", 0)


def test_a_call_in_an_exit_handler_works_or_raises_a_clear_error(service):
    done = run_program(
        """
import atexit
from qwen_embed import ClosedError
def late(name):
    try:
        print(name, embedder.embed_query('late').dense.shape)
    except ClosedError as error:
        print(name, 'interpreter is exiting' in str(error))
        embedder.close()
atexit.register(late, 'first')
embedder.embed_query('a')
atexit.register(late, 'last')
""",
        service,
    )

    assert done == ("last (1, 64)\nfirst True\n", "", 0)


def test_an_interrupt_stops_a_blocking_call_at_once(service):
    service.latency = 90.0
    started = time.monotonic()

    done = run_program(
        "try:\n"
        "    embedder.embed_documents([f't {n}' for n in range(100)])\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n",
        service,
        in_flight=lambda process: process.send_signal(signal.SIGINT),
    )

    assert done == ("interrupted\n", "", 0)
    assert time.monotonic() - started < 60


def test_many_objects_share_one_background_thread(service):
    before = set(threading.enumerate()) | {event_loop.current()._thread}
    for n in range(5):
        with QwenEmbedder(api_key=API_KEY, base_url=service.native_url, dimension=64) as embedder:
            embedder.embed_documents([f"{n}", "b"])

    left = {thread for thread in set(threading.enumerate()) - before if not thread.daemon}
    assert {thread.name for thread in left if "asyncio" not in thread.name} == set()


def held_service():
    engine = HeldEngine()
    service = Emulator(engine=engine, api_key=API_KEY)
    service.set_model("text-embedding-v4", dimensions={8}, default_dimension=8)
    return engine, service


@pytest.mark.parametrize("count", [1, 100])
def test_closing_ends_calls_of_other_threads_with_the_vectors_that_arrived(interface, count):
    engine, service = held_service()
    with service, ThreadPoolExecutor(1) as thread:
        embeddings = interface(service, max_concurrency=2)
        engine.let_go()
        interface.query(embeddings, "opened")
        engine.hold()
        call = thread.submit(interface.documents, embeddings, [f"text {n}" for n in range(count)])
        while len(service.requests) < 2:
            time.sleep(0.01)

        embeddings.close()

        error = call.exception(timeout=30)
        assert isinstance(error, ClosedError)
        if count > 1:
            rows = getattr(error.result, "dense", error.result)
            assert len(rows) == count
        else:
            assert error.result is None
        engine.let_go()


def test_closing_while_the_first_call_begins_leaves_no_connection_open(service):
    for attempt in range(60):
        embedder = QwenEmbedder(api_key=API_KEY, base_url=service.native_url, dimension=64)
        with ThreadPoolExecutor(1) as thread:
            call = thread.submit(embedder.embed_query, "a")
            time.sleep(attempt / 20_000)
            embedder.close()
            assert isinstance(call.exception(timeout=30), (ClosedError, type(None)))
        session = embedder._lazy_session.opened
        here = session and session._last
        pipeline = here and here.dispatcher
        http = pipeline and pipeline.transport._session
        assert http is None or http.closed


def test_calls_and_closes_of_many_threads_end_with_a_vector_or_a_clear_error(service):
    service.latency = 0.002
    for _ in range(10):
        embedder = QwenEmbedder(api_key=API_KEY, base_url=service.native_url, dimension=64)
        with ThreadPoolExecutor(8) as threads:
            calls = [threads.submit(embedder.embed_documents, TEXTS) for _ in range(6)]
            time.sleep(0.003)
            closing = threads.submit(embedder.close)
            calls += [threads.submit(embedder.embed_query, "late") for _ in range(3)]
            errors = [call.exception(timeout=30) for call in calls]
        assert closing.exception() is None
        assert {type(error) for error in errors} <= {ClosedError, type(None)}
