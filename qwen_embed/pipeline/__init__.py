"""One call: from its texts to batches, requests, retries, and vectors in order."""
