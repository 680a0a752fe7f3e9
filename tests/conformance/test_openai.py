"""OpenAI's own client against the real server: texts, streams, vectors, and each refusal as the exception it raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.conftest import run_script
from tests.integration.own_python.program import serving
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.own_python.program import Program

SERVICE = """
import time
from collections.abc import Iterator
from typing import Any

from pillion import Finish, Model


class Story(Model):
    def generate(
        self,
        messages: list[dict[str, Any]] | None = None,
        prompt: str | None = None,
        max_tokens: int = 3,
        fail_after: int = -1,
    ) -> Iterator[str | Finish]:
        said = prompt or messages[-1]["content"]
        if not said:
            raise ValueError("nothing to continue")
        for place in range(max_tokens):
            if place == fail_after:
                raise RuntimeError("out of ideas")
            yield f"w{place} "
            time.sleep(0.001)
        yield Finish("length", prompt_tokens=len(said.split()), completion_tokens=max_tokens)


class Clerk(Model):
    def generate(
        self,
        messages: list[dict[str, Any]],
        stop: list[str] | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: str = "auto",
        logprobs: bool = False,
    ) -> Iterator[str | Finish]:
        if tools and messages[-1]["role"] == "user":
            call = {"name": tools[0]["function"]["name"], "arguments": {"city": "Oslo"}}
            yield Finish(prompt_tokens=3, completion_tokens=7, tool_calls=[call])
            return
        for count, word in enumerate(["it ", "is ", "END", " cold"]):
            yield word
            if stop and word in stop:
                break
        scores = {"content": [{"token": "it", "logprob": -0.5, "bytes": None, "top_logprobs": []}], "refusal": None}
        yield Finish(prompt_tokens=3, completion_tokens=count + 1, logprobs=scores if logprobs else None)


class Counter(Model):
    def generate(self, prompt: str) -> Iterator[str | Finish]:
        for count in range(100_000):
            yield f"{count} "
            yield Finish("length", prompt_tokens=1, completion_tokens=count + 1)


class Words(Model):
    def embed(self, texts: list[str]) -> list[list[float]]:
        return [[float(len(text)), 0.5] for text in texts]
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder: Path = tmp_path_factory.mktemp("openai")
    (folder / "service.py").write_text(SERVICE)
    with serving(folder, "service.py:Story", "service.py:Words", "service.py:Clerk", "service.py:Counter") as program:
        yield program


@pytest.fixture(scope="module", params=["/v1", "/openai/v1"])
def results(program: Program, request: pytest.FixtureRequest) -> dict[str, Any]:
    return run_script("openai", "openai_client.py", f"127.0.0.1:{program.ports['http']}", request.param)


BROKEN = "model story/1 failed: RuntimeError: out of ideas (see the server's log)"
CALLED = '{"city":"Oslo"}'
BAD = "invalid_argument"
WHOLE = "w0 w1 w2 w3 "
USAGE = {"prompt_tokens": 2, "completion_tokens": 4}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("models", [[name, "model", "pillion"] for name in ("clerk", "counter", "story", "words")]),
        ("model", "story"),
        ("chat", ["chat.completion", "assistant", WHOLE, "length", USAGE]),
        ("several", [[0, "w0 w1 ", "stop"], [1, "w0 w1 ", "stop"]]),
        ("completion", ["text_completion", ["w0 w1 ", "w0 w1 "], {"prompt_tokens": 2, "completion_tokens": 4}]),
        ("completion_stream", [["w0 ", None], ["w1 ", None], ["", "length"]]),
        ("embeddings", [[[1.0, 0.5], [3.0, 0.5]], [[1.0, 0.5], [3.0, 0.5]]]),
        (
            "broken_stream",
            [["", "w0 "], "APIError", BROKEN],
        ),
        ("asynchronous", "w0 w1 "),
        ("tool_calls", [None, "tool_calls", "weather", CALLED, {"prompt_tokens": 3, "completion_tokens": 7}]),
        ("tool_calls_stream", [["weather", CALLED, True], "tool_calls"]),
        ("tool_answer", "it is END cold"),
        ("logprobs", [["it", -0.5], ["it", -0.5]]),
        ("stopped", ["it is ", "stop", {"prompt_tokens": 3, "completion_tokens": 3}]),
        ("stopped_stream", ["it is ", "stop", {"prompt_tokens": 3, "completion_tokens": 3}]),
        ("stopped_counting", ["0 1 ", "stop", {"prompt_tokens": 1, "completion_tokens": 2}]),
        ("leaves", "assistant"),
    ],
)
def test_it_gets(results: dict[str, Any], case: str, expected: object) -> None:
    assert expected == results[case]


def test_a_stream_says_role_pieces_reason_and_usage(results: dict[str, Any]) -> None:
    role, text, reason, usage = results["chat_stream"]
    assert ("assistant", "length", USAGE) == (role, reason, usage)
    assert WHOLE == "".join(piece or "" for piece in text)


@pytest.mark.parametrize(
    ("case", "raised", "status", "param", "code", "sentence"),
    [
        ("unknown", "NotFoundError", 404, None, "model_not_found", "Request for unknown model"),
        (
            "not_a_generator",
            "BadRequestError",
            400,
            "model",
            "invalid_argument",
            "'words' does not generate text; clerk, counter, story can",
        ),
        ("temperature", "BadRequestError", 400, "temperature", BAD, "it takes: max_tokens, fail_after"),
        ("tools", "BadRequestError", 400, "tools", BAD, "the model does not take this option"),
        ("logprobs_refused", "BadRequestError", 400, "logprobs", BAD, "the model does not take this option"),
        (
            "wrong_type",
            "BadRequestError",
            400,
            "max_tokens",
            "invalid_argument",
            "max_tokens: should be a valid integer",
        ),
        ("empty", "BadRequestError", 400, "messages", BAD, "should be a list of messages"),
        ("refused_by_the_model", "BadRequestError", 400, None, BAD, "nothing to continue"),
        ("fails", "InternalServerError", 500, None, "model_failed", "out of ideas"),
        ("dimensions", "BadRequestError", 400, "dimensions", BAD, "it takes: none"),
        ("tokens", "BadRequestError", 400, "input", BAD, "ids of tokens are not taken"),
    ],
)
def test_it_raises(
    results: dict[str, Any], case: str, raised: str, status: int, param: str | None, code: str | None, sentence: str
) -> None:
    found = results[case]
    assert (raised, status, param, code) == (found["raised"], found["status"], found["param"], found["code"])
    assert sentence in found["message"]
    assert found["id"]


def test_a_model_that_is_not_there_is_not_found(results: dict[str, Any]) -> None:
    # The sentence is lost on this client below /v1, where the route is V1's, too, and its errors are V1's.
    assert ("NotFoundError", 404) == (results["no_model"]["raised"], results["no_model"]["status"])


def test_a_client_that_left_in_a_stream_holds_nothing(results: dict[str, Any], program: Program) -> None:
    assert "assistant" == results["leaves"]

    until_now(lambda: program.gauge("pillion_in_flight") == 0 and program.gauge("pillion_abandoned_calls") == 0)
