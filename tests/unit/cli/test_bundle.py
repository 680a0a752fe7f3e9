"""What a support bundle holds where pods write what is no text, or too much of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pillion.cli.cluster.bundle import Bundle
from pillion.cli.cluster.kubectl import Kubectl

if TYPE_CHECKING:
    from pathlib import Path


def test_a_log_that_is_no_text_is_taken_all_the_same(tmp_path: Path) -> None:
    program = tmp_path / "kubectl"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.stdout.buffer.write(b'before \\xff\\xfe after')\n")
    program.chmod(0o700)

    done = Kubectl(str(program), (), "here", "shop").run("logs", "iris")

    assert 0 == done.code
    assert "before \ufffd\ufffd after" == done.stdout


def test_a_bundle_that_is_full_says_what_it_left_out() -> None:
    bundle = Bundle(room=10)

    bundle.text("one.log", "12345678")
    bundle.text("two.log", "12345678")

    assert {"one.log": "12345678"} == bundle.files
    assert "full" in bundle.missing["two.log"]
