"""Choose a dimension: what a shorter vector saves, and what it no longer finds, on your own corpus.

Run `python examples/choose_dimension.py`. It calls the real service if DASHSCOPE_API_KEY is set;
otherwise it runs the bundled emulator, which only matches words.
"""

import re
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from support.corpus import read_passages
from support.plotting import BLUE, ORANGE, legend, picture, save
from support.ranking import ranks
from support.service import origin, service_options

from qwen_embed import QwenEmbedder
from qwen_embed.models import MODELS

MODEL = "text-embedding-v4"
DIMENSIONS = sorted(MODELS[MODEL].dimensions, reverse=True)
HEADING = "dimension  recall@10  same ten    a million  list price of the tokens"
NOTE = """The emulator makes one vector of 1,024 numbers and projects it to the other dimensions.
So this shows how to measure, and says nothing about Qwen's models."""
SENTENCE = re.compile(r"[^.!?。！？]+[.!?。！？]+['”’」]*")


def main(folder: Path = Path("demo_output")) -> None:
    """Embed two books in each dimension, and search for passages by a sentence taken from them."""
    passages, questions, answers = read_passages()[0], [], []
    # Questions for any corpus, without labels (the inverse cloze task): take a sentence out of its
    # passage, then search for the rest of the passage with that sentence.
    for place, passage in enumerate(passages):
        sentences = [found.strip() for found in SENTENCE.findall(passage)]
        if len(sentences) > 2:
            questions.append(max(sentences, key=len))
            answers.append(place)
            passages[place] = passage.replace(questions[-1], " ")

    measured, full = [], None
    with ExitStack() as stack:
        service = service_options(stack)
        print(f"{len(questions)} questions to {len(passages)} passages\n\n{HEADING}")
        for dimension in DIMENSIONS:
            options = {"model": MODEL, "dimension": dimension, "normalize": True, **service}
            embedder = stack.enter_context(QwenEmbedder(**options))
            documents = embedder.embed_documents(passages).dense
            scores = embedder.embed_queries(questions).dense @ documents.T
            ten = scores.argsort(axis=1)[:, -10:]
            full = ten if full is None else full  # at the first dimension, the longest
            kept = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ten, full, strict=True)])
            recall = (ranks(scores, answers) <= 10).mean()
            size = documents[0].nbytes / 1000  # GB of a million vectors, as float32
            measured.append((size, recall, kept))
            used = embedder.usage
            cost = f"{used.cost:.4f} {used.price.currency}" if used.price else "unknown"
            print(f"{dimension:9} {recall:10.3f} {kept:9.3f} {size:9.3f} GB  {cost}")
    if service:
        print(f"\n{NOTE}")

    note = f"Passages of two books, searched by one of their sentences. {origin(service)}"
    figure, axes = picture(
        "What a shorter vector saves, and what it no longer finds", note, height=5
    )
    sizes, recalls, shares = zip(*measured, strict=True)
    axes.plot(sizes, shares, "s--", color=ORANGE, ms=8, lw=2, label="share of the longest's ten")
    axes.plot(sizes, recalls, "o-", color=BLUE, ms=8, lw=2, label="recall@10")
    axes.set(xscale="log", ylim=(0, 1.05))
    axes.minorticks_off()
    axes.set_xticks(sizes, [f"{n}\n{size:.2g}" for n, size in zip(DIMENSIONS, sizes, strict=True)])
    axes.set_xlabel("dimension, and GB for a million vectors", fontsize=12)
    legend(axes)
    save(figure, folder, "choose_dimension")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main(*map(Path, sys.argv[1:]))
