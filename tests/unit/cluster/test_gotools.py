"""Which Go programs there are, and under which name their builds are kept."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.node import gotools
from e2e.cluster.node.failure import ClusterError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_version_is_read_from_a_line_of_its_own_and_from_a_block() -> None:
    assert "v1.2.3" == gotools.module_version("module x\n\nrequire example.org/a v1.2.3\n", "example.org/a")
    block = "require (\n\texample.org/ab v9.9.9\n\texample.org/a v1.2.3 // indirect\n)\n"
    assert "v1.2.3" == gotools.module_version(block, "example.org/a")


def test_a_module_that_is_not_required_is_named_with_the_remedy() -> None:
    with pytest.raises(ClusterError, match=r"go get example\.org/b@VERSION"):
        gotools.module_version("module x\nreplace example.org/b => example.org/c v1.0.0\n", "example.org/b")


@pytest.mark.parametrize("group", gotools.GROUPS.values(), ids=gotools.GROUPS)
def test_every_group_pins_its_module_and_its_checksums(group: gotools.Group) -> None:
    assert gotools.version(group).startswith("v")
    sums = (group.source / "go.sum").read_text()
    assert group.module == "" or f"{group.module} {gotools.version(group)}" in sums


def test_every_staging_module_of_kubernetes_has_the_version_that_belongs_to_it() -> None:
    group = gotools.GROUPS["kubernetes"]
    staging = "v0." + gotools.version(group).removeprefix("v1.")
    lines = (group.source / "go.mod").read_text().partition("replace (")[2].splitlines()
    replaced = [line for line in lines if " => " in line]
    assert len(replaced) > 20
    assert [] == [line for line in replaced if not line.endswith(staging)]


def test_kubernetes_reports_the_version_it_was_built_from() -> None:
    flags = gotools.link_flags(gotools.GROUPS["kubernetes"])
    version = gotools.version(gotools.GROUPS["kubernetes"])
    assert f"-X k8s.io/component-base/version.gitVersion={version}" in flags
    assert f"-X k8s.io/component-base/version.gitMinor={version.split('.')[1]}" in flags


def test_a_changed_pin_source_or_link_flag_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "tool"
    source.mkdir()
    monkeypatch.setattr(gotools, "_SOURCE", tmp_path)
    group = gotools.Group("tool", "", {"tool": "."})
    for name in ("go.mod", "go.sum", "main.go"):
        (source / name).write_text("one")
    seen = {gotools.folder(group)}
    for name in ("go.mod", "go.sum", "main.go"):
        (source / name).write_text("two")
        seen.add(gotools.folder(group))
    seen.add(gotools.folder(dataclasses.replace(group, variables={"main.name": "value"})))
    assert 5 == len(seen)


def test_an_unknown_program_is_answered_with_those_there_are() -> None:
    with pytest.raises(ClusterError, match=r"'kubectk'; there are: .*kubectl"):
        gotools.group_of("kubectk")


def test_no_program_is_in_two_groups() -> None:
    names = [name for group in gotools.GROUPS.values() for name in group.programs]
    assert sorted(set(names)) == sorted(names)
