"""Everything known before the first call: the options, and the connection derived from them."""
