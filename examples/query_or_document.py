"""What `text_type` and `instruct` change: a question finds its answer, or similar questions.

Run `python examples/query_or_document.py`. It calls the real service if DASHSCOPE_API_KEY is set;
otherwise it runs the bundled emulator, with a small model of meaning (extra `local`).
"""

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from support.corpus import read
from support.plotting import BLUE, GREEN, RED, legend, picture, save
from support.ranking import ranks
from support.service import origin, service_options

from qwen_embed import QwenEmbedder

INSTRUCT = "Given a question, retrieve the help page that answers it"
NOTE = """The emulator's model e5 was trained with both roles but no instructions: `instruct` only
adds words to its queries. Only the real service shows what Qwen's models gain by it."""
COLOURS, SHIFTS, TICKS = (RED, BLUE, GREEN), (-0.22, 0, 0.22), (1, 2, 3, 5, 10, 20)


def main(folder: Path = Path("demo_output")) -> None:
    """Search help pages mixed with customers' messages, with the questions sent in three ways."""
    texts, questions = read("help") + read("messages")[::2], read("help_questions")
    asked = [question["text"] for question in questions]
    with ExitStack() as stack:
        service = service_options(stack, "e5")
        options = {"dimension": 512, "normalize": True, **service}
        plain = stack.enter_context(QwenEmbedder(**options))
        instructed = stack.enter_context(QwenEmbedder(instruct=INSTRUCT, **options))
        # The texts are always documents: `instruct` changes only queries.
        documents = plain.embed_documents([text["text"] for text in texts]).dense
        vectors = {
            "as a document": plain.embed_documents(asked).dense,
            "as a query": plain.embed_queries(asked).dense,
            "as a query with instruct": instructed.embed_queries(asked).dense,
        }
    answers = [[text.get("id") for text in texts].index(each["answer"]) for each in questions]
    languages = np.array([text["language"] for text in texts])
    is_page = np.array(["id" in text for text in texts])
    # Each question searches the language of its answer, as in semantic_search.py.
    elsewhere = languages != languages[answers][:, None]

    print(f"\n{len(asked)} questions to {is_page.sum()} help pages and {(~is_page).sum()} messages")
    print("                         right first  mean reciprocal rank  MRR among pages only ")
    found = {}
    for way, rows in vectors.items():
        scores = np.where(elsewhere, -1, rows @ documents.T)
        found[way] = ranks(scores, answers)
        first, mean = (found[way] == 1).sum(), (1 / found[way]).mean()
        alone = (1 / ranks(np.where(is_page, scores, -1), answers)).mean()
        print(f" {way:24} {first:11} {mean:21.2f} {alone:22.2f}")
    print(
        f"One question can change the mean by {1 / len(asked):.2f}: small differences mean little."
    )
    if service:
        print(NOTE)

    note = f"Help pages among customers' messages. {origin(service)}"
    figure, axes = picture("At which place the right help page comes", note, height=6)
    rows = np.arange(len(asked))
    for way, colour, marker, shift in zip(found, COLOURS, "so^", SHIFTS, strict=True):
        axes.plot(found[way], rows + shift, marker, color=colour, ms=7, label=way)
    axes.set(xscale="log", xticks=TICKS, xticklabels=TICKS, xlabel="place (1 is best)")
    axes.minorticks_off()
    axes.set_yticks(rows, [f"{each['gist']} ({each['language']})" for each in questions])
    axes.grid(axis="y", color="#E5E5E5")
    axes.invert_yaxis()
    legend(axes)
    save(figure, folder, "query_or_document")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main(*map(Path, sys.argv[1:]))
