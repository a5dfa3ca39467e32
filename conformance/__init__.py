"""Compares the emulator with the real service, and reports the differences."""
