"""The guides from other frameworks: both halves are typed as they are printed, and asked the same.

``make test`` follows the half that is Pillion's; ``make docs-full`` follows both, with each framework in an environment
of its own, and compares their answers.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.conformance.environments import environment_of
from tests.integration.docs.console import Peer, Reader, Step, matches, steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

ROOT = Path(__file__).parents[3]
LOCKS = Path(__file__).parent / "frameworks"


class Guide(NamedTuple):
    """A document, the framework that it is about, and what of an answer has to be the same."""

    document: str
    framework: str
    lock: Path
    serves: str
    ready: str
    same: Callable[[JsonValue], JsonValue] = lambda answer: answer


def tensors(answer: JsonValue) -> JsonValue:
    """The tensors of an answer of the Open Inference Protocol, without ids and parameters."""
    assert isinstance(answer, dict)
    outputs = answer["outputs"]
    assert isinstance(outputs, list)
    return [
        {key: output[key] for key in ("name", "datatype", "data")} for output in outputs if isinstance(output, dict)
    ]


GUIDES = [
    Guide("from-fastapi.md", "FastAPI", LOCKS / "fastapi", r"uvicorn ", "127.0.0.1:8000/docs"),
    Guide("from-bentoml.md", "BentoML", LOCKS / "bentoml", r"bentoml serve ", "127.0.0.1:3000/readyz"),
    Guide("from-litserve.md", "LitServe", LOCKS / "litserve", r"python server\.py", "127.0.0.1:8000/health"),
    Guide(
        "from-mlserver.md",
        "MLServer",
        ROOT / "e2e" / "cluster" / "images" / "mlserver",
        r"mlserver start ",
        "127.0.0.1:8080/v2/models/iris/ready",
        tensors,
    ),
]
NAMES = [guide.framework for guide in GUIDES]


def follow(guide: Guide, folder: Path, *, both: bool) -> dict[str, list[tuple[Step, str]]]:
    """Type a guide's commands; what each half printed."""
    own = Path(sys.executable).parent
    variables = {
        "PATH": f"{own}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
        "COLUMNS": "120",
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(folder / ".bentoml"),
        "OMP_NUM_THREADS": "1",
    }
    peers: dict[str, Peer] = {}
    if both:
        programs = environment_of(f"docs-{guide.framework.lower()}", guide.lock / "requirements.lock").parent
        peers[guide.framework] = Peer(programs, re.compile(guide.serves), guide.ready)
    printed: dict[str, list[tuple[Step, str]]] = {guide.framework: [], "Pillion": []}
    with Reader(folder, variables, peers) as reader:
        for step in steps((ROOT / "docs" / "how-to" / guide.document).read_text()):
            # Without the framework, its file is still made: the half that is Pillion's serves it, too.
            if step.where == guide.framework and not both and not step.command.startswith("python train.py"):
                continue
            output = reader.follow(step)
            assert matches(step.output, output), f"{guide.document}:{step.line}: shown:\n{step.output}\n{output}"
            if step.where:
                printed[step.where].append((step, output))
    return printed


def answers(printed: list[tuple[Step, str]]) -> dict[str, JsonValue]:
    """The JSON answers of a half, by what was asked: the body."""
    found: dict[str, JsonValue] = {}
    for step, output in printed:
        words = shlex.split(step.command)
        if words[0] == "curl" and "-o" not in words:
            found.setdefault(words[words.index("--json") + 1], json.loads(output))
    return found


@pytest.mark.parametrize("guide", GUIDES, ids=NAMES)
def test_the_half_of_a_guide_that_is_pillions_works_as_it_is_printed(guide: Guide, tmp_path: Path) -> None:
    assert follow(guide, tmp_path, both=False)["Pillion"]


@pytest.mark.frameworks
@pytest.mark.parametrize("guide", GUIDES, ids=NAMES)
def test_both_halves_of_a_guide_answer_the_same_to_the_same_request(guide: Guide, tmp_path: Path) -> None:
    printed = follow(guide, tmp_path, both=True)
    theirs, ours = answers(printed[guide.framework]), answers(printed["Pillion"])

    compared = [asked for asked in theirs if asked in ours and not refused(ours[asked])]
    assert compared, "the guide asks the two halves nothing in common"
    assert {asked: guide.same(theirs[asked]) for asked in compared} == {
        asked: guide.same(ours[asked]) for asked in compared
    }


def refused(answer: JsonValue) -> bool:
    """Whether an answer is Pillion's refusal, which every framework words in its own way."""
    return isinstance(answer, dict) and "code" in answer and "id" in answer
