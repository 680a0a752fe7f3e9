"""An image that `pillion build` made is run by a container runtime, under a user of nobody's choosing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster.node import images, prerequisites
from e2e.cluster.node.buildah import Buildah

LOCK = Path(__file__).parents[1] / "tests" / "integration" / "image" / "mood.lock"
#: Run inside of the container: start the server as the image does, ask it once, end it.
PROGRAM = """
import json, os, subprocess, sys, urllib.request
import markupsafe._speedups, tqdm
server = subprocess.Popen([sys.executable, "-m", "pillion.server", "--config", "/etc/pillion/runtime.yaml"],
                          stderr=subprocess.PIPE, text=True)
ports = {}
for line in server.stderr:
    said = json.loads(line)
    ports = said.get("ports", ports)
    if said["message"] == "ready":
        break
body = json.dumps({"text": "good good bad"}).encode()
url = f"http://127.0.0.1:{ports['http']}/classify"
request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
answer = urllib.request.urlopen(request, timeout=10).read().decode()
server.terminate()
print(json.dumps({"answer": answer, "user": [os.getuid(), os.getgid()], "native": markupsafe._speedups.__file__,
                  "ended": server.wait(30)}))
"""


@pytest.mark.smoke
@pytest.mark.timeout(600)
def test_a_built_image_serves_under_any_user_of_group_0(tmp_path: Path) -> None:
    prerequisites.require({"buildah": "buildah"}, "run an image")
    pillion = Path(sys.executable).parent / "pillion"
    subprocess.run([pillion, "new", "mood", "-t", "python", "--into", tmp_path / "mood"], check=True)
    shutil.copy(LOCK, tmp_path / "mood" / "requirements.lock")
    base = images.build("runtime")
    command: list[str | Path] = [pillion, "build", tmp_path / "mood", "--base", base, "-o", tmp_path / "mood.tar"]
    subprocess.run(command, check=True)
    variables = {f"PILLION_{port}__PORT": "0" for port in ("HTTP", "GRPC", "ADMIN")}

    with Buildah().container(f"oci-archive:{tmp_path / 'mood.tar'}") as run:
        said = json.loads(run("python", "-c", PROGRAM, user="12345:0", variables=variables).splitlines()[-1])

    native = "/opt/app/lib/markupsafe/_speedups.cpython-311-x86_64-linux-gnu.so"
    assert {"answer": "1", "user": [12345, 0], "native": native, "ended": 0} == said
