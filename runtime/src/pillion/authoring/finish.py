"""What a ``generate`` may say at its end, beside the text."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = ["Embedded", "Finish"]


class Finish(msgspec.Struct, frozen=True):
    """Why a text ended and what it cost, yielded after its last piece::

        yield Finish("length", prompt_tokens=4, completion_tokens=32)

    Without it a text counts as ended by itself (``stop``), and answers say nothing of tokens. Yielded between pieces it
    says what the text has cost so far, and the last one counts: a text that is cut where the client asked (``stop``)
    never comes to its end.
    """

    reason: Literal["stop", "length", "tool_calls", "content_filter"] = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tool_calls: list[dict[str, Any]] | None = None
    """Functions that the model wants called, for clients that sent ``tools``: each ``{"name": ..., "arguments": ...}``,
    the arguments as an object or its JSON, with an ``id`` or not; OpenAI's own form is taken, too."""
    logprobs: dict[str, Any] | None = None
    """What OpenAI's ``logprobs`` is for the whole text, for clients that asked for it."""


class Embedded(msgspec.Struct, frozen=True):
    """Vectors of a built-in embedder, with the tokens that its texts had."""

    vectors: Any
    """Single precision, one row a text."""
    tokens: int
