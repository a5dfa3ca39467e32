"""The values of options that several modules share, as types."""

from __future__ import annotations

from typing import Literal

TextType = Literal["document", "query"]
"""The role of a text: a document is searched for, a query searches."""
Output = Literal["dense", "sparse", "dense&sparse"]
"""The kind of vectors to request."""
ProtocolName = Literal["native", "openai"]
"""The service's own protocol, or the OpenAI-compatible one."""
