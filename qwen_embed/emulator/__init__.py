"""A local emulator of Qwen's text-embedding service, which needs neither an API key nor a network.

It speaks the native and the OpenAI-compatible protocol. It can also emulate self-hosted servers of
the open-weight Qwen3-Embedding: see `qwen_embed.emulator.dialects.servers`.

Its responses have the service's format, and its errors the service's codes and messages, so that a
client can be tested against it. Its vectors are not Qwen's: see `qwen_embed.emulator.vectors`.
"""

from qwen_embed.emulator.dialects.servers import ServerName
from qwen_embed.emulator.recording import RecordedRequest
from qwen_embed.emulator.service import Emulator
from qwen_embed.emulator.vectors.engines import Engine

__all__ = ["Emulator", "Engine", "RecordedRequest", "ServerName"]
