"""Wrappers of sparse embedding objects for LangChain's vector stores, one module per store."""
