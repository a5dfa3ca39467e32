"""What carries requests: bytes over HTTP, which know nothing of vectors."""
