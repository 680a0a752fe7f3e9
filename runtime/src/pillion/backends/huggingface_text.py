"""Texts of a causal language model, token by token, with what clients of language models may ask of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from pillion.authoring.finish import Finish
from pillion.backends.hub_methods import TextGeneration
from pillion.stopping import StopFinder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.backends.hub_library import Tokenizers
    from pillion.backends.torch_tensors import OperatorThreads

__all__ = ["NEW_TOKENS", "HubStream", "Stop", "TextGenerator"]

NEW_TOKENS: Final = 64
"""Tokens of an answer where neither the request nor ``generation_config.json`` says how many."""
_BROKEN: Final = "\ufffd"
"""What tokenizers make of half a character."""


class Stop(StoppingCriteria):  # type: ignore[misc] # transformers is not installed where types are checked
    """Ends a generation that nobody wants any more."""

    def __init__(self) -> None:
        self.due = False

    def now(self) -> None:
        """From any thread."""
        self.due = True

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ANN401 - transformers has no types
        """Whether each text is done."""
        del scores
        return input_ids.new_full((input_ids.shape[0],), self.due).bool()


class TextGenerator(TextGeneration):
    """A model and its tokenizers."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - as above
        tokenizers: Tokenizers,
        longest: int | None,
        threads: OperatorThreads,
    ) -> None:
        self._model = model
        self._threads = threads
        self._tokenizers = tokenizers
        self._longest = longest

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
        """The same piece by piece, and at the end how it ended; ends early where ``put`` gives False.

        Raises:
            ValueError: the request is at fault.
        """
        self._threads.use()
        tokenizer = self._tokenizers.own
        given = _encoded(tokenizer, prompt, messages).to(self._model.device)
        length = int(given["input_ids"].shape[1])
        tokens = self._room(length, max_tokens)
        stopping = Stop()
        pieces = _Pieces(tokenizer, put, stopping, StopFinder(stop or ()))
        with torch.inference_mode():
            self._model.generate(
                **given, max_new_tokens=tokens, streamer=pieces, stopping_criteria=StoppingCriteriaList([stopping]),
                **_sampling(how),
            )  # fmt: skip
        pieces.finish(length, tokens)

    def _room(self, length: int, asked: int | None) -> int:
        """Tokens that the answer may have."""
        if length == 0:
            raise ValueError("prompt: it is empty, and there is nothing to continue")
        wanted = asked or getattr(self._model.generation_config, "max_new_tokens", None) or NEW_TOKENS
        room = wanted if self._longest is None else self._longest - length
        if room < 1 or (asked is not None and room < wanted):
            raise ValueError(
                f"the prompt has {length} tokens, and with max_tokens {wanted} that is more than the {self._longest}"
                " that the model takes"
            )
        return int(min(wanted, room))


def _sampling(how: Mapping[str, float | None]) -> dict[str, Any]:
    """What is asked for in the library's words; nothing where the folder's generation_config.json is to decide."""
    asked: dict[str, Any] = {name: value for name, value in how.items() if value is not None}
    if asked.get("temperature") == 0:
        return {"do_sample": False} | {name: asked[name] for name in asked.keys() & {"repetition_penalty"}}
    if asked.keys() - {"repetition_penalty"}:
        asked["do_sample"] = True
    return asked


def _encoded(tokenizer: Any, prompt: str | None, messages: list[dict[str, Any]] | None) -> Any:  # noqa: ANN401 - as above
    if (prompt is None) == (messages is None):
        raise ValueError("send a prompt or messages, one of them")
    if messages is None:
        return tokenizer(prompt, return_tensors="pt")
    plain = [_plain(message, place) for place, message in enumerate(messages)]
    try:
        return tokenizer.apply_chat_template(plain, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    except Exception as error:  # the template is code of the folder's, and raises what it likes
        raise ValueError(f"messages: the tokenizer's chat template refuses them: {error}") from error


def _plain(message: Mapping[str, Any], place: int) -> dict[str, Any]:
    """A message with its content as one text."""
    content = message.get("content")
    if isinstance(content, list):
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise ValueError(f"messages[{place}].content: the model takes text only")
        content = "".join(part["text"] for part in content)
    if content is not None and not isinstance(content, str):
        raise ValueError(f"messages[{place}].content: should be text")
    return {**message, "content": content}


class _Pieces(BaseStreamer):  # type: ignore[misc] # as above
    """Tokens to pieces of text: a piece is what a token adds to the text, once its characters are whole."""

    def __init__(
        self,
        tokenizer: Any,  # noqa: ANN401 - as above
        put: Callable[[str | Finish], bool],
        stopping: Stop,
        finder: StopFinder,
    ) -> None:
        self._tokenizer = tokenizer
        self._put = put
        self._stopping = stopping
        self._finder = finder
        self._prompt = True
        self._ids: list[int] = []
        # A token's text depends on the tokens before it (spaces above all), not on all of them.
        self._from, self._told = 0, 0

    def put(self, value: Any) -> None:  # noqa: ANN401 - a tensor
        """Called by the library: first with the prompt, then with each token."""
        if self._prompt:
            self._prompt = False
            return
        self._ids += value.reshape(-1).tolist()
        text = self._new()
        if text and not text.endswith(_BROKEN):
            self._from, self._told = self._told, len(self._ids)
            self._show(text)

    def end(self) -> None:
        """Called by the library. What is left is told by :meth:`finish`."""

    def finish(self, prompt_tokens: int, most: int) -> None:
        """Tell what is left, why it ended, and what it cost."""
        self._show(self._new())
        rest = "" if self._stopping.due else self._finder.rest()
        if rest:
            self._put(rest)
        ends = self._tokenizer.eos_token_id
        cut = len(self._ids) >= most and self._ids[-1:] != [ends] and not self._finder.found
        self._put(Finish("length" if cut else "stop", prompt_tokens=prompt_tokens, completion_tokens=len(self._ids)))

    def _new(self) -> str:
        before = self._tokenizer.decode(self._ids[self._from : self._told], skip_special_tokens=True)
        after: str = self._tokenizer.decode(self._ids[self._from :], skip_special_tokens=True)
        return after[len(before) :]

    def _show(self, text: str) -> None:
        if self._stopping.due:
            return
        shown = self._finder.feed(text)
        if (shown and not self._put(shown)) or self._finder.found:
            self._stopping.now()


class HubStream:
    """See :class:`~pillion.execution.stream.StreamSource`."""

    asynchronous = False

    def __init__(self, generator: TextGenerator, arguments: Mapping[str, Any]) -> None:
        self._generator = generator
        self._arguments = arguments

    def run(self, put: Callable[[Any], bool]) -> None:
        """Generate."""
        self._generator.push(put, **self._arguments)

    def items_async(self) -> Any:  # noqa: ANN401 - never gives any
        """Not on the event loop: the library computes in the thread that calls it."""
        raise RuntimeError("a model of transformers runs in a thread")
