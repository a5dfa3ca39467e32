"""Evaluate a model with the `mteb` package on a retrieval, a clustering and a classification task.

Run `python examples/evaluate_mteb.py`. It needs Python 3.11 or later, `mteb` and PyTorch; the build
for CPUs is enough: `uv pip install mteb --torch-backend cpu`. The tasks are small and made of local
texts, so nothing is downloaded. If DASHSCOPE_API_KEY is set, the service's model is evaluated;
otherwise the bundled emulator, which only matches words, or meanings with `--engine e5`.

Public benchmark tasks run the same way, if they can be downloaded:
`mteb.evaluate(QwenEncoder(embedder), mteb.get_task("NFCorpus"))`.
"""

import argparse
import sys
from contextlib import ExitStack

import datasets
import mteb
from support.mteb_encoder import QwenEncoder
from support.mteb_tasks import BookRetrieval, IntentClassification, StoryClustering
from support.service import service_options

from qwen_embed import QwenEmbedder

# From the service's documentation, November 2026.
PUBLISHED = {
    ("text-embedding-v3", 1024): (63.39, 68.92),
    ("text-embedding-v4", 512): (64.73, 68.79),
    ("text-embedding-v4", 1024): (68.36, 70.14),
    ("text-embedding-v4", 2048): (71.58, 71.99),
}


def main(
    model: str = "text-embedding-v4", dimension: int = 1024, engine: str = "lexical"
) -> dict[str, float]:
    """Run the tasks, and print their scores and those that the service publishes.

    Args:
        model: The model to evaluate.
        dimension: The length of its vectors.
        engine: How the emulator makes its vectors.

    Returns:
        The main score of each task, from 0 to 1.
    """
    datasets.disable_progress_bars()
    tasks = [BookRetrieval(), StoryClustering(), IntentClassification()]
    with ExitStack() as stack:
        service = service_options(stack, engine)
        embedder = QwenEmbedder(model=model, dimension=dimension, **service)
        encoder = QwenEncoder(stack.enter_context(embedder))
        # No cache: mteb would store the emulator's scores under the model's name too.
        results = mteb.evaluate(encoder, tasks, cache=None, show_progress_bar=False).task_results

    print(f"\nMeasured here: {model} at {dimension} dimensions")
    if service:
        print(f"(the emulator's vectors, engine {engine}: they say nothing about Qwen's models)")
    scores = {result.task_name: result.get_score() for result in results}
    for task in tasks:
        about = task.metadata
        score = f"{100 * scores[about.name]:5.1f}  {about.main_score:10}"
        print(f"  {about.name:20}  {score}  {about.description}")
    print(f"Used: {encoder.usage}")

    print("\nPublished by the service for its models, on the public benchmarks MTEB and CMTEB. NOT")
    print("measured here, and not comparable with the scores above, which are of other tasks:")
    for (name, length), (mteb_score, cmteb_score) in PUBLISHED.items():
        print(f"  {name}, {length:4} dimensions  MTEB {mteb_score:.2f}  CMTEB {cmteb_score:.2f}")
    return scores


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--model", default="text-embedding-v4")
    arguments.add_argument("--dimension", type=int, default=1024)
    arguments.add_argument("--engine", choices=["lexical", "e5"], default="lexical")
    main(**vars(arguments.parse_args()))
