"""Logs and traces of calls and requests."""
