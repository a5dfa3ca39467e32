"""What is told of calls and requests while they run: logs and traces."""
