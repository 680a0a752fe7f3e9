"""An image that `pillion build` made for arm64 is started as it says itself, and answers; QEMU runs it elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from e2e.cluster.node import emulation, gotools, images, prerequisites
from tests.registry import registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from e2e.harness.report import Report

LOCK: Final = Path(__file__).parents[1] / "tests" / "integration" / "image" / "mood.lock"
PILLION: Final = Path(sys.executable).parent / "pillion"
#: Uses compiled code of the project's own lock and of the runtime's: what an image for another processor gets wrong.
SERVICE: Final = """import os, platform
import lightgbm, markupsafe._speedups, numpy, onnxruntime, pandas, sklearn.linear_model, tqdm, xgboost
from pillion import Model, task

class Mood(Model):
    def load(self):
        rows, sides = numpy.arange(40.0).reshape(-1, 1), numpy.arange(40) >= 20
        quick = {"n_estimators": 3, "n_jobs": 1}
        self.models = [
            sklearn.linear_model.LogisticRegression().fit(rows, sides),
            lightgbm.LGBMClassifier(**quick, min_child_samples=1, verbose=-1).fit(rows, sides),
            xgboost.XGBClassifier(**quick).fit(rows, sides),
        ]

    @task
    def sides(self, at: float) -> list[int]:
        return [int(model.predict(numpy.array([[at]]))[0]) for model in self.models]

    @task
    def about(self) -> list[str]:
        return [platform.machine(), f"{os.getuid()}:{os.getgid()}", markupsafe._speedups.__file__]
"""
#: Its arguments: the root, the working folder, the user, the group, then variables, `--` and the command. As containers
#: have it: a root that cannot be written, /tmp that can, and no variable but those that were given.
CONTAINER: Final = """
root=$1 folder=$2 user=$3 group=$4; shift 4
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -o remount,bind,ro "$root"
variables=(); while [ "$1" != -- ]; do variables+=("$1"); shift; done; shift
exec env -i "${variables[@]}" unshare --root="$root" --wd="$folder" --setgid="$group" --setuid="$user" -- "$@"
"""
_ELF_AARCH64: Final = 183


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_an_image_of_arm64_starts_answers_and_ends_under_any_user_of_group_0(tmp_path: Path, report: Report) -> None:
    lacking = emulation.lacking()
    if lacking:
        pytest.skip(lacking)
    prerequisites.require({"buildah": "buildah"}, "build the runtime's image")
    base = images.build("runtime", arm64=True)
    root = tmp_path / "root"
    with registry(tmp_path / "registry") as host:
        image = built(tmp_path, base, f"{host}/mood:v1")
        config = unpacked(image, root)
    assert ("arm64", {_ELF_AARCH64}) == (config["architecture"], machines(root))

    began = time.monotonic()
    server = started(root, config["config"], tmp_path / "log")
    try:
        ports = ports_when_ready(server, tmp_path / "log")
        took = round(time.monotonic() - began, 1)
        low, high = rest(ports["http"], "sides", {"at": 3.0}), grpc(ports["grpc"], "SidesPredict", {"at": 30.0})
        machine, user, native = rest(ports["http"], "about", {})
        server.send_signal(signal.SIGTERM)
        ended = server.wait(120)
    finally:
        server.kill()

    assert (low, high) == ([0, 0, 0], {"result": ["1", "1", "1"]})
    assert (machine, user) == ("aarch64", "12345:0")
    assert native == "/opt/app/lib/markupsafe/_speedups.cpython-311-aarch64-linux-gnu.so"
    assert ended == 0, (tmp_path / "log").read_text()
    report.add("image-of-arm64", seconds_to_ready_emulated=took, exit_code=ended)


def built(folder: Path, base: Path, name: str) -> str:
    """Build and push an image of a project with dependencies; its name by its digest."""
    project = folder / "mood"
    project.mkdir()
    (project / "service.py").write_text(SERVICE)
    shutil.copy(LOCK, project / "requirements.lock")
    options = ("--platform", "linux/arm64", "--base", str(base), "--push", name)
    environ = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "DOCKER_CONFIG": str(folder / "docker")}
    done = subprocess.run(
        [PILLION, "build", project, *options], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def unpacked(image: str, root: Path) -> dict[str, Any]:
    """Put the image's layers together in a folder, by a client that nobody here wrote; its configuration."""
    crane = gotools.ensure(["crane"])["crane"]
    root.mkdir()
    with subprocess.Popen([crane, "export", image, "-"], stdout=subprocess.PIPE) as exported:
        tar = ["tar", "--extract", "--numeric-owner", "--preserve-permissions", f"--directory={root}"]
        subprocess.run(tar, stdin=exported.stdout, check=True)
    assert exported.returncode == 0
    config: dict[str, Any] = json.loads(subprocess.check_output([crane, "config", image]))
    return config


def machines(root: Path) -> set[int]:
    """What processors the programs and libraries below a folder are for."""
    heads = (head(file) for file in root.rglob("*") if file.is_file() and not file.is_symlink())
    return {int.from_bytes(found[18:20], "little") for found in heads if found.startswith(b"\x7fELF")}


def head(file: Path) -> bytes:
    """The first bytes of a file."""
    with file.open("rb") as opened:
        return opened.read(20)


def started(root: Path, config: dict[str, Any], log: Path) -> subprocess.Popen[bytes]:
    """Start what the image starts, under another user of its group."""
    _, _, group = config["User"].partition(":")
    ports = [f"PILLION_{port}__PORT=0" for port in ("HTTP", "GRPC", "ADMIN")]
    command = emulation.command(
        "bash", "-euc", CONTAINER, "container", str(root), config["WorkingDir"], "12345", group, *config["Env"], *ports,
        "--", *config["Entrypoint"], *config["Cmd"],
    )  # fmt: skip  # what the namespace is given, then what the image says
    with log.open("wb") as written:
        return subprocess.Popen(command, stdout=written, stderr=written)


def ports_when_ready(server: subprocess.Popen[bytes], log: Path) -> dict[str, int]:
    """Wait for the line that says that it serves; the ports from another one."""
    while True:
        ended = server.poll()
        lines = list(records(log))
        if any(line["message"] == "ready" for line in lines):
            return next(line["ports"] for line in lines if "ports" in line)
        assert ended is None, log.read_text()
        time.sleep(0.2)


def records(log: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log that are whole."""
    for line in log.read_text().splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            yield json.loads(line)


def rest(port: int, method: str, arguments: dict[str, Any]) -> list[Any]:
    """Ask over HTTP; both methods return lists."""
    url, headers = f"http://127.0.0.1:{port}/{method}", {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(arguments).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        said: list[Any] = json.load(answer)
        return said


def grpc(port: int, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Ask by a client that learns everything from the server's reflection."""
    grpcurl = gotools.ensure(["grpcurl"])["grpcurl"]
    call: Sequence[str] = ("-plaintext", "-d", json.dumps(arguments), f"127.0.0.1:{port}", f"mood.MoodService/{method}")
    said: dict[str, Any] = json.loads(subprocess.check_output([grpcurl, *call], timeout=60))
    return said
