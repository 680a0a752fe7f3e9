"""KServe's `STORAGE_CONFIG` against a real S3 server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.storage.conftest import S3Server


def fetch(dest: Path, **config: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pillion.storage", "--uri", "s3://models/entry", "--dest", str(dest)]
    return subprocess.run(
        [*command, "--allow-private-hosts", "--attempts", "1"],
        env={**os.environ, "STORAGE_CONFIG": json.dumps({"type": "s3", "bucket": "models", **config})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def credentials(s3: S3Server) -> dict[str, str]:
    return {
        "endpoint_url": s3.endpoint,
        "access_key_id": s3.environment["AWS_ACCESS_KEY_ID"],
        "secret_access_key": s3.environment["AWS_SECRET_ACCESS_KEY"],
    }


def test_an_entry_of_the_secret_is_enough_to_fetch(s3_process: S3Server, dest: Path) -> None:
    s3_process.put("models/entry/model.onnx", b"model")

    done = fetch(dest, **credentials(s3_process))

    assert 0 == done.returncode, done.stderr
    assert b"model" == (dest / "model.onnx").read_bytes()


def test_wrong_credentials_of_the_entry_are_refused_and_not_shown(s3_process: S3Server, dest: Path) -> None:
    s3_process.put("models/entry/model.onnx", b"model")

    done = fetch(dest, **(credentials(s3_process) | {"secret_access_key": "not-the-right-one"}))

    assert 22 == done.returncode, done.stderr
    assert "not-the-right-one" not in done.stderr
