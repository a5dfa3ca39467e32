"""At which place the right text of each question comes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def places(scores: NDArray[Any], answers: Sequence[int]) -> NDArray[np.intp]:
    """Return the place of each question's answer, 1 being the best, as an array `(questions,)`.

    Args:
        scores: One row a question, one column a text; what scores the same comes before the answer.
        answers: The column of each question's answer.
    """
    of_answers = scores[np.arange(len(answers)), answers]
    return (scores >= of_answers[:, None]).sum(axis=1)
