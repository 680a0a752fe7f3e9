"""A folder with keys, as a Secret is mounted: several callers, each with a key of its own, that come and go."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest

from pillion.protocol.protos import open_inference_pb2 as pb
from tests.integration.server.process import command, environment, iris_request, served, write_config
from tests.integration.server.test_api_key import _method
from tests.integration.server.test_tls import Mounted
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels

INFER = "/v2/models/iris/infer"
SHOP, BANK, OTHER = "key-of-the-shop", "key-of-the-bank", "key-of-another"


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    folder = Mounted(tmp_path / "keys")
    folder.put(shop=SHOP, bank=BANK)
    return folder


@pytest.fixture
def server(tmp_path: Path, iris: IrisModels, mounted: Mounted) -> Iterator[ServerProcess]:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx})
    with served(tmp_path, config, env={"PILLION_AUTH__API_KEYS": str(mounted.folder)}) as process:
        yield process


def rest(server: ServerProcess, key: str | None) -> int:
    headers = {} if key is None else {"x-api-key": key}
    return httpx.post(server.url(INFER), json=iris_request(), headers=headers).status_code


def over_grpc(server: ServerProcess, key: str) -> grpc.StatusCode:
    request = pb.ModelInferRequest(model_name="iris")
    tensor = request.inputs.add(name="X", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([5.1, 3.5, 1.4, 0.2])
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        infer = _method(channel, "ModelInfer", pb.ModelInferResponse)
        try:
            infer(request, metadata=(("authorization", f"Bearer {key}"),))
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
    return grpc.StatusCode.OK


def test_every_key_of_the_folder_is_good_and_no_other(server: ServerProcess) -> None:
    assert [200, 200, 401, 401] == [rest(server, key) for key in (SHOP, BANK, OTHER, None)]
    assert [grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED] == [over_grpc(server, key) for key in (BANK, OTHER)]
    assert 200 == httpx.get(server.url("/v2/health/ready")).status_code


def test_a_key_is_taken_from_one_caller_and_given_to_another_without_a_restart(
    server: ServerProcess, mounted: Mounted
) -> None:
    mounted.put(bank=BANK, other=OTHER)
    (mounted.folder / "shop").unlink()

    until_now(lambda: rest(server, OTHER) == 200)

    assert [401, 200] == [rest(server, key) for key in (SHOP, BANK)]
    assert [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.OK] == [over_grpc(server, key) for key in (SHOP, OTHER)]


def test_a_key_of_a_caller_predicts_and_changes_no_model(tmp_path: Path, iris: IrisModels, mounted: Mounted) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx})
    on = {"PILLION_AUTH__API_KEYS": str(mounted.folder), "PILLION_MANAGEMENT__ENABLED": "true"}

    def unload(server: ServerProcess, key: str) -> httpx.Response:
        return httpx.post(server.url("/v2/repository/models/iris/unload"), headers={"x-api-key": key})

    with served(tmp_path, config, env=on) as server:
        refused = unload(server, SHOP)
        assert 403 == refused.status_code
        said = "whose callers have keys of their own (auth.api_keys), until there is a token"
        assert said in refused.json()["error"]
        assert "set management.token (PILLION_MANAGEMENT__TOKEN) from a secret" in refused.json()["error"]
        assert 200 == rest(server, SHOP)
        server.wait_logged("management.enabled is set, and nobody may change models through http")

    with served(tmp_path, config, env=on | {"PILLION_MANAGEMENT__TOKEN": "of-the-owner"}) as server:
        assert 401 == unload(server, SHOP).status_code
        assert 200 == rest(server, SHOP) == rest(server, "of-the-owner")
        assert not server.logged("management.enabled is set, and nobody")
        assert 200 == unload(server, "of-the-owner").status_code


def test_a_file_without_a_key_lets_nobody_in_and_the_others_go_on(server: ServerProcess, mounted: Mounted) -> None:
    mounted.put(shop=SHOP, bank="two words\n")

    until_now(lambda: bool(server.logged("bank is empty, or has white space")))

    until_now(lambda: rest(server, BANK) == 401)
    assert 200 == rest(server, SHOP)
    assert "two words" not in server.log_file.read_text()


def test_without_any_key_left_nobody_gets_in(server: ServerProcess, mounted: Mounted) -> None:
    for name in ("shop", "bank"):
        (mounted.folder / name).unlink()

    until_now(lambda: [401, 401] == [rest(server, SHOP), rest(server, BANK)])  # they went one after the other

    assert 401 == rest(server, None)
    server.wait_logged("holds no key, so that nobody could call")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "is no folder"),
        ({}, "holds no key, so that nobody could call: add a file with one"),
        ({"shop": ""}, "shop is empty, or has white space"),
        ({"shop": "ends in a line break\n"}, "make it with --from-literal"),
        ({"shop": "x" * 5000}, "shop has more than 4096 bytes"),
    ],
)
def test_a_folder_that_cannot_be_used_ends_the_start(files: dict[str, str] | None, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    write_config(tmp_path / "runtime.yaml", {})
    started = command(tmp_path / "runtime.yaml")

    done = subprocess.run(
        started,
        env=environment(PILLION_AUTH__API_KEYS=str(folder)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 2 == done.returncode
    assert said in done.stderr
