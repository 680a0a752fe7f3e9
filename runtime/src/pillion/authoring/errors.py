"""What is wrong with a class that cannot be served, or with what its methods return."""

from __future__ import annotations

__all__ = ["AuthoringError", "ResultError"]


class AuthoringError(Exception):
    """A class cannot be served as it is written. The text names class, method and parameter, and the remedy."""


class ResultError(Exception):
    """A method returned something else than it declares. The text has the path of the value.

    Args:
        problem: a sentence without its subject.
        path: of the value, which is the subject.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(f"{path} {problem}" if path else problem)
        self.problem = problem
        self.path = path

    def below(self, path: str) -> ResultError:
        """The same, seen from further out."""
        return ResultError(self.problem, f"{path}{self.path}")
