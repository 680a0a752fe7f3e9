"""The process that opens the pickle: ``python -P -m pillion.model_conversion.worker JOB ANSWER``.

It is a process of its own so that whatever the pickle does ends with it, and so that it starts with few of the
caller's environment variables. That is tidiness and no sandbox: it may do what the user may do.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.backends.api import LoadOptions, ModelLoadError, backend_named
from pillion.backends.detect import FileKind, kind_of
from pillion.model_conversion.job import Answer, Failed, Job

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENVIRONMENT", "convert"]

ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")
"""Variables that the process is given: what Python and libraries need to be found, no credentials."""

_OF_THE_EXTRA: Final = frozenset({"joblib", "numpy", "scipy", "skops", "sklearn"})


def convert(job: Job) -> Answer:
    """Load, write, compare, and put the result in its place where it is equal.

    Raises:
        ModelLoadError: there is nothing to compare; says why and what to do.
    """
    from pillion.model_conversion import samples, targets  # noqa: PLC0415 - numpy and libraries, after the job is read
    from pillion.model_conversion.comparison import compare  # noqa: PLC0415 - as above

    source, target = Path(job.source), Path(job.target)
    estimator, saved, loading = _load(source, job)
    rows = samples.read(Path(job.samples), estimator) if job.samples else samples.generated(estimator)
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if job.format == "skops":
            converted = targets.skops(estimator, scratch)
        else:
            converted = targets.onnx(estimator, scratch, rows)
        given = converted.rows(rows.rows)
        before, after = _results(estimator, given, job), converted.results(given)
        compared = [compare(name, before[name], after[name], job.tolerance) for name in before if name in after]
        answer = Answer(
            saved=dict(saved),
            loading={**loading, **converted.versions},
            rows=len(rows),
            generated=rows.generated,
            compared=compared,
            foreign_types=converted.foreign_types,
            notes=[*rows.notes, *(f"not in the new file: {name}" for name in before if name not in after)],
        )
        if answer.equal:
            scratch.replace(target)
        return answer
    finally:
        scratch.unlink(missing_ok=True)


def _load(source: Path, job: Job) -> tuple[Any, Mapping[str, str], Mapping[str, str]]:
    """The estimator and its libraries, by the backend that serves it."""
    if kind_of(source) not in {FileKind.PICKLE, FileKind.SKOPS}:
        raise ModelLoadError(f"{source.name} is neither a pickle nor a skops file", "nothing needs converting")
    options = LoadOptions(allow_pickle=True, trusted_types=frozenset(job.trusted_types))
    model: Any = backend_named("sklearn").load(source, options)
    return model.estimator, model.libraries.saved, model.libraries.loading


def _results(estimator: Any, rows: Any, job: Job) -> dict[str, Any]:  # noqa: ANN401 - any estimator and its rows
    from pillion.model_conversion.targets import results_of  # noqa: PLC0415 - as above

    try:
        return results_of(estimator, rows)
    except Exception as error:
        what = f"the rows of {job.samples}" if job.samples else "made-up rows of numbers"
        raise ModelLoadError(
            f"the model itself refuses {what}: {type(error).__name__}: {' '.join(str(error).split())[:300]}",
            "give rows as it was fitted on: --samples rows.csv",
        ) from error


def main() -> None:
    """Do the job in the first file, write the answer to the second."""
    sys.path.append(str(Path.cwd()))  # modules that the pickle needs; last, so that they shadow nothing
    warnings.simplefilter("ignore")  # what matters of them is in the answer
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    answer: Answer | Failed
    try:
        answer = convert(job)
    except ModelLoadError as error:
        answer = Failed(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _OF_THE_EXTRA:
            answer = Failed(f"converting needs {error.name}, which is not installed (pip install 'pillion[sklearn]')")
        else:
            answer = Failed(
                f"{Path(job.source).name} needs the module {error.name!r}: install it, or run this beside it"
            )
    except Exception as error:  # noqa: BLE001 - unpickling runs any code, which may raise anything
        text = " ".join(str(error).split())
        answer = Failed(f"{Path(job.source).name} could not be loaded: {type(error).__name__}: {text[:500]}")
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
