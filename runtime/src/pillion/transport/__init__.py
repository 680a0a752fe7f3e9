"""Servers for the protocols. Thin: they decode, call the data plane, encode, and own one table of error codes each."""
