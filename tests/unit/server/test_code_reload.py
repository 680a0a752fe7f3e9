"""Following the files of the user's code, with a plane that loads as the test says."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, cast

from pillion.server.reload import CodeReload
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pillion.server.reload import ReloadingPlane


class Status:
    reason = ""


class Plane:
    """One model of one file; each load does what it is told."""

    def __init__(self, file: Path) -> None:
        self.files = [str(file)]
        self.loads = 0
        self.looks = 0
        self.on_load: Callable[[], None] = lambda: None

    def code_files(self) -> dict[str, tuple[str, ...]]:
        self.looks += 1
        return {"m": tuple(self.files)}

    def status(self, name: str, version: str | None = None) -> Status:
        del name, version
        return Status()

    async def load(self, name: str) -> None:
        del name
        self.loads += 1
        self.on_load()


async def watched(plane: Plane, told: list[str]) -> asyncio.Task[None]:
    reload = CodeReload(lambda name, _, __: told.append(name), interval=0.01)
    watching = asyncio.create_task(reload.watch(cast("ReloadingPlane", plane)))
    await until(lambda: plane.looks > 1)  # Its first look is over.
    return watching


def edit(file: Path, text: str) -> None:
    """Give the file another text at once: no look finds it half written."""
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.replace(file)


async def test_a_module_that_appears_while_a_load_misses_it_is_seen(tmp_path: Path) -> None:
    service, missing = tmp_path / "service.py", tmp_path / "missing.py"
    service.write_text("1")
    plane = Plane(service)

    def appears() -> None:
        if plane.loads == 1:
            plane.files.append(str(missing))
            missing.write_text("2")

    plane.on_load = appears
    told: list[str] = []
    watching = await watched(plane, told)
    edit(service, "import missing")
    await until(lambda: plane.loads >= 2)
    watching.cancel()
    assert ["m"] == told[:1]


async def test_what_a_load_reads_anew_is_not_taken_for_an_edit(tmp_path: Path) -> None:
    service, helper = tmp_path / "service.py", tmp_path / "helper.py"
    service.write_text("1")
    helper.write_text("1")
    os.utime(helper, (1, 1))
    plane = Plane(service)
    plane.on_load = lambda: plane.files.append(str(helper))
    watching = await watched(plane, [])
    edit(service, "import helper")
    await until(lambda: plane.loads >= 1)
    seen = plane.looks
    await until(lambda: plane.looks > seen + 5)
    assert 1 == plane.loads
    edit(helper, "22")
    await until(lambda: plane.loads >= 2)
    watching.cancel()
