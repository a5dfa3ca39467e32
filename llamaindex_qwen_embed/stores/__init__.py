"""Wrappers of sparse embedding objects for LlamaIndex's vector stores, one module per store."""
