"""Programs of another processor: what is run, and what is said where they cannot be."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from e2e.cluster.node import emulation

if TYPE_CHECKING:
    import pytest


def test_on_a_machine_of_that_kind_nothing_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert ["uname", "-m"] == emulation.command("uname", "-m")
    assert "" == emulation.lacking()


def test_elsewhere_the_command_is_put_behind_the_emulator_or_the_package_that_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [sys.executable, emulation.__file__, "uname", "-m"] == emulation.command("uname", "-m")
    assert "apt-get install -y --no-install-recommends qemu-user-static" in emulation.lacking()


def test_the_rule_is_written_as_the_kernel_reads_it() -> None:
    # Source: Documentation/admin-guide/binfmt-misc.rst, the escapes of magic and mask.
    assert "\\x7f\\x45\\x4c\\x46" == emulation._escaped("7f454c46")
