"""Texts token by token from a model of transformers, and vectors of an embedder, as clients of language models ask."""

from __future__ import annotations

import base64
import json
import re
import threading
from typing import TYPE_CHECKING, Any, cast

import httpx
import numpy as np
import pytest

from pillion.authoring.finish import Finish
from pillion.stopping import StopFinder
from tests.backends.hub import embedder, gpt, load, texts
from tests.backends.nets import predict
from tests.integration.own_python.program import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pillion.backends.huggingface import PipelineModel
    from tests.integration.own_python.program import Program

PROMPT = "paris is the"
TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }} {% endfor %}{% if add_generation_prompt %}is{% endif %}"
)


def with_template(folder: Path) -> Path:
    gpt(folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": TEMPLATE}))
    return folder


def streamed(model: PipelineModel, wanted: int | None = None, **arguments: Any) -> tuple[list[str], Finish | None]:
    """The pieces, and the end; nobody reads on after ``wanted`` pieces."""
    pieces: list[str] = []
    ends: list[Finish] = []

    def put(item: str | Finish) -> bool:
        if isinstance(item, Finish):
            ends.append(item)
        else:
            pieces.append(item)
        return wanted is None or len(pieces) < wanted

    generate = model.text.generate
    assert generate is not None
    model.stream(generate.task, arguments).run(put)
    return pieces, ends[0] if ends else None


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> PipelineModel:
    return cast("PipelineModel", load(gpt(tmp_path_factory.mktemp("story"))))


def test_the_pieces_are_the_text_that_a_tensor_answers_with(story: PipelineModel) -> None:
    whole = predict(story, texts(PROMPT), None)["generated_text"][0].decode()
    pieces, finish = streamed(story, prompt=PROMPT)
    assert whole == "".join(pieces)
    assert len(pieces) > 20
    assert Finish("length", prompt_tokens=3, completion_tokens=29) == finish


def test_max_tokens_is_obeyed_and_refused_where_there_is_no_room(story: PipelineModel) -> None:
    pieces, finish = streamed(story, prompt=PROMPT, max_tokens=4)
    assert Finish("length", 3, 4) == finish
    assert 4 == len("".join(pieces).split())
    with pytest.raises(ValueError, match=r"3 tokens, and with max_tokens 30 .* more than the 32"):
        streamed(story, prompt=PROMPT, max_tokens=30)


def test_a_stop_ends_the_generation_and_is_not_shown(story: PipelineModel) -> None:
    whole = "".join(streamed(story, prompt=PROMPT)[0])
    stop = whole.split()[3]
    pieces, finish = streamed(story, prompt=PROMPT, stop=[stop])
    finder = StopFinder([stop])
    assert finder.feed(whole) == "".join(pieces)
    assert finish is not None
    assert "stop" == finish.reason
    assert (finish.completion_tokens or 99) < 29


def test_nobody_reading_on_ends_it_with_the_next_token(story: PipelineModel) -> None:
    pieces, finish = streamed(story, wanted=2, prompt=PROMPT)
    assert 2 == len(pieces)
    assert finish is not None
    assert (finish.completion_tokens or 99) < 5


def test_a_temperature_makes_texts_differ_and_zero_does_not(story: PipelineModel) -> None:
    same = {"".join(streamed(story, prompt=PROMPT, temperature=0)[0]) for _ in range(3)}
    assert 1 == len(same)
    assert 1 < len({"".join(streamed(story, prompt=PROMPT, temperature=2.0)[0]) for _ in range(5)})


def test_a_conversation_becomes_a_text_by_the_tokenizers_template(tmp_path: Path) -> None:
    model = cast("PipelineModel", load(with_template(tmp_path)))
    parts = [{"role": "user", "content": [{"type": "text", "text": "paris"}]}]
    expected = streamed(model, prompt="paris is")
    assert expected == streamed(model, messages=parts)
    with pytest.raises(ValueError, match=r"messages\[0\]\.content: the model takes text only"):
        streamed(model, messages=[{"role": "user", "content": [{"type": "image_url"}]}])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("hub")
    gpt(made / "story")
    with_template(made / "chat")
    embedder(made / "words", ("Pooling", {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}))
    return made


@pytest.fixture(scope="module")
def program(folder: Path) -> Iterator[Program]:
    with serving(folder, "story", "chat", "words") as program:
        yield program


def post(program: Program, path: str, **body: Any) -> httpx.Response:
    return httpx.post(program.url(path), json=body, timeout=30, trust_env=False)


def test_the_server_streams_what_it_answers(program: Program) -> None:
    whole = post(program, "/v1/completions", model="story", prompt=PROMPT).json()
    assert {"prompt_tokens": 3, "completion_tokens": 29, "total_tokens": 32} == whole["usage"]
    streamed = post(program, "/v1/completions", model="story", prompt=PROMPT, stream=True).text
    events = [line.removeprefix("data: ") for line in streamed.split("\n\n") if line]
    assert "[DONE]" == events[-1]
    assert whole["choices"][0]["text"] == "".join(json.loads(one)["choices"][0]["text"] for one in events[:-1])
    answer = post(program, "/v2/models/story/generate", text_input=PROMPT).json()
    assert whole["choices"][0]["text"] == answer["text_output"]


def test_a_chat_needs_a_template(program: Program) -> None:
    messages = [{"role": "user", "content": "paris"}]
    answer = post(program, "/v1/chat/completions", model="chat", messages=messages, max_completion_tokens=3)
    assert 200 == answer.status_code
    assert ("assistant", 3) == (
        answer.json()["choices"][0]["message"]["role"],
        answer.json()["usage"]["completion_tokens"],
    )
    refused = post(program, "/v1/chat/completions", model="story", messages=messages)
    assert (400, "messages") == (refused.status_code, refused.json()["error"]["param"])


@pytest.mark.parametrize(
    ("option", "value"), [("temperature", 3), ("top_p", 0), ("max_tokens", 0), ("seed", 1), ("logprobs", 2)]
)
def test_what_it_cannot_do_is_refused_by_its_name(program: Program, option: str, value: object) -> None:
    refused = post(program, "/v1/completions", model="story", prompt=PROMPT, **{option: value})
    assert (400, option) == (refused.status_code, refused.json()["error"]["param"])


def test_vectors_are_those_of_the_tensor_and_their_tokens_are_counted(program: Program) -> None:
    given = ["good day", "paris"]
    expected = post(program, "/v1/models/words:predict", instances=given).json()["predictions"]
    answer = post(program, "/v1/embeddings", model="words", input=given).json()
    np.testing.assert_allclose(expected, [one["embedding"] for one in answer["data"]], atol=2e-6)
    assert {"prompt_tokens": 7, "total_tokens": 7} == answer["usage"]
    packed = post(program, "/v1/embeddings", model="words", input=given, encoding_format="base64").json()
    found = np.frombuffer(base64.b64decode(packed["data"][1]["embedding"]), "<f4")
    np.testing.assert_allclose(expected[1], found, atol=2e-6)


def test_several_at_once_get_what_one_gets(program: Program) -> None:
    expected = post(program, "/v1/completions", model="story", prompt=PROMPT).json()["choices"][0]["text"]
    found: list[str] = []

    def ask() -> None:
        found.append(post(program, "/v1/completions", model="story", prompt=PROMPT).json()["choices"][0]["text"])

    asking = [threading.Thread(target=ask) for _ in range(8)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert [expected] * 8 == found


def test_worker_processes_answer_as_threads_do(program: Program, folder: Path) -> None:
    messages = [{"role": "user", "content": "paris"}]
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/v1/completions", {"model": "story", "prompt": PROMPT}),
        ("/v1/completions", {"model": "story", "prompt": PROMPT, "stream": True}),
        ("/v1/completions", {"model": "story", "prompt": ""}),
        ("/v1/chat/completions", {"model": "chat", "messages": messages, "max_completion_tokens": 3}),
        ("/v1/chat/completions", {"model": "story", "messages": messages}),
        ("/v1/embeddings", {"model": "words", "input": ["good day", "paris"]}),
    ]
    with serving(folder, "story", "chat", "words", "--executor", "process", "--processes", "1") as other:
        for path, body in asked:
            expected, found = post(program, path, **body), post(other, path, **body)
            assert (expected.status_code, _steady(expected.text)) == (found.status_code, _steady(found.text))


def _steady(text: str) -> str:
    """Without what is another in each answer."""
    return re.sub(r'"(id|created)":("[^"]*"|[0-9]+)', r'"\1":0', text)
