"""Texts of users in the arguments and variables of containers, of which Kubernetes takes nothing for a reference."""

from __future__ import annotations

__all__ = ["literal"]


def literal(text: str) -> str:
    """Return the text as a manifest has to have it for a container to see it as it is.

    Kubernetes puts the value of a variable where ``$(NAME)`` stands, of a Secret's as well, so that a storage URI could
    send it to a server; and it makes ``$`` of ``$$``.
    """
    return text.replace("$", "$$")
