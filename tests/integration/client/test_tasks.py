"""Tasks, streams, jobs, trainings and management by the client, on a real server."""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

import pillion
from pillion import File
from pillion.client import CallError, Conflict, DeadlineExceeded, InvalidInput, NotFound
from pillion.client.handles import Job
from pillion.client.services import Which
from tests.integration.own_python.program import PILLION
from tests.waiting import until_now

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.own_python.program import Program
    from tests.models import IrisModels


def test_a_task_is_called_by_name(client: pillion.Client) -> None:
    assert [{"name": "x", "score": 1.0}] * 2 == client.task("classify")(text="x", top_k=2)
    assert {"name": "A", "score": 0} == client.task("rename", model="mood")(label={"name": "a"})


def test_names_are_checked_before_anything_is_sent(client: pillion.Client) -> None:
    with pytest.raises(
        InvalidInput, match="txt: task 'classify' has no such parameter; it has: text, top_k, mode"
    ) as no:
        client.task("classify")(txt="x")
    assert ("", {"txt", "text"}) == (no.value.id, set(no.value.fields))
    with pytest.raises(NotFound, match="there is no task 'clasify'; tasks: classify"):
        client.task("clasify")(text="x")


def test_the_servers_refusal_names_the_field(client: pillion.Client) -> None:
    with pytest.raises(InvalidInput) as no:
        client.task("classify")(text=5)
    assert {"text": "should be a valid string"} == no.value.fields
    assert no.value.id


def test_files_and_images_go_and_come(client: pillion.Client) -> None:
    file = client.task("flip")(audio=File(b"abc", filename="a.txt"), loud=True)
    assert ("flipped.txt", b"CBA") == (file.filename, file.read())
    assert [3, 5] == client.task("size")(image=Image.new("RGB", (3, 5)))


def test_a_stream_comes_item_by_item_and_its_failure_is_raised(client: pillion.Client) -> None:
    assert [0, 1, 2] == list(client.task("count").stream(to=3))
    found: list[int] = []
    with pytest.raises(InvalidInput, match="cannot count further"):
        found.extend(client.task("count").stream(to=2, fail=True))
    with pytest.raises(TypeError, match="stream"):
        client.task("count")(to=3)
    with pytest.raises(InvalidInput, match="to"):
        list(client.task("count").stream(to="x"))


def test_leaving_a_stream_ends_it_on_the_server(client: pillion.Client, folder: Path) -> None:
    (folder / "counted").unlink(missing_ok=True)
    items = client.task("count").stream(to=10**9)
    assert 0 == next(items)
    items.close()  # type: ignore[attr-defined] # a generator
    until_now((folder / "counted").exists)


async def test_the_asynchronous_client_does_the_same(program: Program, folder: Path) -> None:
    async with pillion.AsyncClient(program.url()) as client:
        assert "x" == (await client.task("classify")(text="x"))[0]["name"]
        assert b"cba" == (await client.task("flip")(audio=File(b"abc"))).read()
        (folder / "counted").unlink(missing_ok=True)
        async with contextlib.aclosing(client.task("count").stream(to=10**9)) as items:
            assert 0 == await anext(items)
        until_now((folder / "counted").exists)
        with pytest.raises(InvalidInput, match="cannot count further"):
            [item async for item in client.task("count").stream(to=2, fail=True)]
        job = await client.task("classify").submit(text="later")
        assert "later" == (await job.result())[0]["name"]
        training = await client.train("ClassifyMoodTrain", "async")
        assert "COMPLETED" == (await training.wait())["state"]
        assert "epoch 1" in "".join([text async for text in training.logs(follow=True)])
        with pytest.raises(DeadlineExceeded):
            await client.task("nap")(seconds=5.0, timeout=1.0)


async def test_the_asynchronous_client_hands_in_and_manages_by_either_protocol(
    url: str, folder: Path, iris: IrisModels
) -> None:
    async with pillion.AsyncClient(url) as client:
        job = await client.task("classify").submit(text="later")
        assert "later" == (await job.result())[0]["name"]
        napping = await client.task("nap").submit(seconds=60.0)
        await napping.cancel()
        assert "CANCELED" == (await napping.wait(timeout=30))["state"]
        out = folder / f"out-{secrets.token_hex(4)}"
        training = await client.train("ClassifyMoodTrain", "async", output_path=out)
        async with contextlib.aclosing(training.logs(follow=True)) as pieces:
            assert "epoch 0" in await anext(pieces)
        assert "COMPLETED" == (await training.wait(timeout=60))["state"]
        assert any(out.iterdir())
        assert "epoch 1" in "".join([text async for text in training.logs()])
        assert "READY" == (await client.deploy("brief", iris.skops))["state"]
        assert {"mood", "brief"} <= set(await client.models())
        await client.undeploy("brief", purge=True)
        assert "brief" not in await client.models()


def test_both_protocols_tell_the_same(program: Program, client: pillion.Client) -> None:
    with pillion.Client(f"grpc://127.0.0.1:{program.ports['grpc']}") as other:
        job = client.task("nap").submit(seconds=0.0, priority=3)
        training = client.train("ClassifyMoodTrain", "same")
        for one, which in ((job, "prediction"), (training, "training")):
            state = one.wait(timeout=60)
            assert "COMPLETED" == state["state"]
            same = Job(other, Which(which, one.id, "nap")).status()
            assert _times(state) == _times(same)
        assert client.info() == other.info()
        assert client.models() == other.models()


def _times(state: dict[str, Any]) -> dict[str, Any]:
    """Times as times: protobuf leaves out milliseconds that are none."""
    return {k: dt.datetime.fromisoformat(v) if k.endswith("_timestamp") else v for k, v in state.items()}


def test_a_number_that_no_double_holds_arrives_as_it_is_by_either_protocol(either: pillion.Client) -> None:
    key = secrets.token_hex(8)
    first = either.train("ClassifyMoodTrain", "large", key=key, epochs=-(2**53) - 1)

    assert first.id == either.train("ClassifyMoodTrain", "large", key=key, epochs=-(2**53) - 1).id
    with pytest.raises(InvalidInput, match="came with another request before"):
        either.train("ClassifyMoodTrain", "large", key=key, epochs=-(2**53))


def test_what_cannot_be_is_refused_over_grpc_as_over_http(either: pillion.Client) -> None:
    with pytest.raises(InvalidInput, match="text"):
        either.task("classify").submit(text=5)
    with pytest.raises(NotFound, match="no task 'none'"):
        either.task("none").submit(text="x")
    with pytest.raises(NotFound, match="no training 'NoneTrain'"):
        either.train("NoneTrain", "mine")
    with pytest.raises(InvalidInput, match="priority"):
        either.task("classify").submit(text="x", priority=101)
    with pytest.raises(CallError, match="none"):
        either.undeploy("none")


def test_the_time_of_a_call_is_the_servers_too(client: pillion.Client, folder: Path) -> None:
    (folder / "naps").unlink(missing_ok=True)
    with pytest.raises(DeadlineExceeded):
        client.task("nap")(seconds=6.0, timeout=3.0)  # time enough to come to it
    assert "nap\n" == (folder / "naps").read_text()  # and was not tried again


def test_a_job_is_waited_for_with_its_progress(either: pillion.Client) -> None:
    job = either.task("classify").submit(text="later", key=f"once {either.url}")
    seen: list[str] = []
    assert "COMPLETED" == job.wait(lambda state: seen.append(state["state"]), timeout=30)["state"]
    assert "COMPLETED" == seen[-1]
    assert [{"name": "later", "score": 1.0}] == job.result()
    assert job.id == either.task("classify").submit(text="later", key=f"once {either.url}").id
    file = either.task("flip").submit(audio=File(b"abc")).result(timeout=30)
    assert ("flipped.txt", b"cba") == (file.filename, file.read())


def test_a_job_is_cancelled_and_says_so(either: pillion.Client) -> None:
    job = either.task("nap").submit(seconds=60.0)
    job.cancel()
    assert "CANCELED" == job.wait(timeout=30)["state"]
    with pytest.raises(Conflict, match="CANCELED"):
        job.result()
    with pytest.raises(ValueError, match="no log of its own"):
        list(job.logs())


def test_a_job_goes_on_when_nobody_waits_any_more(either: pillion.Client) -> None:
    job = either.task("nap").submit(seconds=2.0)
    with pytest.raises(DeadlineExceeded, match="it goes on"):
        job.wait(timeout=0.1)
    assert "rested" == job.result(timeout=30)


def test_a_training_tells_its_progress_and_what_it_prints(either: pillion.Client) -> None:
    job = either.train("ClassifyMoodTrain", "mine", epochs=3)
    assert "epoch 2" in "".join(job.logs(follow=True))
    assert "COMPLETED" == job.result(timeout=60)["state"]
    assert ["epoch 0", "epoch 1", "epoch 2"] == "".join(job.logs()).split("\n")[:3]
    with pytest.raises(CallError, match="epoch"):
        either.train("ClassifyMoodTrain", "mine", epoch=3)


def test_jobs_are_found_again_and_listed(either: pillion.Client) -> None:
    prediction = either.task("classify").submit(text="later")
    training = either.train("ClassifyMoodTrain", "found", {"epochs": 1})
    assert "COMPLETED" == training.wait(timeout=60)["state"]
    assert "COMPLETED" == prediction.wait(timeout=60)["state"]
    for job in (prediction, training):
        assert (job.kind, job.status()) == (either.job(job.id).kind, either.job(job.id).status())
    assert [{"name": "later", "score": 1.0}] == either.job(prediction.id).result()
    page = either.jobs(limit=2)
    assert [training.id, prediction.id] == [one.get("training_id") or one.get("prediction_id") for one in page]
    (last,) = either.jobs(kind="training", state=["COMPLETED", "ERRORED"], model="found", limit=1)
    assert training.id == last["training_id"]
    (older,) = either.jobs(limit=1, after=either.jobs(limit=1).next)
    assert prediction.id == older["prediction_id"]
    assert 0 == len(either.jobs(state="QUEUED", model="found"))
    with pytest.raises(NotFound, match="none"):
        either.job("none")
    with pytest.raises(InvalidInput, match="state"):
        either.jobs(state="DONE")


def test_trainings_are_described_and_any_route_is_asked(client: pillion.Client) -> None:
    (spec,) = client.trainings().values()
    assert ("ClassifyMoodTrain", {"epochs", "gate"}, ()) == (spec.name, set(spec.parameters), spec.data)
    assert [{"name": "x", "score": 1.0}] == client.request("POST", "/classify", {"text": "x"})
    assert ["mood"] == [
        one["name"] for one in client.request("GET", "/info/models", query={"model_ids": "mood"})["models"]
    ]
    with pytest.raises(NotFound):
        client.request("GET", "/nowhere")
    with pytest.raises(ValueError, match="from the server's root"):
        client.request("GET", "info/models")


def test_a_model_is_deployed_and_taken_back(either: pillion.Client, tmp_path: Path) -> None:
    import skops.io
    from sklearn.linear_model import LogisticRegression

    skops.io.dump(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), tmp_path / "m.skops")
    told = either.deploy("fresh", tmp_path / "m.skops", metadata={"run": 7})
    assert ("fresh", "READY", {"run": 7}) == (told["name"], told["state"], told["metadata"])
    assert [0, 1] == either.model("fresh").predict([[0.0], [1.0]]).tolist()
    assert ["fresh"] == [model["name"] for model in either.info("fresh")]
    either.undeploy("fresh", purge=True)
    with pytest.raises(NotFound):
        either.model("fresh").metadata()
    with pytest.raises(FileNotFoundError, match="nothing"):
        either.deploy("fresh", tmp_path / "nothing")


def test_an_upload_takes_no_memory_for_its_size(either: pillion.Client, tmp_path: Path) -> None:
    with (tmp_path / "large.bin").open("wb") as large:
        large.truncate(100_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(CallError):
            either.deploy("large", tmp_path)
        assert 8_000_000 > tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_stubs_are_typed_and_run(program: Program, tmp_path: Path) -> None:
    out = tmp_path / "stubs.py"
    subprocess.run([*PILLION, "client-stubs", program.url(), "-o", str(out)], check=True, timeout=60)
    (tmp_path / "use.py").write_text(
        "import sys\n"
        "import pillion\n"
        "from stubs import AsyncTasks, Tasks\n\n"
        "with pillion.Client(sys.argv[1]) as client:\n"
        "    tasks = Tasks(client)\n"
        "    labels = tasks.classify(text='x', top_k=2, mode='b')\n"
        "    file: pillion.File = tasks.flip(audio=pillion.File(b'abc'), loud=True)\n"
        "    numbers: list[int] = list(tasks.count(to=3))\n"
        "    print(labels[1]['name'], file.read(), numbers, tasks.rename(label={'name': 'a'})['name'])\n"
    )
    (tmp_path / "wrong.py").write_text(
        "import pillion\nfrom stubs import Tasks\n\nTasks(pillion.Client('http://x')).classify(txt='x', mode='c')\n"
    )
    mypy = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent"]
    # Both at once: most of its time goes by before it comes to any of them.
    files = ("stubs.py", "use.py", "wrong.py")
    done = subprocess.run([*mypy, *files], cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False)
    found = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert 1 == done.returncode, done.stdout + done.stderr
    assert {"wrong.py"} == {line.partition(":")[0] for line in found}, done.stdout
    assert any('Unexpected keyword argument "txt"' in line for line in found)
    assert any('Argument "mode"' in line or "Missing named argument" in line for line in found)
    ran = subprocess.run(
        [sys.executable, "use.py", program.url()], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert "x b'CBA' [0, 1, 2] A\n" == ran.stdout, ran.stderr
