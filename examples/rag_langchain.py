"""Answer questions from two books, in English and in Chinese, and name the passages: LangChain.

Run `python examples/rag_langchain.py`. It calls the real service if DASHSCOPE_API_KEY is set;
otherwise it runs the bundled emulator, which only matches words. If CHAT_MODEL, OPENAI_BASE_URL and
OPENAI_API_KEY are set, that chat model answers; otherwise a stub quotes the best matching sentence.
"""

import sys
import textwrap
from contextlib import ExitStack

from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableParallel, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from support.chat_langchain import chat_model
from support.corpus import QUESTIONS, read_passages
from support.quoting import quote
from support.service import service_options

from langchain_qwen_embed import QwenEmbeddings

PROMPT = ChatPromptTemplate.from_template(
    "Answer the question with one sentence, in its language, from these passages alone. "
    "End it with the name of the passage in its brackets.\n\n{passages}\n\nQuestion: {question}"
)
INSTRUCT = "Given a question, retrieve passages that answer it"


def main() -> None:
    """Embed two books, answer four questions, print each answer and its sources."""
    with ExitStack() as stack:
        options = {"instruct": INSTRUCT, **service_options(stack)}
        embeddings = stack.enter_context(QwenEmbeddings(**options))
        model = chat_model(lambda messages: AIMessage(quote(str(messages[-1].content))))

        texts, passages = read_passages()
        store = InMemoryVectorStore.from_texts(texts, embeddings, passages)
        used = embeddings.usage
        print(f"{used.texts} passages in {used.requests} requests.")

        # One retrieval serves the answer and the list of its sources. A chain that uses the
        # retriever twice sends, and pays for, each question twice.
        retriever = store.as_retriever(search_kwargs={"k": 3})
        answer = (
            RunnablePassthrough.assign(passages=lambda asked: cite(asked["sources"]))
            | PROMPT
            | model
            | StrOutputParser()
        )
        chain = RunnableParallel(sources=retriever, question=RunnablePassthrough())
        # `batch` runs all questions concurrently.
        asked = [question.text for question in QUESTIONS if not question.language]
        for result in chain.assign(answer=answer).batch(asked):
            print(f"\n{result['question']}")
            print(textwrap.indent(textwrap.fill(result["answer"], 96), "    "))
            for source in result["sources"]:
                about = source.metadata
                print(f"    - {about['id']}: {about['work']}, {about['chapter']}")

        print(f"\nUsed, questions included: {embeddings.usage}")


def cite(sources: list[Document]) -> str:
    """Return the passages, each after its name in brackets."""
    return "\n\n".join(f"[{source.metadata['id']}] {source.page_content}" for source in sources)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main()
