"""Decides when requests are sent, by an account's quotas and the user's options."""
