"""How much memory a server needs for the upload of a large model: `python -m bench.model_upload [MiB]`.

A file of random bytes cannot be loaded, so what is sent is a folder: a small model that can, and the large file beside
it. The server is a real one on loopback; its peak of resident memory (VmHWM) is read before and after.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.models import train_iris
from tests.waiting import until_now

_MIB = 1024 * 1024


def peak_kib(pid: int) -> int:
    """The largest resident memory of a process so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise RuntimeError("no VmHWM in /proc: this is for Linux")
    return int(found[1])


def main() -> None:
    """Measure once and print a line of JSON."""
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
                print(json.dumps({"mib": size, "seconds": round(seconds, 2), "extra_rss_mib": round(grown, 1)}))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
