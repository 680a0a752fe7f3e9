"""Names of images."""

from __future__ import annotations

import pytest

from pillion.oci.errors import ImageError
from pillion.oci.reference import Reference

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python", "docker.io/library/python:latest"),
        ("team/mood:v1", "docker.io/team/mood:v1"),
        ("[::1]:5000/mood:v1", "[::1]:5000/mood:v1"),
        ("localhost/mood", "localhost/mood:latest"),
        ("127.0.0.1:5000/team/mood:v1", "127.0.0.1:5000/team/mood:v1"),
        (f"registry.example/mood@{DIGEST}", f"registry.example/mood@{DIGEST}"),
    ],
)
def test_short_names_are_filled_in_as_docker_does(text: str, expected: str) -> None:
    assert expected == str(Reference.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "registry.example/Mood:v1",
        "registry.example/mood:",
        "a/b@sha256:12",
        "a b",
        "registry.example:many/mood",
        "registry.example:70000/mood",
        "registry.example:0/mood",
        "regis\ntry.example/mood",
        "registry.example?x/mood",
        "evil.example#.registry/mood",
        "[::1/mood",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="is no name of an image"):
        Reference.parse(text)
