"""The words of which options and requests are made, as types."""

from __future__ import annotations

from typing import Literal

TextType = Literal["document", "query"]
"""The role of a text: to be found, or to find."""
Output = Literal["dense", "sparse", "dense&sparse"]
"""The kind of vectors."""
ProtocolName = Literal["native", "openai"]
"""The service's own protocol, or the OpenAI-compatible one."""
