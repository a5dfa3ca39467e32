"""When requests may be sent, as an account's quotas and a user's options allow."""
