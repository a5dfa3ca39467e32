"""What exists while an embedding object is open: the event loop and the session."""
