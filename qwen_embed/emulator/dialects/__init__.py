"""How each server reads requests and formats its responses."""
