"""Documents are followed word for word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.docs.console import Reader, matches, steps
from tests.integration.docs.network import OwnLoopback

ROOT = Path(__file__).parents[3]
DOCUMENTS = [
    "README.md",
    "docs/tutorial/first-model.md",
    "docs/how-to/applications.md",
    "docs/how-to/build.md",
    "docs/how-to/command-line.md",
    "docs/how-to/files-and-streams.md",
    "docs/how-to/from-kserve.md",
    "docs/how-to/generate.md",
    "docs/how-to/jobs.md",
    "docs/how-to/manage-models.md",
    "docs/how-to/own-python.md",
    "docs/how-to/processes.md",
    "docs/how-to/python-client.md",
    "docs/how-to/safe-artifacts.md",
    "docs/how-to/sockets.md",
    "docs/how-to/tabular.md",
    "docs/how-to/train.md",
    "docs/how-to/workers.md",
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_reader_who_types_every_command_of_the_document_sees_what_it_shows(document: str, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    commands = list(steps((ROOT / document).read_text()))
    assert commands, f"{document} has no console block"
    with Reader(tmp_path, {"PATH": path, "PILLION_REPOSITORY": str(ROOT), "NO_COLOR": "1", "COLUMNS": "120"}) as reader:
        for step in commands:
            printed = reader.follow(step)
            assert matches(step.output, printed), f"{document}:{step.line}: shown:\n{step.output}\nprinted:\n{printed}"


def test_shown_output_matches_with_gaps_and_only_with_gaps() -> None:
    assert matches("ready in ... s", "ready in 0.6 s\n")
    assert not matches("ready in ... s", "failed in 0.6 s\n")
    assert not matches("a", "a\nb")


def test_two_readers_may_use_the_same_port(tmp_path: Path) -> None:
    with OwnLoopback() as one, OwnLoopback() as other:
        if not one.prefix:
            pytest.skip("this machine lets nobody make a network namespace")
        listen = "import socket; socket.create_server(('127.0.0.1', 8080)); print('mine', flush=True); input()"
        held = [
            subprocess.Popen(
                [*network.prefix, sys.executable, "-c", listen],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for network in (one, other)
        ]
        assert [("mine\n", ""), ("mine\n", "")] == [
            (process.stdout.readline() if process.stdout else "", process.communicate("\n")[0]) for process in held
        ]
