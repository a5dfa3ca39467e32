"""Sparse vectors in the forms that LlamaIndex's vector stores take."""
