from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.sbom import components, distribution, document

ROOT = Path(__file__).parents[3]
LOCKS = [*sorted((ROOT / "requirements").glob("runtime*.lock")), ROOT / "requirements" / "operator.lock"]
CENTRAL = {"operator": "kopf", "runtime-torch": "torch", "runtime-huggingface": "transformers"}
LOCK = """\
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:aa
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:bb
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:cc
Some_Thing==1.0 \\
    --hash=sha256:dd
"""


@pytest.mark.parametrize(("python", "numpy"), [("3.11", "2.4.6"), ("3.12", "2.5.5")])
def test_a_bill_lists_what_the_lock_installs_for_the_images_python(python: str, numpy: str) -> None:
    assert [f"pkg:pypi/numpy@{numpy}", "pkg:pypi/some-thing@1.0"] == [c["purl"] for c in components(LOCK, python)]


def test_another_lock_is_another_document_and_the_same_lock_the_same() -> None:
    one, same, other = (document("image", "1", lock) for lock in (LOCK, LOCK, LOCK + "\n"))

    assert one == same
    assert one["serialNumber"] != other["serialNumber"]
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", one["serialNumber"])
    assert [component["bom-ref"] for component in one["components"]] == one["dependencies"][0]["dependsOn"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_the_script_that_the_images_run_gives_the_same_bytes_twice(lock: Path) -> None:
    command = [sys.executable, "scripts/sbom.py", "pillion-runtime", str(lock)]
    first, second = (subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout for _ in range(2))

    assert first == second
    names = {component["name"] for component in json.loads(first)["components"]}
    assert CENTRAL.get(lock.stem, "scikit-learn") in names


def test_a_bill_lists_the_distributions_packages_that_are_installed_with_purls(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('PRETTY_NAME="Debian GNU/Linux 12"\nVERSION_ID="12"\nID=debian\n')
    stanzas = [
        "Package: login\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:4.13+dfsg1-1~deb12u1\n",
        "Package: adduser\nStatus: install ok installed\nArchitecture: all\nVersion: 3.134\n",
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n",
        "Package: half\nStatus: install ok half-installed\nArchitecture: amd64\nVersion: 1\n",
    ]
    (tmp_path / "var/lib/dpkg/status").write_text("\n".join(stanzas))

    found = distribution(tmp_path)

    assert [
        "pkg:deb/debian/adduser@3.134?arch=all&distro=debian-12",
        "pkg:deb/debian/login@1%3A4.13%2Bdfsg1-1~deb12u1?arch=amd64&distro=debian-12",
    ] == [component["purl"] for component in found]
    whole = document("image", "1", LOCK, system=found)
    assert {component["purl"] for component in found} < set(whole["dependencies"][0]["dependsOn"])
    assert whole["serialNumber"] != document("image", "1", LOCK)["serialNumber"]


def test_each_variant_of_the_runtime_differs_from_it_in_scikit_learn_and_what_that_brings() -> None:
    def packages(lock: Path) -> dict[str, str]:
        return {component["name"]: component["version"] for component in components(lock.read_text(), "3.11")}

    base = packages(ROOT / "requirements" / "runtime.lock")
    variants = [lock for lock in LOCKS if "-sklearn-" in lock.stem]
    assert variants
    for lock in variants:
        found = packages(lock)
        assert found["scikit-learn"].startswith(lock.stem.rpartition("-")[2] + ".")
        differing = {name for name in base.keys() | found.keys() if base.get(name) != found.get(name)}
        assert {"scikit-learn"} <= differing <= {"scikit-learn", "narwhals", "joblib", "threadpoolctl"}
