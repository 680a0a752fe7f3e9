"""predict_proba of 10,000 rows by binary tensors, against the same estimator in this process.

``python -m bench.tabular [--rounds N]`` writes ``bench/results/tabular.md`` and ``.json``. The server has one processor
and the client the other; in-process prediction runs in the client, with one native thread as in the server. Rounds are
interleaved: in-process, REST, gRPC for each model, again and again; a ratio is taken within a round. Each answer is
compared with the in-process one. ``sent`` starts from the bytes of the request, ``whole`` from the arrays. Next to the
ratio of times stands the one of processor time, client and server together, which neighbours disturb least.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import grpc
import joblib
import lightgbm
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from threadpoolctl import threadpool_limits

from bench.process import Process, free_port
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.protocol.raw import to_raw
from pillion.runtimefile import DesiredModel, RuntimeFile, dump
from pillion.tensors import Datatype
from tests import penguins

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 10_000
OUTPUT = "predict_proba"
RESULTS = Path(__file__).parent / "results"


@dataclass(slots=True)
class Case:
    """One model, its rows as arrays, and how it predicts here."""

    name: str
    title: str
    path: Path
    arrays: dict[str, np.ndarray[Any, np.dtype[Any]]]
    predict: Callable[[], np.ndarray[Any, np.dtype[Any]]]
    rounds: list[dict[str, tuple[float, float]]] = field(default_factory=list)
    """Seconds, and processor seconds of both sides, by way."""


def cases(folder: Path) -> list[Case]:
    """The reference pipeline of mixed columns; a forest and boosted trees on numbers."""
    frame = penguins.table().sample(ROWS, replace=True, random_state=0).reset_index(drop=True)
    arrays: dict[str, Any] = {
        name: frame[name].fillna("").str.encode("utf-8").to_numpy(object)
        if name in penguins.TEXTS
        else frame[name].to_numpy()
        for name in frame.columns
    }
    pipeline = penguins.fit()
    forest_pipeline = penguins.fit(model=RandomForestClassifier(100, random_state=0))
    rows = np.random.default_rng(0).random((ROWS, 20))
    target = (rows[:, :3].sum(axis=1) * 2).astype(int)
    forest = RandomForestClassifier(100, random_state=0).fit(rows[:2000], target[:2000])
    boosted = lightgbm.LGBMClassifier(n_estimators=100, verbose=-1, n_jobs=1).fit(rows[:2000], target[:2000] > 2)
    joblib.dump(forest, folder / "forest.joblib")
    boosted.booster_.save_model(folder / "boosted.txt")
    trees: Any = partial(boosted.predict_proba, rows, num_threads=1)
    return [
        Case("penguins", "penguins: ColumnTransformer, logistic regression; 2 columns of text, 5 of numbers",
             penguins.save(pipeline, folder), arrays, partial(pipeline.predict_proba, frame)),
        Case("penguins-forest", "the same columns, random forest of 100 trees",
             penguins.save(forest_pipeline, folder, "penguins-forest"), arrays,
             partial(forest_pipeline.predict_proba, frame)),
        Case("forest", "random forest of 100 trees, FP64 [10000, 20]",
             folder / "forest.joblib", {"input": rows}, partial(forest.predict_proba, rows)),
        Case("boosted", "LightGBM, 100 trees, FP64 [10000, 20]",
             folder / "boosted.txt", {"input": rows}, trees),
    ]  # fmt: skip


def datatype_of(array: np.ndarray[Any, np.dtype[Any]]) -> Datatype:
    """As the columns are, without a conversion."""
    return {"O": Datatype.BYTES, "i": Datatype.INT64}.get(array.dtype.kind, Datatype.FP64)


def rest_body(case: Case) -> tuple[bytes, int]:
    """The whole body, and the bytes of JSON in it."""
    parts, inputs = [], []
    for name, array in case.arrays.items():
        kind = datatype_of(array)
        raw = to_raw(array, kind)
        shape = [ROWS, 1] if array.ndim == 1 else list(array.shape)
        parts.append(raw)
        inputs.append({"name": name, "datatype": kind, "shape": shape, "parameters": {"binary_data_size": len(raw)}})
    document = {"inputs": inputs, "outputs": [{"name": OUTPUT, "parameters": {"binary_data": True}}]}
    head = json.dumps(document).encode()
    return b"".join([head, *parts]), len(head)


def grpc_message(case: Case) -> bytes:
    """The serialized request with raw contents."""
    request = pb.ModelInferRequest(model_name=case.name)
    request.outputs.add(name=OUTPUT)
    for name, array in case.arrays.items():
        kind = datatype_of(array)
        request.inputs.add(name=name, datatype=kind, shape=[ROWS, 1] if array.ndim == 1 else list(array.shape))
        request.raw_input_contents.append(bytes(to_raw(array, kind)))
    return request.SerializeToString()


def by_rest(connection: http.client.HTTPConnection, case: Case, body: tuple[bytes, int]) -> np.ndarray[Any, Any]:
    """Probabilities, as a view of the answer."""
    headers = {"Inference-Header-Content-Length": str(body[1]), "Content-Type": "application/octet-stream"}
    connection.request("POST", f"/v2/models/{case.name}/infer", body[0], headers)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise RuntimeError(content.decode())
    data = np.frombuffer(content, np.float64, offset=int(response.headers["Inference-Header-Content-Length"]))
    return data.reshape(ROWS, -1)


def by_grpc(call: Callable[..., bytes], message: bytes) -> np.ndarray[Any, Any]:
    """Probabilities, as a view of the answer."""
    response = pb.ModelInferResponse.FromString(call(message, timeout=60))
    return np.frombuffer(response.raw_output_contents[0]).reshape(ROWS, -1)


def timed(
    work: Callable[[], np.ndarray[Any, Any]], server: Process
) -> tuple[tuple[float, float], np.ndarray[Any, Any]]:
    """Seconds and processor seconds, and what came."""
    there, here, started = server.cpu_seconds(), time.process_time(), time.perf_counter()
    result = work()
    seconds, used = time.perf_counter() - started, time.process_time() - here
    return (seconds, used + server.cpu_seconds() - there), result


def measure(case: Case, connection: http.client.HTTPConnection, call: Callable[..., bytes], server: Process) -> None:
    """One round of one model."""
    body, message = rest_body(case), grpc_message(case)
    here, expected = timed(case.predict, server)
    seconds = {"in-process": here}
    for name, work in {
        "rest, sent": lambda: by_rest(connection, case, body),
        "grpc, sent": lambda: by_grpc(call, message),
        "rest, whole": lambda: by_rest(connection, case, rest_body(case)),
        "grpc, whole": lambda: by_grpc(call, grpc_message(case)),
    }.items():
        seconds[name], result = timed(work, server)
        if not np.array_equal(result, expected):
            raise RuntimeError(f"{case.name} by {name} is not what the estimator says")
    case.rounds.append(seconds)


def report(found: list[Case], rounds: int) -> str:
    """The table: milliseconds in-process, and the ratios of speed with their range."""
    ways = [name for name in found[0].rounds[0] if name != "in-process"]
    lines = [
        "# predict_proba of 10,000 rows by binary tensors",
        "",
        f"`python -m bench.tabular --rounds {rounds}`: speed of a call over that of the estimator in this process,",
        "median (quartiles) of the ratios within each of the interleaved rounds; then that of processor time, of both",
        "sides together. One processor for each side.",
        "",
        f"| model | in-process ms | {' | '.join(ways)} |",
        f"|---|---|{'---|' * len(ways)}",
    ]
    for case in found:
        cells = []
        for way in ways:
            ratios = sorted(each["in-process"][0] / each[way][0] for each in case.rounds)
            quarter = len(ratios) // 4
            used = sum(each["in-process"][1] for each in case.rounds) / sum(each[way][1] for each in case.rounds)
            cells.append(f"{median(ratios):.2f} ({ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f}), {used:.2f}")
        here = median(each["in-process"][0] for each in case.rounds) * 1000
        lines.append(f"| {case.title} | {here:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds: int = parser.parse_args().rounds
    os.sched_setaffinity(0, {1})
    threadpool_limits(1)  # as many native threads as the server has on its one processor
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = cases(folder)
        models = tuple(DesiredModel(name=c.name, path=str(c.path), allow_pickle=True) for c in found)
        (folder / "runtime.yaml").write_text(dump(RuntimeFile(models=models)))
        ports = {kind: free_port() for kind in ("http", "grpc", "admin")}
        flags = [part for kind, port in ports.items() for part in (f"--{kind}-port", str(port))]
        flags += [part for kind in ports for part in (f"--{kind}-host", "127.0.0.1")]
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "pillion.server",
            "--config",
            folder / "runtime.yaml",
            *flags,
        ]
        command += ["--control-socket", folder / "control.sock"]
        server = Process("pillion", command, 0, folder / "log")
        server.start(partial(is_ready, ports["admin"]))
        try:
            connection = http.client.HTTPConnection("127.0.0.1", ports["http"])
            with grpc.insecure_channel(
                f"127.0.0.1:{ports['grpc']}", [("grpc.max_receive_message_length", -1)]
            ) as channel:
                call: Callable[..., bytes] = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
                for number in range(rounds + 1):
                    for case in found:
                        measure(case, connection, call, server)
                        if number == 0:  # warm-up
                            case.rounds.clear()
        finally:
            server.stop()
    text = report(found, rounds)
    RESULTS.joinpath("tabular.md").write_text(text)
    RESULTS.joinpath("tabular.json").write_text(
        json.dumps([{key: asdict(c)[key] for key in ("name", "title", "rounds")} for c in found], indent=1) + "\n"
    )
    print(text)


def is_ready(port: int) -> bool:
    """Whether all models are loaded."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()
