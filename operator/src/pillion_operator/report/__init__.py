"""Tells people: one status write, only if it changed, then events."""
