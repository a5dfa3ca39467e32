"""An agent that remembers its users from one conversation to the next: LangGraph's memory store.

Run `python examples/agent_memory.py`. It calls the real service if DASHSCOPE_API_KEY is set;
otherwise it runs the bundled emulator, which only matches words. If CHAT_MODEL, OPENAI_BASE_URL and
OPENAI_API_KEY are set, that chat model answers; otherwise a stub recalls for questions and saves
the rest.
"""

import hashlib
import sys
from contextlib import ExitStack

from langchain.agents import create_agent
from langchain.tools import ToolRuntime, tool
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.store.memory import InMemoryStore
from support.chat_langchain import chat_model
from support.quoting import quote
from support.service import service_options

from langchain_qwen_embed import QwenEmbeddings

SYSTEM = "Save what users tell about themselves. Recall it before you answer what they ask."
TALK = [("ada", "I drink green tea."), ("ada", "我对花生过敏。"), ("bob", "I drink coffee.")]
QUESTIONS = [("ada", "What do I drink?"), ("ada", "我对什么过敏？"), ("bob", "What is my drink?")]


@tool
def save_memory(text: str, runtime: ToolRuntime[str]) -> str:
    """Save something to remember about the user, in the user's words."""
    # The key is a hash of the text, so no text is saved, and embedded, twice.
    key = hashlib.sha256(text.encode()).hexdigest()[:8]
    if runtime.store.get((runtime.context,), key) is None:
        runtime.store.put((runtime.context,), key, {"text": text})
    return "Saved."


@tool
def recall_memories(query: str, runtime: ToolRuntime[str]) -> str:
    """Find what is known about the user that answers a question."""
    found = runtime.store.search((runtime.context,), query=query, limit=3)
    return "\n".join(f"[{item.key}] {item.value['text']}" for item in found)


def main() -> None:
    """Tell an agent about two users, twice, then ask it questions in new conversations."""
    with ExitStack() as stack:
        options = {"dimension": 1024, **service_options(stack)}
        embeddings = stack.enter_context(QwenEmbeddings(**options))
        # Pass the object as "embed": a function cannot distinguish queries from documents. Without
        # "fields", the JSON of the whole value is embedded. PostgresStore and SqliteStore send
        # queries as documents: to search them, open a second store on the same database whose
        # "embed" is `lambda queries: [embeddings.embed_query(query) for query in queries]`.
        index = {"embed": embeddings, "dims": embeddings.dimension, "fields": ["text"]}
        store, tools = InMemoryStore(index=index), [save_memory, recall_memories]
        agent = create_agent(
            chat_model(stub_reply), tools, system_prompt=SYSTEM, store=store, context_schema=str
        )

        for user, text in [*TALK, *TALK, *QUESTIONS]:
            result = agent.invoke({"messages": [("user", text)]}, context=user)
            print(f"{user}: {text}\n    {result['messages'][-1].content}")
        print(f"\nUsed: {embeddings.usage}")


def stub_reply(messages: list[BaseMessage]) -> AIMessage:
    """For a question recall memories and quote the best match; save anything else."""
    last = messages[-1]
    if not isinstance(last, ToolMessage):
        asks = last.text.endswith(("?", "？"))
        name, argument = ("recall_memories", "query") if asks else ("save_memory", "text")
        call = {"name": name, "args": {argument: last.text}, "id": "call"}
        return AIMessage("", tool_calls=[call])
    saved = last.name == "save_memory"
    return AIMessage(last.text if saved else quote(f"{last.text}\nQuestion: {messages[1].text}"))


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main()
