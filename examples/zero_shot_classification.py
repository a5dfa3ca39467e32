"""Classify customers' messages in two languages by topics that are only described: no training.

Run `python examples/zero_shot_classification.py`. It calls the real service if DASHSCOPE_API_KEY is
set; otherwise it runs the bundled emulator, with a small model of meaning (extra `local`).
"""

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from sklearn.metrics import confusion_matrix
from support.corpus import read
from support.plotting import picture, save
from support.service import origin, service_options

from qwen_embed import QwenEmbedder

# The best of three wordings on these very messages: expect less on your own messages.
TOPICS = {
    "delivery": "delivery of a parcel",
    "return": "return of goods and refund",
    "payment": "payment, card or bill",
    "account": "login, password or user account",
    "fault": "a product that is broken",
    "praise": "praise and thanks",
}
INSTRUCT = "Given a message to a shop, retrieve the topic it is about"


def main(folder: Path = Path("demo_output")) -> None:
    """Give each message the topic with the nearest description, with and without `instruct`."""
    messages = read("messages")
    texts = [message["text"] for message in messages]
    topics = list(TOPICS)
    truth = np.array([topics.index(message["topic"]) for message in messages])
    languages = np.array([message["language"] for message in messages])
    said = {}
    with ExitStack() as stack:
        service = service_options(stack, "e5")
        for instruct in (None, INSTRUCT):
            options = {"dimension": 512, "normalize": True, "instruct": instruct, **service}
            embedder = stack.enter_context(QwenEmbedder(**options))
            # The messages are sent as queries, because only queries can have an instruction.
            descriptions = embedder.embed_documents(TOPICS.values()).dense
            similarity = embedder.embed_queries(texts).dense @ descriptions.T
            said[instruct] = similarity.argmax(axis=1)
            print(f"Used: {embedder.usage}")

    print(f"\n{len(texts)} messages, {len(topics)} topics: how many are classified correctly")
    for instruct, topic in said.items():
        right = topic == truth
        counts = ", ".join(
            f"{language} {right[languages == language].sum()} of {(languages == language).sum()}"
            for language in np.unique(languages)
        )
        print(f" {instruct or 'no instruction'}: {right.mean():.0%} ({counts})")
    print("\nMisclassified, with the instruction")
    for message, topic, true in zip(messages, said[INSTRUCT], truth, strict=True):
        if topic != true:
            print(f" {topics[topic]} for {topics[true]}: {message['text']}")

    counts = confusion_matrix(truth, said[INSTRUCT])
    note = f"Counts of messages, with the instruction. {origin(service)}"
    figure, axes = picture(
        f"{counts.trace()} of {len(texts)} messages are classified correctly", note, 5.2
    )
    axes.imshow(counts, cmap="cividis", aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        colour = "black" if count > counts.max() / 2 else "white"
        axes.text(column, row, count, ha="center", va="center", fontsize=13, color=colour)
    axes.set_xticks(range(len(topics)), topics)
    axes.set_yticks(range(len(topics)), topics)
    axes.set_xlabel("topic given", fontsize=12)
    axes.set_ylabel("true topic", fontsize=12)
    save(figure, folder, "zero_shot_classification")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main(*map(Path, sys.argv[1:]))
