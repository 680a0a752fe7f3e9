"""How large images are: ``python -m bench.image_size NAME...``; writes ``bench/results/images.md`` and ``.json``.

Figures of images that are not named stay as they are: some take ten minutes to build.

Each image is built from the checkout by e2e/cluster where it has changed. What a registry stores and a node pulls are
its layers, compressed by gzip.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.cluster.node import images
from e2e.cluster.node.buildah import Buildah

RESULTS = Path(__file__).parent / "results"
_CHUNK = 1 << 20


def layers(archive: IO[bytes]) -> list[tuple[int, int]]:
    """Unpacked and compressed bytes of each layer of an OCI archive of one image."""
    with tarfile.open(fileobj=archive) as opened:
        blobs = {member.name.rpartition("/")[2]: member for member in opened.getmembers()}

        def read(name: str) -> IO[bytes]:
            found = opened.extractfile(blobs[name.rpartition(":")[2]])
            assert found is not None
            return found

        index = json.load(read("index.json"))
        manifest = json.load(read(index["manifests"][0]["digest"]))
        return [(_unpacked(read(layer["digest"])), layer["size"]) for layer in manifest["layers"]]


def _unpacked(layer: IO[bytes]) -> int:
    size = 0
    reader = zlib.decompressobj(wbits=31)  # gzip
    while chunk := layer.read(_CHUNK):
        size += len(reader.decompress(chunk))
    return size + len(reader.flush())


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"one of {', '.join(images.IMAGES)}")
    names: list[str] = parser.parse_args().names
    kept = RESULTS / "images.json"
    figures: dict[str, dict[str, int]] = json.loads(kept.read_text())["images"] if kept.is_file() else {}
    for name in names:
        images.build(name)
        with tempfile.TemporaryDirectory() as scratch:
            archive = Path(scratch, "image.tar")
            Buildah().save(images.image(name).reference, archive, gzip=True)
            with archive.open("rb") as opened:
                found = layers(opened)
        figures[name] = {
            "unpacked_bytes": sum(unpacked for unpacked, _ in found),
            "pulled_bytes": sum(compressed for _, compressed in found),
            "layers": len(found),
        }
    command = f"python -m bench.image_size {' '.join(figures)}"
    document = {"command": command, "machine": platform.machine(), "images": figures}
    kept.write_text(json.dumps(document, indent=2) + "\n")
    rows = [
        f"| {name} | {figure['pulled_bytes'] / 1e6:,.0f} MB | {figure['unpacked_bytes'] / 1e6:,.0f} MB |"
        for name, figure in figures.items()
    ]
    text = f"# Sizes of images\n\n`{command}`, {platform.machine()}; pulled: the layers compressed by gzip.\n\n"
    text += "| image | pulled | unpacked |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    (RESULTS / "images.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
