"""Scenarios on a real node, each a sentence of what a user can rely on."""
