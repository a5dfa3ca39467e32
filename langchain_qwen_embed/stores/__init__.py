"""Sparse vectors in the forms that LangChain's vector stores take."""
