"""The examples with the user's own chat model in place of the stub."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

from tests.support.chat_server import chat_server
from tests.support.example_output import output_of, run_with_key

KEY = "sk-chat"
in_langchain = pytest.mark.skipif(not find_spec("langchain_openai"), reason="runs in .venv")
in_llamaindex = pytest.mark.skipif(
    not find_spec("llama_index.llms"), reason="runs in .venv-llamaindex-stores"
)


def reply(body):
    """Call a tool if there is one, the last for a question; then pass on its answer."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return {"content": f"It says: {last['content']}"}
    if "tools" not in body:
        return {"content": "Read. [a-1]"}
    tool = body["tools"][-1 if last["content"].endswith(("?", "？")) else 0]["function"]
    [argument] = tool["parameters"]["properties"]
    call = {"name": tool["name"], "arguments": json.dumps({argument: last["content"]})}
    return {"tool_calls": [{"id": "1", "type": "function", "function": call}]}


def run(example):
    """Run an example with a chat model; return what it prints, its queries and the model."""
    with chat_server(reply) as model:
        names = {"CHAT_MODEL": "qwen-plus", "OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": KEY}
        run = run_with_key(example, environment=names)
    assert {body["model"] for body in model.bodies} == {"qwen-plus"}
    assert set(model.keys) == {KEY}
    assert "CHAT_MODEL is set: qwen-plus answers." in run.output
    return run, model.bodies


@pytest.mark.parametrize(
    "example",
    [
        pytest.param("rag_langchain", marks=in_langchain),
        pytest.param("rag_llamaindex", marks=in_llamaindex),
    ],
)
def test_the_model_reads_passages_with_their_names_and_is_asked_once_a_question(example):
    run_, bodies = run(example)

    prompts = [body["messages"][-1]["content"] for body in bodies]
    assert len(prompts) == 4
    for question in run_.texts("query"):
        [prompt] = [prompt for prompt in prompts if prompt.endswith(f"Question: {question}")]
        assert prompt.count("\n\n[alice-") + prompt.count("\n\n[nahan-") == 3
    assert run_.output.count("Read. [a-1]") == 4
    assert len(run_.requests) == 46


@in_langchain
def test_an_agents_model_saves_and_recalls_by_tools():
    run_, _ = run("agent_memory")

    assert run_.output.count("It says: Saved.") == 6
    assert "It says: [e4dd9f27] 我对花生过敏。" in run_.output
    assert len(run_.texts("document")) == len(run_.texts("query")) == 3


@in_llamaindex
def test_an_agents_model_asks_a_book_by_a_tool():
    run_, bodies = run("agent_llamaindex")

    assert run_.output.count("asked nahan, found ['nahan-") == 2  # the last tool, for both
    assert run_.output.count("It says: Read. [a-1]") == 2
    assert len(run_.texts("query")) == 2
    assert len(bodies) == 2 * 3  # which tool; what its engine says; the answer


@in_langchain
def test_a_key_alone_has_no_model_asked(monkeypatch):
    with chat_server(reply) as model:
        monkeypatch.delenv("CHAT_MODEL", raising=False)
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)

        output = output_of("agent_memory")

    assert "No CHAT_MODEL: a stub answers" in output
    assert model.bodies == []
