"""Write the software bill of materials of an image, CycloneDX 1.6 as JSON, from the lock that the image is built from.

    python scripts/sbom.py pillion-runtime requirements/runtime.lock > pillion-runtime.cdx.json

The same lock gives the same bytes: no time, no random number. It lists the Python packages and, with `--root /` in a
stage on the same base as the image, the distribution's packages that are installed there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
#: Packages whose markers do not hold here are in no image: they are all Linux with CPython.
PYTHON = "3.11"


def components(lock: str, python: str) -> list[dict[str, Any]]:
    """Return the packages that the lock installs for that Python on Linux, by name."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "extra": "",
    }
    found = []
    for line in re.findall(r"^[A-Za-z0-9].*==.*$", lock, re.MULTILINE):
        requirement = Requirement(line.rstrip("\\ "))
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        name, version = canonicalize_name(requirement.name), next(iter(requirement.specifier)).version
        purl = f"pkg:pypi/{name}@{version}"
        found.append({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
    return sorted(found, key=lambda component: component["name"])


def distribution(root: Path) -> list[dict[str, Any]]:
    """Return the Debian packages that are installed below `root`, by name. Source: dpkg(1), purl's type deb."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', (root / "etc/os-release").read_text(), re.MULTILINE))
    found = []
    for stanza in (root / "var/lib/dpkg/status").read_text().split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version|Architecture): (.*)$", stanza, re.MULTILINE))
        if fields.get("Status", "").split()[-1:] != ["installed"]:
            continue
        name, version = fields["Package"], fields["Version"]
        distro = f"{release['ID']}-{release['VERSION_ID']}"
        purl = (
            f"pkg:deb/{release['ID']}/{name}@{quote(version, safe='~')}?arch={fields['Architecture']}&distro={distro}"
        )
        found.append({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
    return sorted(found, key=lambda component: component["purl"])


def document(
    image: str, version: str, lock: str, python: str = PYTHON, system: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the bill of one image; `system` are the packages of its distribution."""
    packages = [*components(lock, python), *(system or [])]
    digest = hashlib.sha256(lock.encode()).hexdigest()
    root = f"pkg:pypi/pillion@{version}#{image}"
    below = hashlib.sha256("".join(one["purl"] for one in system or []).encode()).hexdigest() if system else ""
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{root} {digest} {python} {below}'.strip())}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": root,
                "name": image,
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
            "properties": [
                {"name": "pillion:lock:sha256", "value": digest},
                {"name": "pillion:python", "value": python},
            ],
        },
        "components": packages,
        "dependencies": [{"ref": root, "dependsOn": [component["bom-ref"] for component in packages]}],
    }


def version_of_project() -> str:
    """Return the version that the wheel gets."""
    text = (ROOT / "runtime/src/pillion/_version.py").read_text()
    found = re.search(r'"([^"]+)"', text)
    if found is None:
        raise SystemExit("runtime/src/pillion/_version.py names no version")
    return found[1]


def main() -> None:
    """Print the bill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", help="the image's name")
    parser.add_argument("lock", type=Path, help="the lock that it is built from")
    parser.add_argument("--python", default=PYTHON, help="the image's Python, major and minor")
    parser.add_argument("--root", type=Path, help="the image's root, for the packages of its distribution")
    arguments = parser.parse_args()
    system = None if arguments.root is None else distribution(arguments.root)
    bill = document(arguments.image, version_of_project(), arguments.lock.read_text(), arguments.python, system)
    sys.stdout.write(json.dumps(bill, indent=2) + "\n")


if __name__ == "__main__":
    main()
