"""The tasks of transformers that are served: what each takes, what it gives, and how its pipeline is asked.

Outputs are typed tensors where a result has a fixed shape, and JSON documents (as BYTES) where it has not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import torch
from transformers import StoppingCriteriaList

from pillion.backends import text
from pillion.backends.api import InputRule
from pillion.backends.hub_library import text_rule
from pillion.backends.hub_methods import MOST_NEW_TOKENS
from pillion.backends.huggingface_text import NEW_TOKENS, Stop
from pillion.tensors import Datatype, Tensor, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pillion.execution.api import Interrupt

__all__ = ["TASKS", "Task", "Texts", "class_names"]

_MOST_AT_ONCE: Final = 32
"""Texts that are padded to one batch."""
_TOP: Final = 5
"""Words that a mask is filled with."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a request."""

    name: str
    """Of the input, for errors."""
    texts: list[str]
    lengths: list[int]
    """Tokens of each."""
    longest: int | None
    """Tokens that the model takes."""
    rest: tuple[Tensor | None, ...]
    """The other inputs, in the order of the rules."""
    interrupt: Interrupt | None

    def check_lengths(self) -> None:
        """Refuse what the model has no positions for, rather than answer about a part of it.

        Raises:
            ValueError: names the text.
        """
        for place, length in enumerate(self.lengths):
            if self.longest is not None and length > self.longest:
                raise ValueError(
                    f"input {self.name!r}: text {place} has {length} tokens, and the model takes at most {self.longest}"
                )


class Task(Protocol):
    """One task."""

    name: str
    on_request: frozenset[str]
    """Outputs that are given only where they are asked for."""

    def rules(self, tokenizer: Any) -> tuple[InputRule, ...]:  # noqa: ANN401 - transformers has no types
        """What it takes."""
        ...

    def outputs(self, config: Any) -> tuple[TensorSpec, ...]:  # noqa: ANN401 - as above
        """What it gives."""
        ...

    def run(self, pipeline: Any, given: Texts) -> Mapping[str, NDArray[Any]]:  # noqa: ANN401 - as above
        """All outputs by name."""
        ...


def class_names(config: Any) -> tuple[str, ...]:  # noqa: ANN401 - transformers has no types
    """What a classifier's classes are called, in their order."""
    return tuple(str(label) for _, label in sorted(config.id2label.items()))


class TextClassification:
    """One label for each text, and the probability of each label."""

    name = "text-classification"
    on_request = frozenset({"probabilities"})

    def rules(self, tokenizer: Any) -> tuple[InputRule, ...]:  # noqa: ANN401 - as above
        """See :class:`Task`."""
        del tokenizer
        return (text_rule("a text"),)

    def outputs(self, config: Any) -> tuple[TensorSpec, ...]:  # noqa: ANN401 - as above
        """See :class:`Task`."""
        return (
            TensorSpec("label", Datatype.BYTES, (-1,)),
            TensorSpec("score", Datatype.FP32, (-1,)),
            TensorSpec("probabilities", Datatype.FP32, (-1, config.num_labels)),
        )

    def run(self, pipeline: Any, given: Texts) -> Mapping[str, NDArray[Any]]:  # noqa: ANN401 - as above
        """See :class:`Task`. Probabilities are in the order of the configuration's ``id2label``."""
        given.check_lengths()
        labels = class_names(pipeline.model.config)
        found = _all(pipeline, given.texts, top_k=None)
        matrix = np.zeros((len(found), len(labels)), np.float32)
        for row, scores in enumerate(found):
            by_label = {one["label"]: one["score"] for one in scores}
            matrix[row] = [by_label[label] for label in labels]
        best = matrix.argmax(axis=1) if len(found) else np.zeros(0, np.int64)
        return {
            "label": _bytes([labels[index] for index in best]),
            "score": matrix[np.arange(len(found)), best],
            "probabilities": matrix,
        }


class TokenClassification:
    """The entities in each text: a JSON list of objects with group, score, word, start and end."""

    name = "token-classification"
    on_request: frozenset[str] = frozenset()

    def rules(self, tokenizer: Any) -> tuple[InputRule, ...]:  # noqa: ANN401 - as above
        """See :class:`Task`."""
        del tokenizer
        return (text_rule("a text"),)

    def outputs(self, config: Any) -> tuple[TensorSpec, ...]:  # noqa: ANN401 - as above
        """See :class:`Task`."""
        del config
        return (TensorSpec("entities", Datatype.BYTES, (-1,)),)

    def run(self, pipeline: Any, given: Texts) -> Mapping[str, NDArray[Any]]:  # noqa: ANN401 - as above
        """See :class:`Task`."""
        given.check_lengths()
        found = _all(pipeline, given.texts, aggregation_strategy="simple")
        return {"entities": _bytes([json.dumps([_entity(one) for one in entities]) for entities in found])}


def _entity(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "entity_group": found["entity_group"],
        "score": float(found["score"]),
        "word": found["word"],
        "start": None if found["start"] is None else int(found["start"]),
        "end": None if found["end"] is None else int(found["end"]),
    }


class FillMask:
    """The five likeliest words for the one mask in each text."""

    name = "fill-mask"
    on_request: frozenset[str] = frozenset()

    def rules(self, tokenizer: Any) -> tuple[InputRule, ...]:  # noqa: ANN401 - as above
        """See :class:`Task`."""
        return (text_rule(f"a {tokenizer.mask_token}"),)

    def outputs(self, config: Any) -> tuple[TensorSpec, ...]:  # noqa: ANN401 - as above
        """See :class:`Task`."""
        del config
        return (
            TensorSpec("token", Datatype.BYTES, (-1, _TOP)),
            TensorSpec("score", Datatype.FP32, (-1, _TOP)),
            TensorSpec("sequence", Datatype.BYTES, (-1, _TOP)),
        )

    def run(self, pipeline: Any, given: Texts) -> Mapping[str, NDArray[Any]]:  # noqa: ANN401 - as above
        """See :class:`Task`."""
        given.check_lengths()
        mask = pipeline.tokenizer.mask_token
        for place, one in enumerate(given.texts):
            if one.count(mask) != 1:
                raise ValueError(
                    f"input {given.name!r}: text {place} has {one.count(mask)} masks, and one is wanted: write {mask}"
                )
        found = _all(pipeline, given.texts, top_k=_TOP)
        shape = (len(found), _TOP)
        return {
            "token": _bytes([one["token_str"] for row in found for one in row]).reshape(shape),
            "score": np.array([[one["score"] for one in row] for row in found], np.float32).reshape(shape),
            "sequence": _bytes([one["sequence"] for row in found for one in row]).reshape(shape),
        }


class TextGeneration:
    """The continuation of each text, one by one: how long the others are does not change an answer."""

    name = "text-generation"
    on_request: frozenset[str] = frozenset()

    def rules(self, tokenizer: Any) -> tuple[InputRule, ...]:  # noqa: ANN401 - as above
        """See :class:`Task`."""
        del tokenizer
        tokens = TensorSpec("max_new_tokens", Datatype.INT64, (-1,), optional=True)
        return (text_rule("a text"), InputRule(tokens, frozenset({Datatype.INT32, Datatype.INT64}), shapes=((-1, 1),)))

    def outputs(self, config: Any) -> tuple[TensorSpec, ...]:  # noqa: ANN401 - as above
        """See :class:`Task`."""
        del config
        return (TensorSpec("generated_text", Datatype.BYTES, (-1,)),)

    def run(self, pipeline: Any, given: Texts) -> Mapping[str, NDArray[Any]]:  # noqa: ANN401 - as above
        """See :class:`Task`. A call that is given up ends with its next token."""
        stop = Stop()
        if given.interrupt is not None:
            given.interrupt.action = stop.now
            if given.interrupt.fired:
                stop.now()
        criteria = StoppingCriteriaList([stop])
        answers = []
        # Not by the pipeline, which samples unless it is told otherwise: how is the business of generation_config.json.
        for one, tokens in zip(given.texts, self._tokens(pipeline, given), strict=True):
            prompt = pipeline.tokenizer(one, return_tensors="pt").to(pipeline.model.device)
            with torch.inference_mode():
                found = pipeline.model.generate(**prompt, max_new_tokens=tokens, stopping_criteria=criteria)
            answer = found[0, prompt["input_ids"].shape[1] :]
            answers.append(pipeline.tokenizer.decode(answer, skip_special_tokens=True))
        return {"generated_text": _bytes(answers)}

    @staticmethod
    def _tokens(pipeline: Any, given: Texts) -> list[int]:  # noqa: ANN401 - as above
        """How long each answer may be.

        Raises:
            ValueError: a number out of bounds, or no room for as many tokens.
        """
        asked = given.rest[0]
        count = len(given.texts)
        if asked is None:
            default = getattr(pipeline.model.generation_config, "max_new_tokens", None) or NEW_TOKENS
            wanted = [default] * count
        else:
            values: list[int] = asked.data.ravel().tolist()
            if len(values) not in {1, count}:
                raise ValueError(
                    f"input {asked.name!r} has {len(values)} values for {count} texts: send one, or one each"
                )
            if not all(1 <= value <= MOST_NEW_TOKENS for value in values):
                raise ValueError(f"input {asked.name!r} takes 1 to {MOST_NEW_TOKENS}")
            wanted = values * count if len(values) == 1 else values
        for place, length in enumerate(given.lengths):
            if length == 0:
                raise ValueError(f"input {given.name!r}: text {place} is empty, and there is nothing to continue")
            room = wanted[place] if given.longest is None else given.longest - length
            if room < 1 or (asked is not None and room < wanted[place]):
                raise ValueError(
                    f"input {given.name!r}: text {place} has {length} tokens, and with {wanted[place]} of the answer "
                    f"that is more than the {given.longest} that the model takes"
                )
            wanted[place] = min(wanted[place], room)
        return wanted


def _all(pipeline: Any, texts: list[str], **how: Any) -> list[Any]:  # noqa: ANN401 - as above
    """The pipeline's results for all texts, padded to batches where the tokenizer can pad."""
    if not texts:
        return []
    at_once = min(len(texts), _MOST_AT_ONCE) if pipeline.tokenizer.pad_token_id is not None else 1
    found: list[Any] = pipeline(texts, batch_size=at_once, **how)
    return found


def _bytes(texts: list[str]) -> NDArray[Any]:
    data = np.empty(len(texts), dtype=np.object_)
    data[:] = texts
    return text.encode(data)


TASKS: Final[Mapping[str, Task]] = {
    task.name: task for task in (TextClassification(), TokenClassification(), FillMask(), TextGeneration())
}
