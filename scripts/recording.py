"""Draw docs/assets/quickstart.svg: the README's first section, typed for real and shown as it was printed.

``python -m scripts.recording`` (``make docs-recording``) runs the commands in an empty folder and a loopback of its
own, as the tests do. One thing is changed in what they print, so that two runs draw the same picture: a time is rounded
up to whole seconds. Nothing is added but the line that says where a second terminal begins.
"""

from __future__ import annotations

import io
import math
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tests.integration.docs.console import SERVES, Reader, matches, steps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.integration.docs.console import Step

__all__ = ["PICTURE", "drawn", "quickstart", "rounded"]

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "assets" / "quickstart.svg"
SECTION = "A saved model"
SECOND = "# in another terminal"
WIDTH = 98
# rich's own format asks another host for a font; every system has one of these.
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; \
font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def quickstart(readme: str) -> list[Step]:
    """The commands of the section that the picture is of."""
    _, _, rest = readme.partition(f"\n## {SECTION}\n")
    return list(steps(rest.partition("\n## ")[0]))


def rounded(printed: str) -> str:
    """What was printed, with times in whole seconds."""
    return re.sub(r"\bin (\d+(?:\.\d+)?) s\b", lambda found: f"in {math.ceil(float(found[1]))} s", printed)


def typed(commands: Iterable[Step]) -> list[tuple[Step, str]]:
    """Each command with what it printed.

    Raises:
        AssertionError: one failed, or printed something else than the README shows.
    """
    shown: list[tuple[Step, str]] = []
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (
        tempfile.TemporaryDirectory() as folder,
        Reader(Path(folder), {"PATH": path, "NO_COLOR": "1", "COLUMNS": str(WIDTH)}) as reader,
    ):
        for step in commands:
            printed = reader.follow(step)
            assert matches(step.output, printed), f"the README shows:\n{step.output}\nprinted:\n{printed}"
            shown.append((step, rounded(printed).rstrip("\n")))
    return shown


def drawn(shown: Iterable[tuple[Step, str]]) -> str:
    """The picture."""
    console = Console(
        record=True, file=io.StringIO(), width=WIDTH, highlight=False, color_system="truecolor", legacy_windows=False
    )
    serving = False
    for step, printed in shown:
        if serving:
            console.print(Text(f"\n{SECOND}", style="bright_black"))
        serving = SERVES.match(step.command) is not None
        console.print(Text.assemble(("$ ", "green"), (step.command, "bold")))
        if printed:
            console.print(Text(printed))
    return console.export_svg(title="Pillion", code_format=FORMAT, unique_id="quickstart", font_aspect_ratio=0.6)


def main() -> int:
    """Run, draw and write."""
    PICTURE.write_text(drawn(typed(quickstart((ROOT / "README.md").read_text()))))
    print(f"wrote {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
