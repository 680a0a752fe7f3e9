"""How much memory a server needs for the upload of a large model: `python -m bench.model_upload [MiB]`.

Without a size it is 1 GiB, and `bench/results/model-upload.md` and json are written.

A file of random bytes cannot be loaded, so what is sent is a folder: a small model that can, and the large file beside
it. The server is a real one on loopback; its peak of resident memory (VmHWM) is read before and after.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.models import train_iris
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Mapping

RESULTS = Path(__file__).parent / "results"
_MIB = 1024 * 1024
#: Of the project's aims: memory beyond what the server had before, for 1 GiB.
_MOST_MIB = 64


def peak_kib(pid: int) -> int:
    """The largest resident memory of a process so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise RuntimeError("no VmHWM in /proc: this is for Linux")
    return int(found[1])


def table(found: Mapping[str, float]) -> str:
    """The page of one measurement."""
    rate = found["mib"] / found["seconds"]
    return f"""# Uploading a large model

A model and a file of random bytes beside it, sent as `multipart/form-data` by curl over loopback to a real `pillion
serve --store`, which writes, hashes and synchronises them before it loads the model. The peak of the server's resident
memory (VmHWM) is read before and after; a small model was deployed before. The aim is {_MOST_MIB} MiB at most.

Python {platform.python_version()}, {os.cpu_count()} CPUs.

| sent | seconds | MiB/s | memory beyond before |
|---|---|---|---|
| {found["mib"]:,} MiB | {found["seconds"]} | {rate:.0f} | {found["extra_rss_mib"]} MiB |
"""


def main() -> None:
    """Measure once, print a line of JSON, and keep it where the size is the one of the aim."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    with tempfile.TemporaryDirectory(prefix="pillion-upload-") as name:
        folder = Path(name)
        model = train_iris(folder).onnx
        large = folder / "large.bin"
        with large.open("wb") as file:
            for _ in range(size):
                file.write(os.urandom(_MIB))
        command = [
            *(sys.executable, "-m", "pillion.cli.main", "serve", "--store", str(folder / "store"), "--json"),
            *("--http-port", "0", "--grpc-port", "0", "--admin-port", "0"),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                if server.stdout is None:
                    raise RuntimeError("no output")
                ports = json.loads(server.stdout.readline())["ports"]
                url = f"http://127.0.0.1:{ports['http']}/management/models"

                def send(files: list[Path]) -> float:
                    began = time.perf_counter()
                    curl = ["curl", "-sf", "-F", "model_id=iris", *(f"-Ff=@{path}" for path in files), url]
                    subprocess.run(curl, check=True, stdout=subprocess.DEVNULL)
                    return time.perf_counter() - began

                send([model])  # what the first deployment imports is not the upload's
                until_now(lambda: httpx.get(url.replace("management", "info")).status_code == httpx.codes.OK)
                before = peak_kib(server.pid)
                seconds = send([model, large])
                grown = (peak_kib(server.pid) - before) / 1024
                found = {"mib": size, "seconds": round(seconds, 2), "extra_rss_mib": round(grown, 1)}
                print(json.dumps(found))
                if len(sys.argv) == 1:
                    (RESULTS / "model-upload.json").write_text(json.dumps(found, indent=1) + "\n")
                    (RESULTS / "model-upload.md").write_text(table(found))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
