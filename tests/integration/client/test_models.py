"""Models by arrays, over each transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import pillion
from pillion.client import InvalidInput, NeverSent, NotFound, Retries

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
each = pytest.mark.parametrize("scheme", ["http", "unix", "grpc"])


@pytest.fixture
def client(urls: dict[str, str], scheme: str) -> Iterator[pillion.Client]:
    with pillion.Client(urls[scheme]) as client:
        yield client


@each
def test_a_model_predicts_for_arrays_and_lists(client: pillion.Client) -> None:
    client.wait_ready(10)
    for rows in (ROWS, np.asarray(ROWS), {"X": np.asarray(ROWS, dtype=np.float32)}):
        answer = client.model("iris").predict(rows)
        assert [0, 2] == answer["label"].tolist()
        assert ((2, 3), np.float32) == (answer["probabilities"].shape, answer["probabilities"].dtype)
    assert [0, 2] == client.model("iris").predict(ROWS, output="label").tolist()


@each
def test_a_table_gives_tables_with_its_index(client: pillion.Client) -> None:
    answer = client.model("iris").predict(pd.DataFrame(ROWS, index=["a", "b"]))
    assert {"a": 0, "b": 2} == answer["label"].to_dict()
    assert ["a", "b"] == list(answer["probabilities"].index)


@each
def test_the_lower_level_gives_arrays_by_name(client: pillion.Client) -> None:
    found = client.model("iris").infer({"X": np.asarray(ROWS, dtype=np.float32)}, outputs=["label"])
    assert ["label"] == list(found)
    assert np.int64 == found["label"].dtype
    assert {"name": "X", "datatype": "FP32", "shape": [-1, 4]} == client.model("iris").metadata()["inputs"][0]


@each
def test_the_servers_sentence_is_raised_by_kind(client: pillion.Client) -> None:
    with pytest.raises(NotFound, match="Request for unknown model: 'nope'") as unknown:
        client.model("nope").predict(ROWS)
    assert 404 == unknown.value.status
    with pytest.raises(InvalidInput, match=r"has shape \[1, 3\], expected \[-1, 4\]"):
        client.model("iris").infer({"X": np.zeros((1, 3), np.float32)})
    with pytest.raises(ValueError, match="Y: the model has no such input; it has: X"):
        client.model("iris").predict({"Y": ROWS})


@each
async def test_the_asynchronous_client_does_the_same(urls: dict[str, str], scheme: str) -> None:
    async with pillion.AsyncClient(urls[scheme]) as client:
        await client.wait_ready(10)
        model = client.model("iris")
        assert [0, 2] == (await model.predict(ROWS))["label"].tolist()
        found = [one["label"][0] async for one in client.stream(np.asarray(ROWS)[:, None], model.predict)]
        assert [0, 2] == found
        with pytest.raises(NotFound, match="nope"):
            await client.model("nope").predict(ROWS)


def test_rows_of_json_need_no_arrays(urls: dict[str, str]) -> None:
    with pillion.Client(urls["http"]) as client:
        assert ["iris", "labels"] == sorted(client.models())
        assert [0, 2] == [one["label"] for one in client.predict(ROWS, model="iris")]
        with pytest.raises(ValueError, match="name one, model="):
            client.predict(ROWS)


def test_a_stream_over_a_server_keeps_its_order(urls: dict[str, str]) -> None:
    with pillion.Client(urls["http"]) as client:
        model = client.model("iris")
        found = list(
            client.stream([[row] for row in ROWS * 20], lambda x: model.predict(x, output="label"), return_x=True)
        )
        assert [0, 2] * 20 == [result[0] for _, result in found]
        assert [[row] for row in ROWS * 20] == [x for x, _ in found]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "grpc://127.0.0.1:9", "unix:///nowhere/at.sock"])
async def test_a_server_that_is_not_there_was_never_sent_anything(url: str) -> None:
    policy = Retries(attempts=2, backoff=0)
    with pillion.Client(url, retries=policy) as client:
        assert not client.ready()
        with pytest.raises(NeverSent, match="cannot connect to"):
            client.model("iris").metadata()
    async with pillion.AsyncClient(url, retries=policy) as client_:
        with pytest.raises(NeverSent, match="cannot connect to"):
            await client_.model("iris").metadata()


def test_tasks_are_said_to_go_by_http_over_grpc(urls: dict[str, str]) -> None:
    with pillion.Client(urls["grpc"]) as client, pytest.raises(pillion.client.ClientError, match="by http"):
        client.call("classify", text="a")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("127.0.0.1:8080", "is not http"),
        ("ftp://x", "is not http"),
        ("http://", "is not http"),
        ("unix://socket", "whole path"),
        (None, "PILLION_URL"),
    ],
)
def test_a_url_that_cannot_be_is_refused(url: str | None, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PILLION_URL", raising=False)
    with pytest.raises(ValueError, match=sentence):
        pillion.Client(url)


def test_the_url_may_be_the_environments(urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PILLION_URL", urls["http"])
    with pillion.Client() as client:
        assert client.ready()
