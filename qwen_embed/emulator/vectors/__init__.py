"""Where the emulator's vectors come from."""
