"""Rows that a real server predicts: over HTTP and HTTPS, also where it turns requests away or is not there."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest
from sklearn.datasets import load_iris

from tests.certificates import Authority
from tests.integration.server.process import served, write_config

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.batchpod.conftest import Bucket, Pods
    from tests.models import IrisModels

FEATURES = load_iris().data


def flowers(copies: int = 1) -> str:
    rows = [",".join(map(str, row)) for _ in range(copies) for row in FEATURES]
    return "\n".join(["a,b,c,d", *rows]) + "\n"


def order(bucket: Bucket, url: str, **service: Any) -> dict[str, Any]:
    return {
        "input": {"at": f"{bucket.uri}/in.csv"},
        "output": {"at": f"{bucket.uri}/out"},
        "service": {"url": url, "model": "iris", **service},
    }


@pytest.fixture
def config(tmp_path: Path, iris: IrisModels) -> Path:
    path = tmp_path / "runtime.yaml"
    write_config(path, {"iris": iris.skops})
    return path


def predictions(bucket: Bucket) -> list[str]:
    text = bucket.read("out/flowers/part-00000.csv").decode()
    return [row["prediction"] for row in csv.DictReader(io.StringIO(text))]


def test_a_service_predicts_the_rows_and_a_bad_one_fails_alone(
    pods: Pods, bucket: Bucket, tmp_path: Path, config: Path, iris: IrisModels
) -> None:
    bucket.put("in.csv", flowers() + "x,1,1,1\n1e999,1,1,1\n")

    with served(tmp_path, config) as server:
        pod = pods.start(batch_size=16, **order(bucket, server.url()))
        assert 0 == pod.wait(), pod.log

    assert [str(label) for label in iris.estimator.predict(FEATURES)] == predictions(bucket)
    errors = {error["row"]: error["reason"] for error in bucket.lines("out/flowers/_errors")}
    assert {151, 152} == set(errors)
    assert "column 'a': 'x' is no FP64" == errors[151]


def test_who_is_turned_away_comes_back_as_late_as_the_server_asks(
    pods: Pods, bucket: Bucket, tmp_path: Path, iris: IrisModels
) -> None:
    bucket.put("in.csv", flowers(4))
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.skops}, {"limits": {"max_in_flight": 1, "max_queue": 0}})

    with served(tmp_path, config) as server:
        pod = pods.start(batch_size=4, concurrency=32, **order(bucket, server.url()))
        assert 0 == pod.wait(), pod.log
        turned_away = server.metric('pillion_requests_total{code="queue_full",model="iris",protocol="v1",version="1"}')

    assert turned_away > 0

    assert [str(label) for label in iris.estimator.predict(FEATURES)] * 4 == predictions(bucket)
    assert {"read": 600, "written": 600, "failed": 0} == pod.word["batch"]["rows"]


def test_the_certificate_of_a_service_is_checked(pods: Pods, bucket: Bucket, tmp_path: Path, config: Path) -> None:
    bucket.put("in.csv", flowers())
    ours, others = Authority(), Authority("others")
    cert, key = ours.issue().write(tmp_path / "tls")
    for authority, name in ((ours, "ours.crt"), (others, "others.crt")):
        (tmp_path / name).write_text(authority.pem)
    flags = ("--tls-server-cert", str(cert), "--tls-server-key", str(key))

    with served(tmp_path, config, *flags, ready=False) as server:
        server.wait_ready()
        url = f"https://localhost:{server.ports['http']}"
        stranger = pods.start(**order(bucket, url, ca=str(tmp_path / "others.crt"), patience_seconds=1.0))
        assert 75 == stranger.wait(), stranger.log
        friend = pods.start(**order(bucket, url, ca=str(tmp_path / "ours.crt")))
        assert 0 == friend.wait(), friend.log

    assert "ServiceUnavailable" == stranger.word["reason"]
    assert "CERTIFICATE_VERIFY_FAILED" in stranger.word["message"]
    assert 150 == len(predictions(bucket))


def test_a_model_that_the_service_does_not_have_ends_it_at_once(
    pods: Pods, bucket: Bucket, tmp_path: Path, config: Path
) -> None:
    bucket.put("in.csv", flowers())

    with served(tmp_path, config) as server:
        wanted = order(bucket, server.url())
        wanted["service"]["model"] = "iriss"
        pod = pods.start(**wanted)
        assert 65 == pod.wait(), pod.log

    assert "ServiceRefused" == pod.word["reason"]
    assert "answered 404" in pod.word["message"]
    assert "iriss" in pod.word["message"]


def test_a_key_that_is_wanted_and_not_given_is_said(pods: Pods, bucket: Bucket, tmp_path: Path, config: Path) -> None:
    bucket.put("in.csv", flowers())

    with served(tmp_path, config, env={"PILLION_AUTH__API_KEY": "open-sesame"}) as server:
        without = pods.start(**order(bucket, server.url()))
        assert 65 == without.wait(), without.log
        given = pods.start(environment={"PILLION_API_KEY": "open-sesame"}, **order(bucket, server.url()))
        assert 0 == given.wait(), given.log

    assert "PILLION_API_KEY" in without.word["remedy"]
    assert "sesame" not in given.log + without.log
