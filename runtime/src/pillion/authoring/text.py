"""``generate`` and ``embed``: methods that every protocol for language models can call.

As ``predict`` they are known by their names and need no decorator. ``generate`` takes ``prompt``, ``messages`` or both;
its other parameters are what clients may set, by the names that they use (``max_tokens``, ``temperature``, ``seed``),
and ``parameters: dict`` takes what has no parameter of its own. ``embed`` takes ``texts``.
"""

from __future__ import annotations

import collections.abc
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

import numpy as np

from pillion.authoring.errors import AuthoringError
from pillion.authoring.finish import Finish
from pillion.authoring.values import ArrayOf, MapOf

if TYPE_CHECKING:
    from pillion.authoring.signature import TaskSignature

__all__ = [
    "EMBED",
    "GENERATE",
    "MESSAGES",
    "PROMPT",
    "VECTORS",
    "Embedder",
    "Generator",
    "TextMethods",
    "check_pieces",
    "embedder",
    "generator",
    "is_text",
    "item_type",
]

GENERATE: Final = "generate"
EMBED: Final = "embed"
PROMPT: Final = "prompt"
MESSAGES: Final = "messages"
VECTORS: Final = ArrayOf(np.dtype(np.float32))
"""What ``embed`` gives: one row a text."""
_REST: Final = "parameters"
_STREAMS: Final = frozenset(
    {
        collections.abc.Iterator,
        collections.abc.AsyncIterator,
        collections.abc.AsyncIterable,
        collections.abc.Generator,
        collections.abc.AsyncGenerator,
    }
)
_ITERABLES: Final = _STREAMS | {collections.abc.Iterable}
_ASYNCHRONOUS: Final = frozenset(
    {collections.abc.AsyncIterator, collections.abc.AsyncIterable, collections.abc.AsyncGenerator}
)


@dataclass(frozen=True, slots=True, eq=False)
class Generator:
    """A model's ``generate``."""

    task: TaskSignature
    prompt: bool
    """Whether it takes a text to continue."""
    messages: bool
    """Whether it takes a conversation."""
    options: tuple[str, ...]
    """What clients may set."""
    open: bool
    """Whether it takes any other option, too."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedder:
    """A model's ``embed``."""

    task: TaskSignature
    options: tuple[str, ...]
    """What clients may set."""


@dataclass(frozen=True, slots=True, eq=False)
class TextMethods:
    """What a model can do for clients of language models."""

    generate: Generator | None = None
    embed: Embedder | None = None


def item_type(hint: object, *, generates: bool) -> tuple[bool, bool, Any]:
    """Whether a method with this return type streams, whether it does so on the event loop, and the type of an item.

    Args:
        hint: the return type.
        generates: whether the method is a generator: then ``Iterable`` is a stream, and so is no annotation at all.
    """
    origin = get_origin(hint) or hint
    if origin in (_ITERABLES if generates else _STREAMS):
        arguments = get_args(hint)
        return True, origin in _ASYNCHRONOUS, arguments[0] if arguments else Any
    return generates and hint is Any, False, Any


def generator(task: TaskSignature, place: str) -> Generator:
    """Read ``generate``.

    Raises:
        AuthoringError: it takes neither a prompt nor messages.
    """
    names = [parameter.name for parameter in task.parameters]
    prompt, messages = PROMPT in names, MESSAGES in names
    if not (prompt or messages):
        raise AuthoringError(
            f"{place}: it is what clients of language models call, and takes prompt or messages:"
            f" write {GENERATE}(self, prompt: str), or name it otherwise"
        )
    if prompt and messages:
        required = [p.name for p in task.parameters if p.required and p.name in (PROMPT, MESSAGES)]
        if required:
            raise AuthoringError(f"{place}: a call brings prompt or messages, not both: give {required[0]} a default")
    rest = next((parameter for parameter in task.parameters if parameter.name == _REST), None)
    if rest is not None and not isinstance(rest.type, MapOf):
        raise AuthoringError(f"{place}, parameter {_REST}: it takes what has no parameter of its own: make it a dict")
    options = tuple(name for name in names if name not in (PROMPT, MESSAGES, _REST))
    for parameter in task.parameters:
        if parameter.required and parameter.name in options:
            raise AuthoringError(f"{place}, parameter {parameter.name}: clients need not set it: give it a default")
    return Generator(task, prompt, messages, options, rest is not None)


def check_pieces(hint: object, place: str) -> None:
    """Refuse a ``generate`` that declares to give something else than text.

    Raises:
        AuthoringError: says what.
    """
    if get_origin(hint) in _ITERABLES:
        hint = (get_args(hint) or (Any,))[0]
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for member in members:
        if member is not Any and not (isinstance(member, type) and issubclass(member, str | Finish)):
            raise AuthoringError(
                f"{place}, return type: it gives text: str, or Iterator[str], with a pillion.Finish at the end or not"
            )


def embedder(task: TaskSignature, place: str) -> Embedder:
    """Read ``embed``.

    Raises:
        AuthoringError: it does not take texts.
    """
    names = [parameter.name for parameter in task.parameters]
    if names[:1] != ["texts"]:
        raise AuthoringError(
            f"{place}: it is what clients of embedders call: write {EMBED}(self, texts: list[str]),"
            " or name it otherwise"
        )
    for parameter in task.parameters[1:]:
        if parameter.required:
            raise AuthoringError(f"{place}, parameter {parameter.name}: clients need not set it: give it a default")
    return Embedder(task, tuple(names[1:]))


def is_text(hint: object) -> bool:
    """Whether a task marked by its author gives what ``generate`` gives."""
    try:
        check_pieces(hint, "")
    except AuthoringError:
        return False
    return True
