"""What is known before the first call: the options, and the connection that follows from them."""
