"""The rank of the right text for each question."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def ranks(scores: NDArray[Any], answers: Sequence[int]) -> NDArray[np.intp]:
    """Return the rank of each question's answer, 1 being the best, as an array `(questions,)`.

    Args:
        scores: One row per question, one column per text. Tied texts rank before the answer.
        answers: The column of each question's answer.
    """
    of_answers = scores[np.arange(len(answers)), answers]
    return (scores >= of_answers[:, None]).sum(axis=1)
