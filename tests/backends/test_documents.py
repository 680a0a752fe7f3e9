"""The pages on PyTorch and Hugging Face are followed word for word, in a network that leads nowhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.integration.docs.console import Reader, matches, steps

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)  # five starts of PyTorch, on a machine that may be busy
@pytest.mark.parametrize("document", ["docs/how-to/torch.md", "docs/how-to/huggingface.md"])
def test_a_reader_who_types_every_command_of_the_document_sees_what_it_shows(document: str, tmp_path: Path) -> None:
    # Pillion is on the path here and not installed, so its program is made.
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "pillion").write_text(f'#!/bin/sh\nexec {sys.executable} -m pillion.cli.main "$@"\n')
    (programs / "pillion").chmod(0o755)
    path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"]))
    folder = tmp_path / "reader"
    folder.mkdir()
    variables = {"PATH": path, "NO_COLOR": "1", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    with Reader(folder, variables) as reader:
        for step in steps((ROOT / document).read_text()):
            printed = reader.follow(step)
            assert matches(step.output, printed), f"{document}:{step.line}: shown:\n{step.output}\nprinted:\n{printed}"
