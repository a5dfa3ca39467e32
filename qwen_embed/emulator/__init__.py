"""A local stand-in for Qwen's text-embedding service: its protocols, without key or network.

Both are spoken, the native one and the OpenAI-compatible one. It can also play self-hosted servers
of the open-weight Qwen3-Embedding: see `qwen_embed.emulator.dialects.servers`.

Its answers have the service's shape and its refusals the service's words, so a client can be tested
against it. Its vectors are not Qwen's: see `qwen_embed.emulator.vectors`.
"""

from qwen_embed.emulator.dialects.servers import ServerName
from qwen_embed.emulator.recording import RecordedRequest
from qwen_embed.emulator.service import Emulator
from qwen_embed.emulator.vectors.engines import Engine

__all__ = ["Emulator", "Engine", "RecordedRequest", "ServerName"]
