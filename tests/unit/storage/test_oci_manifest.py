"""What manifests of registries hold for a model server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pillion.storage import Reason, StorageError
from pillion.storage.oci_manifest import child, contents

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
WHERE = "oci://registry.example/iris:1"


def blob(media_type: str, number: int = 1, /, **annotations: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{number:064x}", "size": 3, "annotations": annotations}


def titled(name: str, media_type: str = "application/octet-stream", **more: str) -> dict[str, Any]:
    return blob(media_type, **{"org.opencontainers.image.title": name}, **more)


def model(kind: str, path: str) -> dict[str, Any]:
    return blob(f"application/vnd.cncf.model.{kind}", **{"org.cncf.model.filepath": path})


def found(*layers: dict[str, Any], **more: Any) -> tuple[list[str], int, bool]:
    inside = contents(json.dumps({"layers": layers, **more}).encode(), WHERE)
    return [file.path for file in inside.files], len(inside.layers), inside.image


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([blob(LAYER)], ([], 1, True)),
        ([blob("application/vnd.docker.image.rootfs.diff.tar.gzip"), blob(LAYER, 2)], ([], 2, True)),
        ([titled("iris.skops")], (["iris.skops"], 0, False)),
        ([titled("iris.skops", "application/vnd.oci.image.layer.v1.tar")], (["iris.skops"], 0, False)),
        ([titled("./data/a"), titled("b"), blob("application/vnd.oci.empty.v1+json")], (["data/a", "b"], 0, False)),
        ([titled("folder", LAYER, **{"io.deis.oras.content.unpack": "true"})], ([], 1, False)),
        ([model("weight.v1.raw", "w/a.bin"), model("doc.v1.raw", "README.md")], (["w/a.bin", "README.md"], 0, False)),
        ([model("weight.v1.tar", "w"), model("weight.config.v1.tar+gzip", "c")], ([], 2, False)),
        ([model("weight.v1.tar+zstd", "w"), model("doc.v1.raw", "README.md")], (["README.md"], 1, False)),
    ],
)
def test_files_and_layers_are_told_apart(layers: list[dict[str, Any]], expected: tuple[list[str], int, bool]) -> None:
    assert expected == found(*layers)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"layers": []}, "has no files"),
        ({"layers": [], "artifactType": "application/vnd.example.sbom"}, "application/vnd.example.sbom"),
        ({"layers": [blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip")]}, "helm.chart"),
        ({"layers": [blob("application/vnd.cncf.model.weight.v1.xz")]}, "weight.v1.xz"),
        ({"layers": [titled("a"), titled("./a")]}, "twice"),
        ({"layers": [{"mediaType": LAYER, "digest": "sha512:00", "size": 1}]}, "no sha256 digest"),
        ({"layers": [{"mediaType": LAYER, "digest": f"sha256:{'a' * 64}", "size": -1}]}, "-1 bytes"),
        ({"layers": [{"mediaType": LAYER}]}, "without mediaType"),
        ({"layers": "all"}, "did not come as a manifest"),
        ({"layers": [1]}, "did not come as a manifest"),
        ({"layers": [{**blob(LAYER), "annotations": [1]}]}, "did not come as a manifest"),
        ([], "did not come as a manifest"),
    ],
)
def test_what_holds_no_model_is_named(document: Any, says: str) -> None:
    with pytest.raises(StorageError) as caught:
        contents(json.dumps(document).encode(), WHERE)

    assert (Reason.OBJECT_NOT_FOUND, True) == (caught.value.reason, says in caught.value.message), caught.value
    assert "pillion push" in caught.value.remedy


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "a\\b", "a\nb", ".partial/owner"])
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(StorageError) as caught:
        found(titled(name))

    assert Reason.UNSAFE_PATH == caught.value.reason


def image(number: int, architecture: str = "", system: str = "linux") -> dict[str, Any]:
    platform = {"platform": {"os": system, "architecture": architecture}} if architecture else {}
    return {"mediaType": MANIFEST, "digest": f"sha256:{number:064x}", "size": 3, **platform}


@pytest.mark.parametrize(
    ("entries", "chosen"),
    [
        ([image(1, "amd64"), image(2, "arm64")], 2),
        ([image(1, "amd64"), image(2, "s390x")], 1),
        ([image(1, "unknown", "unknown"), image(2, "amd64")], 2),
        ([image(1, "arm64", "windows"), image(2, "arm64")], 2),
        ([image(1, "arm64", "windows"), image(2, "amd64")], 2),
        ([image(1)], 1),
    ],
)
def test_of_an_index_this_machines_image_is_taken_else_the_first(entries: list[dict[str, Any]], chosen: int) -> None:
    index = json.dumps({"manifests": entries}).encode()

    descriptor = child(INDEX, index, "arm64", WHERE)

    assert descriptor is not None
    assert f"sha256:{chosen:064x}" == descriptor.digest


def test_a_manifest_is_no_index_and_an_empty_index_is_named() -> None:
    assert None is child(MANIFEST, b'{"layers": []}', "amd64", WHERE)
    with pytest.raises(StorageError, match="without images"):
        child(INDEX, b'{"manifests": []}', "amd64", WHERE)
