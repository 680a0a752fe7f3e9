"""A watched folder: which entries are models, when they are complete, and what is done about them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pillion.errors import ErrorCode, PillionError
from pillion.management.folder_watch import FolderWatch, Look, WatchSettings, look_at, model_of, settled
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pillion.model import ModelStatus
    from pillion.modelstore import FailedLoad
    from pillion.runtimefile import DesiredModel


class Served:
    """What a data plane would serve; models whose file says ``bad`` cannot be loaded."""

    def __init__(self) -> None:
        self.models: dict[tuple[str, str], DesiredModel] = {}

    async def add(self, model: DesiredModel, *, lazy: bool = False, keep: bool = False) -> None:
        if _is_bad(model.path):
            raise PillionError(ErrorCode.INVALID_ARGUMENT, "bad")
        self.models[model.name, model.version] = model

    async def remove(self, name: str, versions: Collection[str]) -> None:
        for version in versions:
            del self.models[name, version]

    def added(self, name: str) -> tuple[str, ...]:
        return tuple(version for known, version in self.models if known == name)

    def declares(self, name: str) -> bool:
        return name == "declared"

    def statuses(self) -> Sequence[ModelStatus]:
        return ()


def _is_bad(path: str) -> bool:
    return Path(path).is_file() and Path(path).read_text() == "bad"


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("iris.skops", "iris"),
        ("iris", "iris"),
        ("my model.onnx", "my-model"),
        ("a.b", "a.b"),
        (".iris.skops.swp", None),
        (".git", None),
        ("iris.onnx.part", None),
        ("iris~", None),
        ("..data", None),
        ("-", None),
    ],
)
def test_an_entry_is_called_as_serve_would_call_it(entry: str, name: str | None) -> None:
    assert name == model_of(entry)


def test_an_entry_is_complete_once_it_has_not_changed_for_a_while(tmp_path: Path) -> None:
    (tmp_path / "iris").mkdir()
    (tmp_path / "iris" / "a").write_text("1")
    look = look_at(tmp_path, Look({}), 10.0)
    assert {} == settled(look, 2.0, 11.0)
    (tmp_path / "iris" / "b").write_text("2")
    look = look_at(tmp_path, look, 12.0)
    assert {} == settled(look, 2.0, 13.0)
    look = look_at(tmp_path, look, 14.0)
    assert ["iris"] == list(settled(look, 2.0, 14.0))


def test_an_entry_with_the_marker_is_left_alone_until_it_goes(tmp_path: Path) -> None:
    (tmp_path / "iris").mkdir()
    (tmp_path / "iris" / "a").write_text("1")
    (tmp_path / "iris" / ".incomplete").touch()
    look = look_at(tmp_path, Look({}), 0.0)
    assert {} == settled(look, 2.0, 100.0)
    (tmp_path / "iris" / ".incomplete").unlink()
    look = look_at(tmp_path, look, 100.0)
    assert ["iris"] == list(settled(look, 2.0, 102.0))


def test_links_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "iris").symlink_to("/etc")
    assert {} == look_at(tmp_path, Look({}), 0.0).seen


async def test_models_come_change_and_go_with_the_folder(tmp_path: Path) -> None:
    plane, failures = Served(), dict[str, "FailedLoad | None"]()
    (tmp_path / "a.onnx").write_text("1")
    watch = FolderWatch(plane, WatchSettings(tmp_path, interval=0.001, quiet=0.001), failures.__setitem__)
    await watch.begin()
    assert [("a", "1")] == list(plane.models)
    following = asyncio.ensure_future(watch.watch())
    try:
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "model.onnx").write_text("1")
        await until(lambda: ("b", "1") in plane.models)
        (tmp_path / "a.onnx").write_text("22")
        await until(lambda: [("a", "2")] == [key for key in plane.models if key[0] == "a"])
        (tmp_path / "a.onnx").write_text("bad")
        await until(lambda: failures.get("a") is not None)
        assert ("a", "2") in plane.models
        (tmp_path / "a.onnx").unlink()
        await until(lambda: [("b", "1")] == list(plane.models))
        assert failures["a"] is None
        (tmp_path / "declared.onnx").write_text("1")
        (tmp_path / "c.onnx").write_text("1")
        await until(lambda: ("c", "1") in plane.models)
        assert ("declared", "1") not in plane.models
    finally:
        following.cancel()
