"""Everything that is measured side by side, by name."""

from contenders.contender import Contender
from contenders.floor import FLOOR
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

ALL = [FLOOR, *OURS, *PEERS]
BY_NAME = {contender.name: contender for contender in ALL}

__all__ = [
    "AEMBED",
    "ALL",
    "ARRAY",
    "BY_NAME",
    "DASHSCOPE",
    "FLOOR",
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
