"""`pillion build` against a real registry, read back by a client that nobody here wrote."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.image.conftest import HTPASSWD, Project, environ, pillion, write_base
from tests.registry import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

#: One package with code of its own for each platform, and one without: from PyPI, with the hashes of all their wheels.
LOCK = Path(__file__).with_name("mood.lock")
ELF_AARCH64 = 183


def crane_says(crane: Path, *arguments: str) -> str:
    done = subprocess.run([crane, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout


def exported(crane: Path, image: str, folder: Path, *arguments: str) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """The files of an image as another client puts its layers together."""
    target = folder / "export.tar"
    crane_says(crane, "export", *arguments, image, str(target))
    with tarfile.open(target) as archive:
        return {
            member.name: (member, content.read() if (content := archive.extractfile(member)) else b"")
            for member in archive
        }


def test_a_pushed_image_is_valid_to_another_client_and_holds_the_project(
    project: Project, host: str, crane: Path, tmp_path: Path
) -> None:
    (project.folder / ".env").write_text("KEY=secret")
    done = project.builds("--push", f"{host}/team/mood:v1")

    assert 0 == done.returncode, done.stderr
    pinned = done.stdout.strip()
    assert pinned == f"{host}/team/mood@{crane_says(crane, 'digest', f'{host}/team/mood:v1').strip()}"
    assert "left out, because such files hold secrets: .env" in done.stderr
    subprocess.run([crane, "validate", "--remote", pinned], check=True, capture_output=True, timeout=60)
    config: dict[str, Any] = json.loads(crane_says(crane, "config", pinned))
    assert ("65532:0", ["python", "-m", "pillion.server"]) == (config["config"]["User"], config["config"]["Entrypoint"])
    files = exported(crane, pinned, tmp_path)
    assert "app/.env" not in files
    member, content = files["app/service.py"]
    assert (project.folder / "service.py").read_bytes() == content
    assert (0o644, 0, 0) == (member.mode, member.uid, member.gid)
    models = json.loads(files["etc/pillion/models.yaml"][1])["models"]
    assert [{"module": "/app/service.py", "className": "Mood", "folder": "/app"}] == [one["code"] for one in models]


def test_dependencies_for_another_platform_are_that_platforms_and_come_from_the_cache_the_second_time(
    project: Project, host: str, crane: Path, tmp_path: Path
) -> None:
    shutil.copy(LOCK, project.folder / "requirements.lock")
    platforms = ("--platform", "linux/arm64", "--platform", "linux/amd64")
    first = project.builds(*platforms, "--push", f"{host}/both:v1")
    assert 0 == first.returncode, first.stderr
    assert 2 == first.stderr.count("fetching wheels for Python 3.11")
    (project.folder / "service.py").write_text((project.folder / "service.py").read_text() + "# edited\n")

    second = project.builds(*platforms, "--push", f"{host}/both:v2")

    assert (0, 2) == (second.returncode, second.stderr.count("cached"))
    assert "fetching" not in second.stderr
    listed = json.loads(crane_says(crane, "manifest", second.stdout.strip()))["manifests"]
    assert ["amd64", "arm64"] == [one["platform"]["architecture"] for one in listed]
    files = exported(crane, second.stdout.strip(), tmp_path, "--platform", "linux/arm64")
    assert b"arm64" == files["etc/os-release"][1]
    libraries = {name: content for name, (_, content) in files.items() if name.endswith(".so")}
    assert ["opt/app/lib/markupsafe/_speedups.cpython-311-aarch64-linux-gnu.so"] == list(libraries)
    assert all(ELF_AARCH64 == int.from_bytes(content[18:20], "little") for content in libraries.values())


def test_the_same_inputs_give_the_same_bytes_elsewhere_and_later(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "elsewhere" / "mood", project.base, environ(tmp_path / "elsewhere"))
    shutil.copytree(project.folder, other.folder)
    (other.folder / "service.py").touch()
    (other.folder / "service.py").chmod(0o600)

    written = [one.builds("-o", str(one.folder.parent / "mood.tar")) for one in (project, other)]

    assert [0, 0] == [done.returncode for done in written]
    assert (tmp_path / "mood.tar").read_bytes() == (other.folder.parent / "mood.tar").read_bytes()


def test_a_layout_is_valid_to_another_client_and_can_be_built_upon(project: Project, crane: Path, host: str) -> None:
    assert 0 == project.builds("-o", "../layout").returncode
    crane_says(crane, "push", str(project.folder / "../layout"), f"{host}/layout:v1")
    subprocess.run([crane, "validate", "--remote", f"{host}/layout:v1"], check=True, capture_output=True, timeout=60)

    for base in (str(project.folder / "../layout"), f"{host}/layout:v1"):
        again = pillion("build", "--base", base, "-o", "../again.tar", cwd=project.folder, env=project.env)
        assert 0 == again.returncode, again.stderr


def test_an_archive_is_valid_to_another_client(project: Project, crane: Path, host: str) -> None:
    assert 0 == project.builds("-o", "../mood.tar").returncode

    crane_says(crane, "validate", "--tarball", str(project.folder / "../mood.tar"))


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(project: Project) -> None:
    shutil.copy(LOCK, project.folder / "requirements.lock")
    done = project.builds("--dry-run", "--json")

    assert 0 == done.returncode, done.stderr
    said = json.loads(done.stdout)
    assert ["markupsafe", "tqdm"] == said["packages"]
    assert [{"platform": "linux/amd64", "python": "3.11", "cached": False}] == said["dependencies"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that asks who is there."""
    with registry(tmp_path_factory.mktemp("registry") / "guarded", htpasswd=HTPASSWD) as started:
        yield started


def test_a_login_of_docker_is_used_and_its_lack_is_said_with_the_remedy(project: Project, guarded: str) -> None:
    refused = project.builds("--push", f"{guarded}/mood:v1")
    folder = Path(project.env["DOCKER_CONFIG"])
    folder.mkdir()
    config = folder / "config.json"

    def log_in(password: str) -> None:
        auth = base64.b64encode(f"ann:{password}".encode()).decode()
        config.write_text(json.dumps({"auths": {guarded: {"auth": auth}}}))

    log_in("wrong")
    wrong = project.builds("--push", f"{guarded}/mood:v1")
    log_in("secret")
    done = project.builds("--push", f"{guarded}/mood:v1")

    assert (1, 1, 0) == (refused.returncode, wrong.returncode, done.returncode), done.stderr
    assert f"nobody is logged in: `docker login {guarded}`" in refused.stderr
    assert f"the login in {config} is not accepted" in wrong.stderr
    assert "wrong" not in wrong.stderr.replace("the login", "")


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("--push", "127.0.0.1:1/mood:v1"), 1, "error: the registry 127.0.0.1:1 cannot be reached"),
        (("--base", "127.0.0.1:1/none:v1", "-o", "../a.tar"), 1, "error: the registry 127.0.0.1:1 cannot be reached"),
        (("--base", "none.tar", "-o", "../a.tar"), 2, "error: --base none.tar: no such file"),
        (("--base", ".", "-o", "../a.tar"), 2, "not an OCI layout"),
        (("--platform", "windows/amd64", "-o", "../a.tar"), 2, "images are made for linux/amd64 and linux/arm64"),
        (("--push", "Mood"), 2, "is no name of an image"),
        ((), 2, "error: say where the image goes"),
        (("--artifact", "weights.bin", "-o", "../a.tar"), 2, "error: --artifact weights.bin: not among the files"),
        (("-o", "."), 2, "is there already and is no OCI layout"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    project: Project, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    done = project.builds(*arguments)

    assert (code, True) == (done.returncode, expected in done.stderr), done.stderr
    assert [] == list(project.folder.parent.glob("*.tar"))


def test_an_unknown_base_is_said_by_its_name(project: Project, host: str) -> None:
    done = project.builds("--base", f"{host}/none:v1", "-o", "../a.tar")

    assert (2, f"error: {host}/none:v1: the registry has no such image\n") == (done.returncode, done.stderr)


def test_a_registry_that_cannot_be_reached_is_named_with_what_to_look_at(project: Project) -> None:
    here = project.builds("--base", "127.0.0.1:1/pillion-runtime:v1", "-o", "../a.tar")
    elsewhere = project.builds("--base", "registry.invalid/pillion-runtime:v1", "-o", "../a.tar")

    assert (1, 1) == (here.returncode, elsewhere.returncode)
    assert "the registry 127.0.0.1:1 cannot be reached" in here.stderr
    assert "Is it running on this machine?" in here.stderr
    assert "one without TLS is named by --insecure-registry registry.invalid" in elsewhere.stderr


def test_the_base_that_nobody_named_is_said_before_it_is_looked_for(project: Project) -> None:
    said = pillion("build", "-o", "../a.tar", cwd=project.folder, env=project.env).stderr

    assert said.startswith("base: localhost/pillion-runtime:")
    assert "PILLION_IMAGE_REGISTRY=HOST/TEAM says where Pillion's images are" in said


def test_a_base_that_does_not_serve_is_refused(project: Project, tmp_path: Path) -> None:
    other = write_base(tmp_path / "other", entry=("nginx",))
    done = project.builds("--base", str(other), "-o", "../a.tar")

    assert (2, True) == (done.returncode, "no image of Pillion's runtime: its entry point is nginx" in done.stderr)


def test_a_base_with_damaged_content_is_refused(project: Project) -> None:
    for blob in (project.base / "blobs" / "sha256").iterdir():
        blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    done = project.builds("-o", "../a.tar")

    assert (1, True) == (done.returncode, "is damaged" in done.stderr), done.stderr


def test_a_dependency_without_a_wheel_names_package_platform_and_remedy(project: Project) -> None:
    lock = f"pycrypto==2.6.1 --hash=sha256:{'0' * 64}\n"
    (project.folder / "requirements.lock").write_text(lock)
    done = project.builds("--platform", "linux/arm64", "-o", "../a.tar")

    assert 1 == done.returncode
    assert "error: pycrypto==2.6.1 has no wheel for linux/arm64 and Python 3.11" in done.stderr
    assert "pip wheel pycrypto==2.6.1 -w wheels" in done.stderr


def test_a_wheel_with_other_content_than_locked_is_not_used(project: Project) -> None:
    (project.folder / "requirements.lock").write_text(f"tqdm==4.67.1 --hash=sha256:{'0' * 64}\n")
    done = project.builds("-o", "../a.tar")

    assert (1, True) == (done.returncode, "tqdm==4.67.1 has another content than the lock says" in done.stderr)


def test_deploying_a_class_prints_a_manifest_that_names_the_image_by_its_digest(project: Project, host: str) -> None:
    arguments = ("deploy", ".", "--image", f"{host}/deployed:v1", "--base", str(project.base), "--dry-run")
    done = pillion(*arguments, cwd=project.folder, env=project.env)
    built = project.builds("--push", f"{host}/deployed:v1")

    assert 0 == done.returncode, done.stderr
    manifest = yaml.safe_load(done.stdout)
    container = {"name": "runtime", "image": built.stdout.strip()}
    assert ("mood", {"predictor": {"containers": [container]}}) == (manifest["metadata"]["name"], manifest["spec"])


def test_deploying_a_class_without_an_image_says_that_one_is_needed(project: Project) -> None:
    for target in (".", "service.py:Mood"):
        done = pillion("deploy", target, cwd=project.folder, env=project.env)

        assert (2, True) == (done.returncode, f"pillion deploy {target} --image HOST/NAME:TAG" in done.stderr)
