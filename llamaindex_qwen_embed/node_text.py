"""The bare text of a node, found in what LlamaIndex embeds for it."""

from __future__ import annotations


def node_text(content: str) -> str | None:
    r"""Return a node's bare text from what is embedded for it, or `None` if it has no metadata.

    LlamaIndex puts metadata before the text as lines of `key: value` and an empty line.

    Example:
        >>> node_text("work: Alice\nchapter: 6\n\nThe Cat grinned.")
        'The Cat grinned.'
    """
    metadata, separator, text = content.partition("\n\n")
    is_metadata = all(": " in line for line in metadata.split("\n"))
    return text if separator and text and is_metadata else None
