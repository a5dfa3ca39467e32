"""Transports: send and receive bytes over HTTP, without knowledge of vectors."""
