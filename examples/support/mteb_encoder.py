"""`QwenEmbedder` as an encoder that the tasks of the `mteb` package (2.x) can evaluate."""

from typing import Any

import numpy as np
from mteb import TaskMetadata
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ScoringFunction
from mteb.types import BatchedInput, PromptType
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from qwen_embed import QwenEmbedder, Usage
from qwen_embed.models import find_model


class QwenEncoder(AbsEncoder):
    """Embeds the queries of a task as queries with its instruction, other texts as documents.

    The texts of a task without queries, for example clustering, are sent as documents too, which
    is the service's default. Models without support for instructions get none.

    Args:
        embedder: Makes the vectors; the task's instruction replaces its own `instruct`.

    Attributes:
        mteb_model_meta: The model's metadata, as `mteb` requires it.
        usage: The usage of all tasks so far.
    """

    def __init__(self, embedder: QwenEmbedder) -> None:
        self.model = embedder
        self.usage = Usage()
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"qwen/{embedder.model}",
                "embed_dim": embedder.dimension,
                # Not all models are known to make vectors of unit length.
                "similarity_fn_name": ScoringFunction.COSINE,
                "use_instructions": find_model(embedder.model).instruct,
            }
        )

    def encode(
        self,
        inputs: DataLoader[BatchedInput],
        *,
        task_metadata: TaskMetadata,
        prompt_type: PromptType | None = None,
        **_: Any,
    ) -> NDArray[np.float32]:
        """Return one vector per text, shape `(n, dimension)`, in the order of `inputs`.

        All texts are embedded in one call, which splits them into batches itself. The batches of
        `inputs`, and so the `batch_size` of `encode_kwargs`, have no effect.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        if prompt_type is PromptType.query:
            instruct = None
            if self.mteb_model_meta.use_instructions:
                instruct = self.get_instruction(task_metadata, prompt_type) or None
            with self.model.model_copy(update={"instruct": instruct}) as asking:
                result = asking.embed_queries(texts)
        else:
            result = self.model.embed_documents(texts)
        self.usage.add(result.usage)
        self.usage.price = result.usage.price
        return result.dense
