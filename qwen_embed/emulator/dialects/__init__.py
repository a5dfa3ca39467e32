"""How each server reads requests and prints its answers."""
