"""Three small tasks for the `mteb` package, made of the texts in `examples/data`."""

from typing import Any

from datasets import Dataset, DatasetDict
from mteb import TaskMetadata
from mteb.abstasks import AbsTaskClassification, AbsTaskClustering, AbsTaskRetrieval

from support.corpus import CHAPTERS_OF_ANSWERS, read, read_passages


def describe(
    name: str, kind: str, main_score: str, description: str, prompt: str | None = None
) -> TaskMetadata:
    """Return the metadata of a task; its prompt is the instruction of its queries."""
    return TaskMetadata(
        name=name,
        type=kind,
        main_score=main_score,
        description=description,
        prompt=prompt,
        dataset={"path": "examples/data", "revision": "1"},
        eval_langs=["eng-Latn", "zho-Hans"],
    )


def passages_of(*chapters: str) -> list[dict[str, str]]:
    """Return the passages of some chapters, with their metadata."""
    return [{"text": text, **about} for text, about in zip(*read_passages(*chapters), strict=True)]


class BookRetrieval(AbsTaskRetrieval):
    """Find the passages that answer a question; some are in the other language."""

    metadata = describe(
        "BookRetrieval",
        "Retrieval",
        "ndcg_at_10",
        "32 questions, 65 passages of two books",
        "Given a question about a book, retrieve passages that answer it",
    )

    def load_data(self, **_: Any) -> None:
        """Read the questions, and the chapters that answer them."""
        questions = read("questions")
        passages = passages_of(*CHAPTERS_OF_ANSWERS)
        test = {
            "queries": Dataset.from_list(questions).select_columns(["id", "text"]),
            "corpus": Dataset.from_list(passages).select_columns(["id", "text"]),
            "relevant_docs": {each["id"]: dict.fromkeys(each["answers"], 1) for each in questions},
            "top_ranked": None,
        }
        self.dataset = {"default": {"test": test}}
        self.data_loaded = True


class StoryClustering(AbsTaskClustering):
    """Group passages of the same chapter or story."""

    metadata = describe(
        "StoryClustering",
        "Clustering",
        "v_measure",
        "64 passages of 4 chapters and stories",
    )
    input_column_name = "text"
    label_column_name = "chapter"
    max_fraction_of_documents_to_embed = None  # all of them
    max_documents_per_cluster = 64  # drawn in each of ten runs, some more than once

    def load_data(self, **_: Any) -> None:
        """Read chapters that are not in `BookRetrieval`, so that no passage is paid for twice."""
        passages = passages_of("Chapter VII.", "Chapter X.", "狂人日记", "白光")
        self.dataset = DatasetDict(test=Dataset.from_list(passages))
        self.data_loaded = True


class IntentClassification(AbsTaskClassification):
    """Classify what a customer wants, from four example messages per intent."""

    metadata = describe(
        "IntentClassification",
        "Classification",
        "accuracy",
        "24 messages of 4 intents",
    )
    label_column_name = "intent"
    samples_per_label = 4  # drawn from eight in each of ten runs

    def load_data(self, **_: Any) -> None:
        """Read the messages to learn from, and those to classify."""
        messages = Dataset.from_list(read("intents"))
        splits = messages["split"]
        self.dataset = DatasetDict(
            {
                split: messages.select([n for n, of in enumerate(splits) if of == split])
                for split in ("train", "test")
            }
        )
        self.data_loaded = True
