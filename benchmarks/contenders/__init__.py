"""All clients that are measured together, by name."""

from contenders.baseline import BASELINE
from contenders.contender import Contender
from contenders.ours import (
    AEMBED,
    ARRAY,
    LLAMAINDEX,
    OURS,
    OVER_DASHSCOPE,
    OVER_OPENAI,
    PACKED,
    SYNC,
)
from contenders.peers import DASHSCOPE, OPENAI, OPENAI_LIKE, PEERS, RUST_ARRAY, SDK_THREADS

ALL = [BASELINE, *OURS, *PEERS]
BY_NAME = {contender.name: contender for contender in ALL}

__all__ = [
    "AEMBED",
    "ALL",
    "ARRAY",
    "BASELINE",
    "BY_NAME",
    "DASHSCOPE",
    "LLAMAINDEX",
    "OPENAI",
    "OPENAI_LIKE",
    "OURS",
    "OVER_DASHSCOPE",
    "OVER_OPENAI",
    "PACKED",
    "PEERS",
    "RUST_ARRAY",
    "SDK_THREADS",
    "SYNC",
    "Contender",
]
