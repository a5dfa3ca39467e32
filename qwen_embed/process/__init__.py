"""Threads and locks that survive forks and the end of the main thread."""
