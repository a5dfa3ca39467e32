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
    """Embeds the queries of a task as queries, with the task's instruction, all else as documents.

    The texts of a task without queries, such as clustering, go out as documents too, the service's
    default. Instructions are left out for models that take none.

    Args:
        embedder: Makes the vectors; its own `instruct` gives way to the task's.

    Attributes:
        mteb_model_meta: What `mteb` wants to know of a model.
        usage: What all tasks have used so far.
    """

    def __init__(self, embedder: QwenEmbedder) -> None:
        self.model = embedder
        self.usage = Usage()
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"qwen/{embedder.model}",
                "embed_dim": embedder.dimension,
                # Whether all models make rows of unit length is not known.
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
        """Return one row a text, shape `(n, dimension)`, in the order of `inputs`.

        All texts are handed over at once, since the embedder cuts them into requests itself. The
        batches of `inputs`, and so the `batch_size` of `encode_kwargs`, change nothing.
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
