"""What clients of language models can call of the models of Hugging Face. Imports none of its libraries, so that a
server whose model runs in worker processes knows it, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from pillion.authoring.model import Model
from pillion.authoring.signature import define
from pillion.authoring.text import TextMethods

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.authoring.finish import Finish

__all__ = ["MOST_NEW_TOKENS", "TextEmbedding", "TextGeneration", "embedding", "generation"]

MOST_NEW_TOKENS: Final = 4096


class TextGeneration(Model):
    """A model that continues texts."""

    def generate(
        self,
        prompt: str | None = None,
        messages: list[dict[str, Any]] | None = None,
        max_tokens: Annotated[int, Field(ge=1, le=MOST_NEW_TOKENS)] | None = None,
        temperature: Annotated[float, Field(ge=0, le=2)] | None = None,
        top_p: Annotated[float, Field(gt=0, le=1)] | None = None,
        top_k: Annotated[int, Field(ge=1)] | None = None,
        repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None,
        stop: list[str] | None = None,
    ) -> str:
        """Continue a text, or answer a conversation. A temperature of 0 takes the likeliest token each time."""
        pieces: list[str] = []

        def put(item: str | Finish) -> bool:
            if isinstance(item, str):
                pieces.append(item)
            return True

        self.push(
            put, prompt, messages, max_tokens=max_tokens, stop=stop, temperature=temperature, top_p=top_p, top_k=top_k,
            repetition_penalty=repetition_penalty,
        )  # fmt: skip
        return "".join(pieces)

    def push(
        self,
        put: Callable[[str | Finish], bool],
        prompt: str | None = None,
        messages: list[dict[str, Any]] | None = None,
        *,
        max_tokens: int | None = None,
        stop: list[str] | None = None,
        **how: float | None,
    ) -> None:
        """The same piece by piece, and at the end how it ended; ends early where ``put`` gives False."""
        raise NotImplementedError


class TextEmbedding(Model):
    """A model that embeds texts."""

    def embed(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text."""
        raise NotImplementedError


def generation(*, messages: bool) -> TextMethods:
    """The methods of a model that continues texts.

    Args:
        messages: whether its tokenizer says how they become a text.
    """
    generate = define(TextGeneration).text.generate
    if generate is not None and not messages:
        generate = replace(generate, messages=False)
    return TextMethods(generate)


def embedding() -> TextMethods:
    """The methods of a model that embeds texts."""
    return define(TextEmbedding).text
