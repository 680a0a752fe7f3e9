"""Answers of OpenAI's API, as its clients read them (see :mod:`pillion.protocol.openai`)."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

import msgspec
import orjson

from pillion.authoring.finish import Embedded, Finish
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pillion.dataplane.completion import Completion

__all__ = ["DONE", "TextAnswer", "encode_embeddings"]

DONE: Final = b"[DONE]"
"""The last event of every stream."""


class TextAnswer(msgspec.Struct):
    """One answer in the making: a chat completion or a completion."""

    model: str
    request_id: str
    chat: bool
    include_usage: bool = False
    created: int = msgspec.field(default_factory=lambda: int(time.time()))
    prompt_tokens: int | None = 0
    completion_tokens: int = 0

    def count(self, completion: Completion, *, same_prompt: bool) -> None:
        """Take note of the tokens of a text that has ended; of a prompt once, however many texts continue it."""
        if completion.tokens is None or self.prompt_tokens is None:
            self.prompt_tokens = None
            return
        self.prompt_tokens += 0 if same_prompt else completion.tokens[0]
        self.completion_tokens += completion.tokens[1]

    def whole(self, texts: Sequence[tuple[str, Finish]]) -> bytes:
        """All texts, each with its end.

        Raises:
            PillionError: ``MODEL_FAILED``: the end says what no client could read.
        """
        choices = [self._choice(index, text, finish) for index, (text, finish) in enumerate(texts)]
        return orjson.dumps(self._document("chat.completion", choices) | {"usage": self._usage()})

    def _choice(self, index: int, text: str, finish: Finish) -> dict[str, Any]:
        said: dict[str, Any] = {"text": text}
        calls = self._calls(finish)
        if self.chat:
            said = {"message": {"role": "assistant", "content": text, "refusal": None}}
            if calls:
                said["message"] |= {"content": text or None, "tool_calls": calls}
        return {"index": index, **said, "logprobs": finish.logprobs, "finish_reason": finish.reason}

    def _calls(self, finish: Finish) -> list[dict[str, Any]]:
        calls = tool_calls(finish)
        if calls and not self.chat:
            raise _failed("tool_calls are for chats, and this is a completion")
        return calls

    def first(self, index: int) -> bytes | None:
        """The event that begins a text, where the protocol has one."""
        return self._chunk(index, {"role": "assistant", "content": ""}) if self.chat else None

    def piece(self, index: int, text: str) -> bytes:
        """The event of a piece of a text."""
        return self._chunk(index, {"content": text} if self.chat else text)

    def last(self, index: int, finish: Finish) -> list[bytes]:
        """The events that end a text: the functions to call, where there are some, and the reason.

        Raises:
            PillionError: ``MODEL_FAILED``: as :meth:`whole`.
        """
        calls = [{"index": place, **call} for place, call in enumerate(self._calls(finish))]
        events = [self._chunk(index, {"tool_calls": calls})] if calls else []
        return [*events, self._chunk(index, {} if self.chat else "", finish.reason, finish.logprobs)]

    def usage(self) -> bytes | None:
        """The event after the last text, where it is asked for."""
        if not self.include_usage:
            return None
        return orjson.dumps(self._document("chat.completion.chunk", []) | {"usage": self._usage()})

    def _chunk(
        self, index: int, said: object, reason: str | None = None, logprobs: dict[str, Any] | None = None
    ) -> bytes:
        choice = {"index": index, "delta" if self.chat else "text": said, "logprobs": logprobs, "finish_reason": reason}
        document = self._document("chat.completion.chunk", [choice])
        if self.include_usage:
            document["usage"] = None
        return orjson.dumps(document)

    def _document(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"{'chatcmpl' if self.chat else 'cmpl'}-{self.request_id}",
            "object": kind if self.chat else "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def _usage(self) -> dict[str, int] | None:
        """None where the model counts no tokens: a number made up would be taken for one."""
        if self.prompt_tokens is None:
            return None
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


def tool_calls(finish: Finish) -> list[dict[str, Any]]:
    """The functions that a model wants called, in OpenAI's form.

    Raises:
        PillionError: ``MODEL_FAILED``: one of them has no name, or arguments that are no JSON.
    """
    found = []
    for place, given in enumerate(cast("list[Any]", finish.tool_calls or [])):
        function: Any = given.get("function", given) if isinstance(given, dict) else None  # as a class wrote it
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not name:
            raise _failed(f"tool_calls[{place}] has no name: give a dict with name and arguments")
        arguments = function.get("arguments", {})
        try:
            text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        except TypeError as error:
            raise _failed(f"tool_calls[{place}].arguments: {error}") from None
        name_of_call = str(given.get("id") or f"call_{uuid4().hex[:24]}")
        found.append({"id": name_of_call, "type": "function", "function": {"name": name, "arguments": text}})
    return found


def _failed(problem: str) -> PillionError:
    return PillionError(ErrorCode.MODEL_FAILED, f"generate gave a Finish whose {problem}")


def encode_embeddings(value: Embedded | NDArray[np.float32], texts: int, model: str, *, as_base64: bool) -> bytes:
    """One vector for each text.

    Raises:
        PillionError: ``MODEL_FAILED``: they are not one row a text.
    """
    tokens = value.tokens if isinstance(value, Embedded) else None
    vectors = value.vectors if isinstance(value, Embedded) else value
    if vectors.ndim != 2 or len(vectors) != texts:
        raise PillionError(
            ErrorCode.MODEL_FAILED,
            f"embed gave an array of shape {list(vectors.shape)} for {texts} texts",
            remedy="return one row a text",
        )
    rows = vectors.astype("<f4", order="C", copy=False)  # a model may give columns one after another
    encoded = [base64.b64encode(row).decode() for row in rows] if as_base64 else rows
    return orjson.dumps(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(encoded)],
            "model": model,
            "usage": None if tokens is None else {"prompt_tokens": tokens, "total_tokens": tokens},
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
