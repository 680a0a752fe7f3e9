"""The OpenAPI document of a real server: valid, titled as the project that is served, and kept to under fuzzing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from openapi_spec_validator import validate

from tests.conformance.environments import environment
from tests.integration.own_python.program import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.own_python.program import Program

HERE = Path(__file__).parent
PROJECT = '[project]\nname = "pet-shop"\nversion = "2.3.4"\ndescription = "Pets, painted."\n'


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Tasks, files, streams, texts, jobs, trainings and management, all switched on."""
    folder = tmp_path_factory.mktemp("shop")
    shutil.copy(HERE / "service.py", folder)
    (folder / "pyproject.toml").write_text(PROJECT)
    settings = {
        "PILLION_MANAGEMENT__ENABLED": "true",
        "PILLION_MODELS__STORE": str(folder / "store"),
        "PILLION_JOBS__MAX_QUEUED": "5",  # a training takes a second of a processor
        "PILLION_LIMITS__DEADLINE_SECONDS": "10",
    }
    with serving(folder, "service.py:Shop", "--data-dir", str(folder / "data"), **settings) as program:
        yield program


def test_the_document_is_valid_and_has_the_title_of_the_project(program: Program) -> None:
    _, document = program.curl("/openapi.json")
    validate(document)
    information = document["info"]
    assert ("pet-shop", "2.3.4") == (information["title"], information["version"])
    assert information["description"].startswith("Pets, painted.\n")


def test_every_answer_has_a_schema(program: Program) -> None:
    _, document = program.curl("/openapi.json")
    without = [
        f"{method} {path} {status}"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for status, answer in operation["responses"].items()
        for content in answer["content"].values()
        if not content.get("schema")
    ]
    assert [] == without


def test_what_a_training_and_a_job_are_refused_for_is_told(program: Program) -> None:
    paths = program.curl("/openapi.json")[1]["paths"]
    (path,) = (path for path in paths if path.endswith("Train"))
    data = {"model_name": "shop", "parameters": {"data": [{"text": "a", "label": 1}]}}

    outside = program.curl(path, {**data, "output_path": "/elsewhere"})
    declared = program.curl(path, {**data, "deploy": True})

    assert (403, 409) == (outside[0], declared[0]), (outside, declared)
    assert {"403", "409", "507"} <= paths[path]["post"]["responses"].keys()
    job = next(path for path in paths if path.endswith("/job"))
    assert "507" in paths[job]["post"]["responses"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_fuzzer_finds_no_answer_that_the_document_does_not_tell(program: Program, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            environment("schemathesis").with_name("st"),
            *("--config-file", HERE / "schemathesis.toml", "run", program.url("/openapi.json")),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "1", "--no-shrink"),
            *("--continue-on-failure", "--request-timeout", "15", "--generation-database", "none"),
            *("--suppress-health-check", "all", "--warnings", "off", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    assert 0 == done.returncode, done.stdout[-8000:] + done.stderr
    assert program.process.poll() is None
