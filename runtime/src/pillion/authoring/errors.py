"""What is wrong with a class that cannot be served, or with what its methods return."""

from __future__ import annotations

__all__ = ["AuthoringError", "ResultError"]


class AuthoringError(Exception):
    """A class cannot be served as it is written. The text names class, method and parameter, and the remedy."""


class ResultError(Exception):
    """A method returned something else than it declares. The text has the path of the value."""
