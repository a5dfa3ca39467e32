"""How the emulator computes vectors."""
