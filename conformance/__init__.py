"""Asks the real service whether what the emulator claims is true, and reports where they differ."""
