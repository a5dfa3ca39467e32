"""Search a shop's help pages by meaning, with questions in other words or in another language.

Run `python examples/semantic_search.py`. It calls the real service if DASHSCOPE_API_KEY is set;
otherwise it runs the bundled emulator, with a small model of meaning (extra `local`).
"""

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from support.corpus import COLUMNS, read, shorten
from support.plotting import picture, save
from support.ranking import ranks
from support.service import origin, service_options

from qwen_embed import QwenEmbedder


def main(folder: Path = Path("demo_output")) -> None:
    """Embed the pages, search with the questions, print the results, and draw all similarities."""
    pages, questions = read("help"), read("help_questions")
    with ExitStack() as stack:
        service = service_options(stack, "e5")
        # Vectors of unit length, so that a dot product is a cosine.
        embedder = stack.enter_context(QwenEmbedder(dimension=512, normalize=True, **service))
        documents = embedder.embed_documents([page["text"] for page in pages]).dense
        queries = embedder.embed_queries([question["text"] for question in questions]).dense
        print(f"Used: {embedder.usage}")
    similarity = queries @ documents.T  # shape (questions, pages)

    answers = [[page["id"] for page in pages].index(each["answer"]) for each in questions]
    of_pages = np.array([page["language"] for page in pages])
    of_answers = of_pages[answers]
    # A model may rate texts of one language as more similar than they are. So search only the pages
    # in the language of the answer.
    filtered = np.where(of_pages == of_answers[:, None], similarity, -1)

    print("\nThe page found among those in the language of the answer (* is the right one)")
    for question, row, answer in zip(questions, filtered, answers, strict=True):
        best = int(row.argmax())
        print(f"\n {question['text']}\n {'*' if best == answer else ' '}{row[best]:.3f}", end="  ")
        print(shorten(f"{pages[best]['title']}: {pages[best]['text']}", COLUMNS - 9))

    print("\nHow often the right page ranks first")
    across = np.array([question["language"] for question in questions]) != of_answers
    for name, asked in {
        "in the question's language": ~across,
        "in the other language": across,
    }.items():
        for searched, scores in {"all pages": similarity, "its language": filtered}.items():
            found = ranks(scores, answers)[asked]
            count = f"{(found == 1).sum()} of {len(found)}"
            print(f" answer {name:26} {searched:12}  {count}, worst rank {found.max()}")

    note = f"A ring marks the page with the answer. {origin(service)}"
    figure, axes = picture("How similar each help page is to each question", note, height=6.4)
    image = axes.imshow(similarity, cmap="cividis", aspect="auto")
    figure.colorbar(image, label="cosine", fraction=0.03, ticks=np.arange(0, 1, 0.05))
    for colour, width in {"black": 4, "white": 2}.items():
        axes.plot(answers, range(len(answers)), "o", ms=10, mfc="none", mec=colour, mew=width)
    names = [f"{page['title']} ({page['language']})" for page in pages]
    axes.set_xticks(range(len(pages)), names, rotation=50, ha="right", rotation_mode="anchor")
    names = [f"{question['gist']} ({question['language']})" for question in questions]
    axes.set_yticks(range(len(questions)), names)
    save(figure, folder, "semantic_search")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main(*map(Path, sys.argv[1:]))
