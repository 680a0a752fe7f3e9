"""The four forms of a report, and what the command does with a server, or with none."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from pillion.conformance.report import FORMATS
from pillion.conformance.run import examine
from tests.unit.cli.command import pillion
from tests.unit.conformance.small_server import running

if TYPE_CHECKING:
    from pathlib import Path

    from pillion.conformance.model import Report


@pytest.fixture(scope="module")
def report() -> Report:
    with running("the id is lost") as url:
        return examine(url)


def test_text_names_the_check_its_level_and_where_the_sentence_stands(report: Report) -> None:
    text = FORMATS["text"](report)

    assert "FAILED infer.id [double] (MUST): The id of a request is returned in its answer." in text
    assert "inference_rest.md: Inference Request JSON Object" in text
    assert "3 failed" in text


def test_json_has_every_result(report: Report) -> None:
    document = json.loads(FORMATS["json"](report))

    assert len(report.results) == len(document["results"])
    assert 3 == document["counts"]["failed"]


def test_junit_counts_as_ci_systems_do(report: Report) -> None:
    suite = ET.fromstring(FORMATS["junit"](report))

    assert str(len(report.results)) == suite.get("tests") == str(len(suite))
    assert 3 == len(suite.findall("testcase/failure"))


def test_markdown_has_a_row_for_each_failure(report: Report) -> None:
    assert 3 == FORMATS["markdown"](report).count("| MUST |")


def test_the_command_exits_with_0_where_every_sentence_is_kept() -> None:
    with running() as url:
        done = pillion("conformance", url, "--strict")

    assert 0 == done.returncode, done.stdout
    assert " 0 failed" in done.stdout


def test_rest_alone_needs_no_package_beyond_the_base_install() -> None:
    program = (
        "import sys; from pillion.conformance.run import examine; examine(sys.argv[1]); "
        "print({'grpc', 'numpy', 'google', 'uvicorn', 'orjson', 'pydantic'} & set(sys.modules))"
    )
    with running() as url:
        done = subprocess.run(
            [sys.executable, "-c", program, url], capture_output=True, text=True, check=True, timeout=60
        )

    assert "set()" == done.stdout.strip()


def test_without_grpc_the_command_says_what_to_install() -> None:
    program = "import sys; sys.modules['grpc'] = None; from pillion.cli.main import main; main()"
    with running() as url:
        command = [sys.executable, "-c", program, "conformance", url, "--grpc", "127.0.0.1:1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert "pip install 'pillion[serve]'" in done.stderr
    assert 1 == done.returncode


def test_a_broken_must_is_1() -> None:
    with running("the id is lost") as url:
        assert 1 == pillion("conformance", url).returncode


@pytest.mark.parametrize(("options", "expected"), [((), 0), (("--strict",), 1)])
def test_a_broken_should_is_1_only_where_that_is_wanted(options: tuple[str, ...], expected: int) -> None:
    with running("a charset is refused") as url:
        assert expected == pillion("conformance", url, *options).returncode


def test_a_server_that_is_not_there_is_one_sentence_and_2() -> None:
    done = pillion("conformance", "http://127.0.0.1:1")

    assert 2 == done.returncode
    assert "error: cannot reach http://127.0.0.1:1" in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_a_model_that_the_server_does_not_have_is_told_with_those_it_has() -> None:
    with running() as url:
        done = pillion("conformance", url, "--model", "triple")

    assert (2, f"error: {url} has no model 'triple' (it has double)\n") == (done.returncode, done.stderr)


def test_a_grpc_address_where_nobody_listens_is_2() -> None:
    with running() as url:
        done = pillion("conformance", url, "--grpc", "127.0.0.1:1", "--timeout", "0.5")

    assert 2 == done.returncode
    assert "is --grpc right?" in done.stderr


def test_a_request_file_that_lacks_something_is_told_what(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text('{"inputs": [{"name": "x", "shape": [1], "data": [1]}]}')
    done = pillion("conformance", "http://127.0.0.1:1", "--request", str(file))

    assert 2 == done.returncode
    assert f"error: --request: an input in {file} lacks datatype\n" == done.stderr
