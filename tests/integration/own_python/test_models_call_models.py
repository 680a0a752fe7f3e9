"""Models that call each other by ``pillion.models``: in one process, and across worker processes."""

from __future__ import annotations

import concurrent.futures
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.asking import asking
from tests.integration.own_python.program import serving
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.own_python.program import Program

HERE = Path(__file__).parent
CLASSES = [f"callers.py:{name}" for name in ("Words", "Halves", "Desk", "Corner")]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seen")


@pytest.fixture(scope="module", params=["threads", "processes"])
def program(request: pytest.FixtureRequest, seen: Path) -> Iterator[Program]:
    workers = ["--executor", "process", "--processes", "1"] if request.param == "processes" else []
    with serving(HERE, *CLASSES, *workers, SEEN=str(seen)) as program:
        yield program


@pytest.fixture(autouse=True)
def _nothing_seen_yet(seen: Path) -> None:
    for one in seen.iterdir():
        one.unlink()


def test_methods_call_a_task_of_another_model(program: Program) -> None:
    status, answer = program.curl("/desk/plain", {"text": "one two three"})
    assert (200, 3) == (status, answer["words"])
    assert (answer["pid"] == answer["desk"]) == (answer["pid"] == program.process.pid)
    assert (200, [2, 3]) == program.curl("/desk/both", {"text": "one two"})
    assert (200, 2) == program.curl("/desk/threaded", {"text": "one two"})


def test_arrays_and_batches_go_the_same_way(program: Program) -> None:
    assert (200, [0.5, 2.0]) == program.curl("/desk/halved", {"x": [1, 4]})
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        posted = [
            threads.submit(httpx.post, program.url("/desk/many"), json={"text": "x " * n}, timeout=60)
            for n in range(1, 5)
        ]
        assert [1, 2, 3, 4] == [one.result().json() for one in posted]


def test_a_stream_is_read_as_far_as_the_caller_likes_and_handed_on(program: Program, seen: Path) -> None:
    assert (200, "abc") == program.curl("/desk/spelled", {"text": "abc", "letters": 9})
    (seen / "closed").unlink()
    assert (200, "ab") == program.curl("/desk/spelled", {"text": "ab" + "c" * 5000, "letters": 2})
    until_now((seen / "closed").exists)
    events = httpx.post(program.url("/desk/spelling"), json={"text": "ok"}, timeout=60).text
    assert ['data: "O"', 'data: "K"'] == [line for line in events.splitlines() if line.startswith("data")]


def test_an_error_of_the_other_model_is_that_of_a_call_of_its_own(program: Program) -> None:
    status, answer = program.curl("/desk/wrong", {})
    assert 422 == status
    assert "text: should be a valid string" in answer["details"]
    assert ["text"] == answer["additional_info"][0]["loc"][-1:]


@pytest.mark.parametrize("how", ["wait", "hold"])
@pytest.mark.parametrize("caller", ["waits", "holds"])
@pytest.mark.parametrize("why", ["leaves", "time"])
def test_a_nested_call_ends_with_its_request(program: Program, seen: Path, caller: str, how: str, why: str) -> None:
    if why == "leaves":
        with asking(program.url(f"/desk/{caller}"), {"how": how}):
            until_now((seen / "begun").exists)
    else:
        late = httpx.post(
            program.url(f"/desk/{caller}"), json={"how": how}, headers={"x-request-timeout-seconds": "2"}, timeout=60
        )
        assert 504 == late.status_code
    assert (seen / "begun").exists()
    until_now((seen / "cancelled").exists)
    assert 200 == program.curl("/desk/plain", {"text": "again"})[0]


def test_a_cycle_is_refused_and_names_who_is_on_it(program: Program) -> None:
    status, answer = program.curl("/desk/itself", {})
    assert 500 == status
    assert "model 'desk' calls itself: desk -> desk" in answer["details"]
    status, answer = program.curl("/desk/around", {})
    assert 500 == status
    assert "model 'corner' calls model 'desk', which waits for it: desk -> corner -> desk" in answer["details"]
