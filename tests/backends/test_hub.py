"""The hub of the storage tests is one that the hub's own client takes for real."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.integration.storage.faultyserver import FaultyServer
from tests.integration.storage.hubserver import Hub

if TYPE_CHECKING:
    from pathlib import Path

_FETCH = "import sys, huggingface_hub as h; print(h.snapshot_download(sys.argv[1], local_dir=sys.argv[2]))"


def test_the_hubs_own_client_fetches_from_the_server_of_the_storage_tests(tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": os.urandom(50_000), "onnx/model.onnx": b"onnx"}
    with FaultyServer() as server, FaultyServer() as store:
        hub = Hub(server, store)
        hub.put("acme/words", files, token="hf_secret")
        # In a process of its own: the package reads its environment as it is imported.
        subprocess.run(
            [sys.executable, "-c", _FETCH, "acme/words", str(tmp_path / "model")],
            env={
                **os.environ,
                **hub.environment,
                "HF_TOKEN": "hf_secret",
                "HF_HOME": str(tmp_path / "home"),
                "HF_HUB_DISABLE_XET": "1",
                # A served pipeline of a test before it has switched the network off for this process.
                "HF_HUB_OFFLINE": "0",
            },
            check=True,
            timeout=120,
        )

    assert files == {name: (tmp_path / "model" / name).read_bytes() for name in files}
