"""Requests of OpenAI's API: chat completions, completions and embeddings.

Source: the API reference of OpenAI. Every field is either honoured, or says something that changes nothing here (a
penalty of 0, who the user is), or is refused by its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.protocol.generation import arguments, asks_for, invalid, json_object, stops

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.authoring.text import Embedder, Generator

__all__ = ["EmbeddingRequest", "TextRequest", "decode_chat", "decode_completion", "decode_embedding"]

_MOST_CHOICES: Final = 16
_ABOUT_CALLERS: Final = frozenset({"metadata", "prompt_cache_key", "safety_identifier", "user"})
"""What says something of the caller and nothing of the answer."""
_NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("auto", "none"),
    "tools": ([],),
    "top_p": (1,),
}
"""Values of options that change nothing, for models without the option."""


class TextRequest(msgspec.Struct):
    """One request for texts."""

    model: str
    prompts: tuple[str, ...]
    """Empty where it is a chat."""
    messages: list[dict[str, Any]]
    options: dict[str, Any]
    stops: tuple[str, ...]
    n: int
    stream: bool
    include_usage: bool

    def calls(self, generator: Generator) -> list[dict[str, Any]]:
        """The arguments of one call of ``generate`` for each choice, in the order of the choices.

        Raises:
            PillionError: ``INVALID_ARGUMENT`` with the field.
        """
        if self.messages and not generator.messages:
            raise invalid(
                "messages",
                "the model continues texts and takes no conversation",
                remedy="POST /v1/completions; or give its generate a parameter messages",
            )
        options = {name: value for name, value in self.options.items() if _counts(generator, name, value)}
        if self.messages:
            asked = [{"messages": self.messages}]
        else:
            asked = [asks_for(generator, prompt) for prompt in self.prompts]
        return [arguments(generator, one, options, self.stops) for one in asked for _ in range(self.n)]


def _counts(generator: Generator, name: str, value: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether an option means something to the model, or has to be refused because it should."""
    if name in generator.options:
        return True
    if name in _ABOUT_CALLERS:
        return generator.open
    return not any(value == neutral for neutral in _NEUTRAL.get(name, ()))


class EmbeddingRequest(msgspec.Struct):
    """One request for vectors."""

    model: str
    texts: list[str]
    options: dict[str, Any]
    base64: bool

    def arguments(self, embedder: Embedder) -> dict[str, Any]:
        """The arguments of ``embed``.

        Raises:
            PillionError: ``INVALID_ARGUMENT`` with the field.
        """
        for name in self.options:
            if name not in embedder.options:
                takes = ", ".join(embedder.options) or "none"
                raise invalid(name, f"the model does not take this option; it takes: {takes}", remedy="leave it out")
        return {"texts": self.texts, **self.options}


def decode_chat(body: bytes | memoryview) -> TextRequest:
    """``POST /v1/chat/completions``.

    Raises:
        PillionError: ``INVALID_ARGUMENT`` with the field.
    """
    document = json_object(body)
    messages = document.pop("messages", None)
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "is missing" if messages is None else "should be a list of messages")
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise invalid(f"messages[{place}]", "should be an object with role and content")
    return _text(document, (), messages)


def decode_completion(body: bytes | memoryview) -> TextRequest:
    """``POST /v1/completions``.

    Raises:
        PillionError: ``INVALID_ARGUMENT`` with the field.
    """
    document = json_object(body)
    return _text(document, tuple(_texts(document, "prompt")), [])


def _texts(document: dict[str, Any], field: str) -> list[str]:
    given = document.pop(field, None)
    if given is None:
        raise invalid(field, "is missing")
    texts = [given] if isinstance(given, str) else given
    if isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts):
        return texts
    if isinstance(texts, list) and texts and isinstance(texts[0], int | list):
        raise invalid(field, "ids of tokens are not taken", remedy="send text")
    raise invalid(field, "should be a text, or a list of texts")


def _text(document: dict[str, Any], prompts: tuple[str, ...], messages: list[dict[str, Any]]) -> TextRequest:
    model = _model(document)
    n = document.pop("n", None)
    n = 1 if n is None else n
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise invalid("n", "should be a whole number from 1 on")
    choices = n * max(1, len(prompts))
    if choices > _MOST_CHOICES:
        raise invalid("n", f"{choices} answers are asked for, and at most {_MOST_CHOICES} are given")
    stream = _switch(document, "stream")
    return TextRequest(
        model, prompts, messages, stops=stops(document.pop("stop", None)), n=n, stream=stream,
        include_usage=_include_usage(document, stream=stream), options=_without_nulls(document),
    )  # fmt: skip


def _include_usage(document: dict[str, Any], *, stream: bool) -> bool:
    given = document.pop("stream_options", None)
    if given is None:
        return False
    if not isinstance(given, dict):
        raise invalid("stream_options", "should be an object")
    if not stream:
        raise invalid("stream_options", "it is for answers that stream", remedy="send stream: true, or leave it out")
    include = _switch(given, "include_usage", "stream_options.")
    given.pop("include_obfuscation", None)  # asks for padding that OpenAI adds, and leaves out where not
    if given:
        raise invalid(f"stream_options.{min(given)}", "there is no such field; there is: include_usage")
    return include


def decode_embedding(body: bytes | memoryview) -> EmbeddingRequest:
    """``POST /v1/embeddings``.

    Raises:
        PillionError: ``INVALID_ARGUMENT`` with the field.
    """
    document = json_object(body)
    texts, model = _texts(document, "input"), _model(document)
    encoding = document.pop("encoding_format", None)
    encoding = "float" if encoding is None else encoding
    if encoding not in ("float", "base64"):
        raise invalid("encoding_format", "should be float or base64")
    options = {name: value for name, value in _without_nulls(document).items() if name not in _ABOUT_CALLERS}
    return EmbeddingRequest(model, texts, options, encoding == "base64")


def _model(document: dict[str, Any]) -> str:
    model = document.pop("model", None)
    if not isinstance(model, str) or not model:
        raise invalid("model", "is missing" if model is None else "should be the name of a model")
    return model


def _switch(document: dict[str, Any], field: str, above: str = "") -> bool:
    given = document.pop(field, None)
    if given is None:
        return False
    if not isinstance(given, bool):
        raise invalid(f"{above}{field}", "should be true or false")
    return given


def _without_nulls(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}
