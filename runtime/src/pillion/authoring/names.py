"""Names made of other names, in one place so that every part of a server makes the same."""

from __future__ import annotations

import re

__all__ = ["camel_case", "model_name", "same_task"]


def model_name(class_name: str) -> str:
    """What a class is served as: ``TextMood`` and ``text_mood`` as ``text-mood``."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", class_name)
    return parted.replace("_", "-").lower().strip("-")


def camel_case(task: str) -> str:
    """``echo_later`` and ``echo-later`` as ``EchoLater``."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[-_]+", task))


def same_task(name: str) -> str:
    """Equal for the names that mean one task: ``-`` and ``_`` are the same, and so are small and large letters."""
    return name.replace("-", "_").lower()
