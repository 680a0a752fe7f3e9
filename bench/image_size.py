"""How large images are: ``python -m bench.image_size NAME...``; writes ``bench/results/images.md`` and ``.json``.

Each image is built from the checkout by e2e/cluster where it has changed. What a registry stores and a node pulls are
its layers compressed; gzip at its default level is what `buildah push` and Docker do.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tarfile
import zlib
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.cluster.node import images

RESULTS = Path(__file__).parent / "results"
_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"


def layers(archive: IO[bytes]) -> list[tuple[int, int]]:
    """Unpacked and compressed bytes of each layer of a Docker archive."""
    found = []
    with tarfile.open(fileobj=archive) as opened:
        manifest = opened.extractfile("manifest.json")
        assert manifest is not None
        for name in json.load(manifest)[0]["Layers"]:
            layer = opened.extractfile(name)
            assert layer is not None
            found.append(_sizes(layer))
    return found


def _sizes(layer: IO[bytes]) -> tuple[int, int]:
    compressor = zlib.compressobj(wbits=31)
    unpacked = compressed = 0
    while chunk := layer.read(_CHUNK):
        if not unpacked and chunk.startswith(_GZIP):
            raise SystemExit("the layers are compressed already: this measures plain ones")
        unpacked += len(chunk)
        compressed += len(compressor.compress(chunk))
    return unpacked, compressed + len(compressor.flush())


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"one of {', '.join(images.IMAGES)}")
    names: list[str] = parser.parse_args().names
    figures: dict[str, dict[str, int]] = {}
    for name in names:
        with images.build(name).open("rb") as archive:
            found = layers(archive)
        figures[name] = {
            "unpacked_bytes": sum(unpacked for unpacked, _ in found),
            "pulled_bytes": sum(compressed for _, compressed in found),
            "layers": len(found),
        }
    command = f"python -m bench.image_size {' '.join(names)}"
    document = {"command": command, "machine": platform.machine(), "images": figures}
    (RESULTS / "images.json").write_text(json.dumps(document, indent=2) + "\n")
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
