"""What a class says of itself by ``generate`` and ``embed``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator  # noqa: TC003 - read when a class is
from typing import Any

import pytest

from pillion import Finish, Model, task
from pillion.authoring.errors import AuthoringError
from pillion.authoring.signature import define
from pillion.errors import PillionError
from pillion.protocol.generation import arguments


class Both(Model):
    def generate(
        self, prompt: str | None = None, messages: list[dict[str, Any]] | None = None, max_tokens: int = 4
    ) -> Iterator[str | Finish]:
        yield "a"
        yield Finish()


class Open(Model):
    async def generate(self, prompt: str, parameters: dict[str, Any] | None = None) -> AsyncIterator[str]:
        yield str(parameters)


class Dict(Model):
    def generate(self, prompt: str, top_k: int = 1, parameters: dict[str, Any] = {}) -> str:  # noqa: B006 - as people write it
        return prompt


class Task(Model):
    @task
    def generate(self, prompt: str) -> Iterator[str]:
        yield prompt


class OtherTask(Model):
    @task
    def generate(self, seed: int) -> int:
        return seed

    @task
    def embed(self, picture: bytes) -> int:
        return len(picture)


def test_a_generate_of_prompt_or_messages_has_the_rest_as_options() -> None:
    generate = define(Both).text.generate
    assert generate is not None
    assert (True, True, ("max_tokens",), False) == (
        generate.prompt,
        generate.messages,
        generate.options,
        generate.open,
    )


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_new_tokens"])
def test_the_most_tokens_go_by_every_name_that_clients_use(name: str) -> None:
    generate = define(Both).text.generate
    assert generate is not None
    assert {"prompt": "a", "max_tokens": 9} == arguments(generate, {"prompt": "a"}, {name: 9})
    with pytest.raises(PillionError, match="it says the same as max_tokens"):
        arguments(generate, {"prompt": "a"}, {"max_tokens": 1, "max_new_tokens": 2})


def test_a_dict_of_parameters_takes_what_has_no_parameter_of_its_own() -> None:
    generate = define(Dict).text.generate
    assert generate is not None
    expected = {"prompt": "a", "top_k": 2, "parameters": {"min_p": 0.5}}
    assert expected == arguments(generate, {"prompt": "a"}, {"top_k": 2, "min_p": 0.5})


def test_a_task_called_generate_is_both_where_it_gives_text() -> None:
    assert define(Task).text.generate is not None
    assert ["generate"] == [one.name for one in define(Task).tasks]


def test_a_task_of_that_name_that_does_something_else_is_a_task_only() -> None:
    text = define(OtherTask).text
    assert (None, None) == (text.generate, text.embed)


class _NoPrompt(Model):
    def generate(self, seed: int) -> str:
        return str(seed)


class _Needs(Model):
    def generate(self, prompt: str, top_k: int) -> str:
        return prompt * top_k


class _NeedsOne(Model):
    def generate(self, prompt: str, messages: list[Any] | None = None) -> str:
        return prompt


class _Numbers(Model):
    def generate(self, prompt: str) -> Iterator[int]:
        yield len(prompt)


class _Parameters(Model):
    def generate(self, prompt: str, parameters: int = 1) -> str:
        return prompt * parameters


class _Pictures(Model):
    def embed(self, pictures: list[bytes]) -> list[list[float]]:
        return [[0.0] for _ in pictures]


class _OneByOne(Model):
    def embed(self, texts: list[str]) -> Iterator[list[float]]:
        yield [float(len(texts))]


@pytest.mark.parametrize(
    ("cls", "sentence"),
    [
        (_NoPrompt, r"_NoPrompt\.generate: .*takes prompt or messages: write generate\(self, prompt: str\)"),
        (_Needs, r"_Needs\.generate, parameter top_k: clients need not set it: give it a default"),
        (_NeedsOne, r"_NeedsOne\.generate: a call brings prompt or messages, not both: give prompt a default"),
        (_Numbers, r"_Numbers\.generate, return type: it gives text: str, or Iterator\[str\]"),
        (_Parameters, r"_Parameters\.generate, parameter parameters: .*make it a dict"),
        (_Pictures, r"_Pictures\.embed: .*write embed\(self, texts: list\[str\]\)"),
        (_OneByOne, r"_OneByOne\.embed: it gives all vectors at once"),
    ],
)
def test_a_class_that_cannot_be_called_so_is_told_where_and_why(cls: type[Any], sentence: str) -> None:
    with pytest.raises(AuthoringError, match=sentence):
        define(cls)
