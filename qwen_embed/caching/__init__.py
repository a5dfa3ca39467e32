"""Vectors kept on disk, so that no text is paid for twice."""
