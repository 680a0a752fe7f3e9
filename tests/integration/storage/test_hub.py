"""Fetching models from a hub: what is chosen, broken downloads, tokens, refusals."""

from __future__ import annotations

import base64
import os
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pillion.storage import FetchOptions, Reason, StorageError, fetch
from tests.certificates import Authority
from tests.forward_proxy import ForwardProxy, forward_proxy
from tests.integration.storage.conftest import LOCAL
from tests.integration.storage.faultyserver import Fault, FaultyServer
from tests.integration.storage.hubserver import Hub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WEIGHTS = os.urandom(3_000_000)
MODEL = {
    "config.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": os.urandom(5000),
    "tf_model.h5": os.urandom(5000),
    "onnx/model.onnx": b"onnx",
    "original/consolidated.00.pth": os.urandom(5000),
    ".gitattributes": b"*.bin filter=lfs",
}


@pytest.fixture
def hub(server: FaultyServer, other_server: FaultyServer) -> Hub:
    return Hub(server, other_server)


def placed(dest: Path) -> set[str]:
    return {path.relative_to(dest).as_posix() for path in dest.rglob("*") if path.is_file()} - {
        ".pillion-artifact.json"
    }


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    with forward_proxy() as found:
        yield found


@pytest.mark.parametrize("wants", ["nothing", "a login"])
async def test_a_hub_is_reached_through_the_proxy_of_the_environment(
    hub: Hub, dest: Path, proxy: ForwardProxy, wants: str
) -> None:
    """To the proxy every name is this machine; the hub's leads nowhere else."""
    hub.put("acme/words", {"config.json": b"{}"})
    endpoint = hub.server.url().replace("127.0.0.1", "hub.example")
    environment = {"HF_ENDPOINT": endpoint, "http_proxy": proxy.url}
    if wants == "a login":
        proxy.login = f"Basic {base64.b64encode(b'me:hush').decode()}"
        with pytest.raises(StorageError, match="407") as refused:
            await fetch("hf://acme/words", dest, FetchOptions(), environment=environment)
        assert "hush" not in str(refused.value)
        environment["http_proxy"] = proxy.url.replace("//", "//me:hush@")

    await fetch("hf://acme/words", dest, FetchOptions(attempts=1), environment=environment)

    assert b"{}" == (dest / "config.json").read_bytes()
    assert any(asked.startswith(f"GET {endpoint}/acme/words/resolve/") for asked in proxy.asked)


async def test_an_encrypted_hub_is_reached_through_a_tunnel_with_its_token(
    dest: Path, proxy: ForwardProxy, tmp_path: Path
) -> None:
    authority = Authority()
    cert, key = authority.issue(host="hub.example").write(tmp_path, "hub")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    (tmp_path / "ca.crt").write_text(authority.pem)
    options = FetchOptions(attempts=1, ca_bundle=tmp_path / "ca.crt")
    with FaultyServer(context=context) as server:
        hub = Hub(server, server)
        hub.put("acme/words", {"config.json": b"{}"}, token="hf_5ecret")
        environment = {
            "HF_ENDPOINT": server.url().replace("127.0.0.1", "hub.example"),
            "HF_TOKEN": "hf_5ecret",
            "HTTPS_PROXY": proxy.url,
        }
        await fetch("hf://acme/words", dest, options, environment=environment)
        assert {f"CONNECT {environment['HF_ENDPOINT'].partition('://')[2]}"} == set(proxy.asked)

        with pytest.raises(StorageError, match=r"cannot be resolved|no connection"):
            await fetch("hf://acme/words", dest / "2", options, environment=environment | {"NO_PROXY": "hub.example"})
    assert b"{}" == (dest / "config.json").read_bytes()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HF_ENDPOINT", "http://hub.example", "HF_TOKEN would go there without encryption"),
        ("HTTPS_PROXY", "https://proxy.example", "is a proxy that is reached by TLS"),
        ("HTTPS_PROXY", "socks5://proxy.example", "HTTPS_PROXY: socks5://proxy.example is no proxy of HTTP"),
    ],
)
async def test_what_would_tell_the_token_or_cannot_be_used_is_refused_by_name(
    dest: Path, variable: str, value: str, said: str
) -> None:
    environment = {"HF_ENDPOINT": "https://hub.example", "HF_TOKEN": "hf_5ecret"} | {variable: value}
    with pytest.raises(StorageError, match=said) as refused:
        await fetch("hf://acme/words", dest, FetchOptions(attempts=1), environment=environment)
    assert Reason.INVALID_SETTING is refused.value.reason
    assert "5ecret" not in str(refused.value)


async def test_the_metadata_service_is_not_reached_through_a_proxy_either(dest: Path, proxy: ForwardProxy) -> None:
    environment = {"HF_ENDPOINT": "http://169.254.169.254", "http_proxy": proxy.url}
    with pytest.raises(StorageError) as refused:
        await fetch("hf://acme/words", dest, FetchOptions(attempts=1), environment=environment)
    assert (Reason.FORBIDDEN_ADDRESS, []) == (refused.value.reason, proxy.asked)


async def test_a_model_comes_without_its_weights_in_other_formats(hub: Hub, dest: Path) -> None:
    hub.put("acme/words", MODEL)

    artifact = await fetch("hf://acme/words", dest, LOCAL, environment=hub.environment)

    assert {"config.json", "model.safetensors", "onnx/model.onnx"} == placed(dest)
    assert WEIGHTS == (dest / "model.safetensors").read_bytes()
    assert ("tree", 3) == (artifact.kind, len(artifact.files))


async def test_all_files_come_where_that_is_asked_for_and_where_there_are_no_safetensors(hub: Hub, dest: Path) -> None:
    hub.put("acme/words", MODEL)
    hub.put("acme/old", {name: data for name, data in MODEL.items() if name != "model.safetensors"})

    await fetch("hf://acme/words", dest, replace(LOCAL, hub_files="all"), environment=hub.environment)
    await fetch("hf://acme/old", dest / "old", LOCAL, environment=hub.environment)

    assert MODEL.keys() == {name for name in placed(dest) if not name.startswith("old/")}
    assert MODEL.keys() - {"model.safetensors", ".gitattributes"} == placed(dest / "old")


async def test_a_branch_that_moves_meanwhile_mixes_nothing(hub: Hub, dest: Path) -> None:
    first = hub.put("acme/words", MODEL, revision="v1")
    hub.put("acme/words", {**MODEL, "config.json": b'{"new": 1}'}, revision="v1")

    await fetch("hf://acme/words:v1", dest, LOCAL, environment=hub.environment)
    await fetch(f"hf://acme/words:{first}", dest / "first", LOCAL, environment=hub.environment)

    assert (b'{"new": 1}', b"{}") == ((dest / "config.json").read_bytes(), (dest / "first/config.json").read_bytes())


async def test_a_broken_download_goes_on_at_the_store_although_its_validator_is_not_the_hubs(
    hub: Hub, dest: Path
) -> None:
    hub.put("acme/words", MODEL)
    (blob,) = [one for one in hub.store.resources.values() if one.data == WEIGHTS]
    blob.faults.append(Fault(cut_after=2_000_000))

    await fetch("hf://acme/words", dest, LOCAL, environment=hub.environment)

    asked = [seen.range for seen in hub.store.seen]
    assert [None] == asked[:1]
    assert asked[1] is not None
    assert WEIGHTS == (dest / "model.safetensors").read_bytes()


async def test_a_file_that_is_not_what_the_hub_says_is_refused(hub: Hub, dest: Path) -> None:
    hub.put("acme/words", MODEL)
    (blob,) = [one for one in hub.store.resources.values() if one.data == WEIGHTS]
    blob.data = WEIGHTS[:-1] + b"x" if WEIGHTS[-1:] != b"x" else WEIGHTS[:-1] + b"y"

    with pytest.raises(StorageError) as caught:
        await fetch("hf://acme/words", dest, LOCAL, environment=hub.environment)

    assert Reason.DIGEST_MISMATCH == caught.value.reason
    assert not (dest / "model.safetensors").exists()


async def test_a_token_goes_to_the_hub_and_not_to_its_store(hub: Hub, dest: Path) -> None:
    hub.put("acme/private", MODEL, token="hf_5ecret")

    await fetch("hf://acme/private", dest, LOCAL, environment={**hub.environment, "HF_TOKEN": "hf_5ecret"})

    assert {"Bearer hf_5ecret"} == {seen.headers.get("authorization") for seen in hub.server.seen}
    assert {None} == {seen.headers.get("authorization") for seen in hub.store.seen}


@pytest.mark.parametrize(
    ("code", "status", "reason", "says"),
    [
        ("GatedRepo", 403, Reason.ACCESS_DENIED, "accepted its conditions"),
        ("RepoNotFound", 401, Reason.ACCESS_DENIED, "there is no model 'acme/words'"),
        ("RevisionNotFound", 404, Reason.OBJECT_NOT_FOUND, "has no revision 'main'"),
        ("", 404, Reason.OBJECT_NOT_FOUND, "there is no model 'acme/words'"),
    ],
)
async def test_a_refusal_is_told_in_the_hubs_terms(
    hub: Hub, dest: Path, code: str, status: int, reason: Reason, says: str
) -> None:
    hub.refuse("acme/words", code, status)

    with pytest.raises(StorageError) as caught:
        await fetch("hf://acme/words", dest, LOCAL, environment=hub.environment)

    assert reason == caught.value.reason
    assert says in caught.value.message
    assert caught.value.remedy


async def test_a_name_that_leaves_the_folder_is_refused(hub: Hub, dest: Path) -> None:
    hub.put("acme/words", {"../../etc/evil": b"x"})

    with pytest.raises(StorageError) as caught:
        await fetch("hf://acme/words", dest, LOCAL, environment=hub.environment)

    assert Reason.UNSAFE_PATH == caught.value.reason


async def test_an_answer_that_is_no_hubs_is_told_as_such(server: FaultyServer, dest: Path) -> None:
    server.put("/api/models/acme/words/revision/main", b"<html>a proxy's page</html>")

    with pytest.raises(StorageError) as caught:
        await fetch("hf://acme/words", dest, LOCAL, environment={"HF_ENDPOINT": server.url()})

    assert "did not answer as a hub" in caught.value.message


@pytest.mark.parametrize("endpoint", ["hub.example.com", "ftp://x", "https://user:pw@hub.example.com", "https://x?y=1"])
async def test_an_endpoint_that_is_none_is_named(dest: Path, endpoint: str) -> None:
    with pytest.raises(StorageError) as caught:
        await fetch("hf://acme/words", dest, LOCAL, environment={"HF_ENDPOINT": endpoint})

    assert (Reason.INVALID_SETTING, True) == (caught.value.reason, "HF_ENDPOINT" in caught.value.message)
    assert "pw" not in str(caught.value)


async def test_a_redirect_to_a_forbidden_address_is_refused(hub: Hub, dest: Path) -> None:
    commit = hub.put("acme/words", MODEL)
    hub.server.resources[f"/acme/words/resolve/{commit}/model.safetensors"].redirect = "http://169.254.169.254/latest"

    with pytest.raises(StorageError) as caught:
        await fetch("hf://acme/words", dest, LOCAL, environment=hub.environment)

    assert Reason.FORBIDDEN_ADDRESS == caught.value.reason


async def test_what_is_in_place_and_has_not_changed_costs_its_list(hub: Hub, dest: Path) -> None:
    hub.put("acme/words", MODEL)
    await fetch("hf://acme/words", dest, LOCAL, environment=hub.environment)
    before = len(hub.server.seen)

    again = await fetch("hf://acme/words", dest, replace(LOCAL, reuse="revalidate"), environment=hub.environment)

    assert (True, before + 3) == (again.reused, len(hub.server.seen))
