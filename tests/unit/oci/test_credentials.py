"""Credentials as `docker login` leaves them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from pillion.oci.credentials import Credentials, find_credentials
from pillion.oci.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path


def configured(folder: Path, document: object) -> dict[str, str]:
    (folder / "config.json").write_text(json.dumps(document))
    return {"DOCKER_CONFIG": str(folder)}


def test_a_login_is_found_by_the_registry_and_nothing_for_another(tmp_path: Path) -> None:
    auth = base64.b64encode(b"ann:se:cret").decode()
    environ = configured(tmp_path, {"auths": {"registry.example": {"auth": auth}}})

    assert Credentials("ann", "se:cret") == find_credentials("registry.example", environ)
    assert None is find_credentials("other.example", environ)


def test_the_login_of_docker_hub_has_its_old_key(tmp_path: Path) -> None:
    environ = configured(tmp_path, {"auths": {"https://index.docker.io/v1/": {"identitytoken": "t"}}})

    assert Credentials(identity_token="t") == find_credentials("docker.io", environ)


def test_a_helper_is_asked(tmp_path: Path) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text('#!/bin/sh\nread registry\necho "{\\"Username\\":\\"$registry\\",\\"Secret\\":\\"s\\"}"\n')
    helper.chmod(0o755)
    environ = configured(tmp_path, {"credHelpers": {"registry.example": "test"}}) | {"PATH": str(tmp_path)}
    found = find_credentials("registry.example", {**environ, "PATH": f"{tmp_path}:/usr/bin:/bin"})

    assert Credentials("registry.example", "s") == found


def test_a_password_is_not_printed() -> None:
    assert "secret" not in repr(Credentials("ann", "secret"))


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")

    with pytest.raises(ImageError, match=r"config\.json"):
        find_credentials("registry.example", {"DOCKER_CONFIG": str(tmp_path)})
