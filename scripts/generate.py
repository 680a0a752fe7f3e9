"""Write every generated file of the project again, or with ``--check`` say which are out of date and change nothing.

Each module of ``scripts/generators/`` makes some of the files: its function ``outputs()`` maps paths from the root of
the project to their text, and its optional ``FOLDERS`` names folders that hold nothing but its files, so that a file
that is no longer generated is found too.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from pathlib import Path
from typing import Protocol, cast

ROOT = Path(__file__).resolve().parent.parent


class Generator(Protocol):
    """A module of ``scripts/generators/``."""

    def outputs(self) -> dict[str, str]:
        """Return the text of each file by its path from the root."""


def generators(only: str | None = None) -> list[Generator]:
    """Import the generators, in the order of their names; `only` one of them where it is given."""
    sys.path.insert(0, str(ROOT))
    names = sorted(module.name for module in pkgutil.iter_modules([str(ROOT / "scripts" / "generators")]))
    if only is not None and only not in names:
        raise SystemExit(f"no generator '{only}'; there are: {', '.join(names)}")
    chosen = names if only is None else [only]
    return [cast("Generator", importlib.import_module(f"scripts.generators.{name}")) for name in chosen]


def surplus(generator: Generator, outputs: dict[str, str]) -> list[str]:
    """Return the files in the generator's folders that it did not make."""
    folders: tuple[str, ...] = getattr(generator, "FOLDERS", ())
    found = (str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return sorted(path for path in found if path not in outputs)


def main() -> int:
    """Return 1 where ``--check`` finds a difference, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a file is out of date")
    parser.add_argument("--only", metavar="NAME", help="run one generator only, by the name of its module")
    arguments = parser.parse_args()
    stale = False
    for generator in generators(arguments.only):
        outputs = generator.outputs()
        for name, text in outputs.items():
            path = ROOT / name
            if path.exists() and path.read_text() == text:
                continue
            stale = True
            print(f"{'out of date' if arguments.check else 'wrote'}: {name}")
            if not arguments.check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        for name in surplus(generator, outputs):
            stale = True
            print(f"{'no longer generated' if arguments.check else 'removed'}: {name}")
            if not arguments.check:
                (ROOT / name).unlink()
    if arguments.check and stale:
        print("run 'make generate' and commit what it writes")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
