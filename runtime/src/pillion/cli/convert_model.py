"""``pillion convert-model``: from a pickle to a format that cannot run code, checked on samples."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from pillion.cli.failures import EXIT_CODES, CommandError

if TYPE_CHECKING:
    from pillion.model_conversion.job import Answer, Job

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion convert-model iris.joblib -o iris.skops --allow-pickle
  pillion convert-model churn.pkl -o churn.onnx --allow-pickle --samples rows.csv

{EXIT_CODES}"""

_TOLERANCES: Final = {"skops": 0.0, "onnx": 1e-4}
"""skops keeps every bit; ONNX computes in single precision."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("convert-model", epilog=_EPILOG)(convert_model)


def convert_model(
    source: Annotated[Path, typer.Argument(metavar="MODEL", help="A joblib, pickle or skops file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The new file; its ending says the format.")],
    samples: Annotated[
        Path | None, typer.Option(help="Rows to compare results on: .csv or .npy.  [default: made-up numbers]")
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Open the pickle, which runs whatever its author wrote.")
    ] = False,
    trust: Annotated[
        list[str] | None, typer.Option("--trust", metavar="TYPE", help="A type that a skops file may hold.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Largest difference that counts as equal.  [default: 0; ONNX: 1e-4]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output where it is there already.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Convert a scikit-learn model to skops or ONNX, and compare its results before and after.

    The file is written only where the results are equal. The pickle is opened in a process of its own.
    """
    from pillion.model_conversion.job import Job  # noqa: PLC0415 - keeps --help quick

    chosen = _format(output)
    _check(source, output, allow_pickle=allow_pickle, force=force)
    job = Job(
        source=str(source.absolute()),
        target=str(output.absolute()),
        format=chosen,
        samples=None if samples is None else str(samples.absolute()),
        tolerance=_TOLERANCES[chosen] if tolerance is None else tolerance,
        trusted_types=tuple(trust or ()),
    )
    answer = _run(job)
    if as_json:
        import msgspec  # noqa: PLC0415 - as above

        told = msgspec.to_builtins(answer) | {"output": str(output) if answer.equal else None}
        typer.echo(json.dumps(told))
    else:
        typer.echo(_report(source, output, answer))
    if not answer.equal:
        raise CommandError(
            f"{output} was not written: its results differ from those of {source.name}."
            + (" The rows were made up: compare on data of yours with --samples rows.csv." if answer.generated else "")
            + " A larger --tolerance accepts differences of numbers, never of labels."
        )


def _format(output: Path) -> Literal["skops", "onnx"]:
    match output.suffix.lower():
        case ".skops":
            return "skops"
        case ".onnx":
            return "onnx"
        case other:
            raise CommandError(f"-o {output}: {other or 'no ending'} is no format: end it in .skops or .onnx", code=2)


def _check(source: Path, output: Path, *, allow_pickle: bool, force: bool) -> None:
    from pillion.backends.api import ModelLoadError  # noqa: PLC0415 - keeps --help quick
    from pillion.backends.detect import FileKind, kind_of  # noqa: PLC0415 - as above

    if not source.is_file():
        raise CommandError(f"{source}: no such file", code=2)
    if output.exists() and not force:
        raise CommandError(f"{output} is there already: name another, or replace it with --force", code=2)
    if not output.absolute().parent.is_dir():
        raise CommandError(f"{output}: there is no folder {output.absolute().parent}", code=2)
    try:
        kind = kind_of(source)
    except ModelLoadError as error:
        raise CommandError(str(error), code=2) from None
    if kind is FileKind.PICKLE and not allow_pickle:
        command = f"pillion convert-model {shlex.quote(str(source))} -o {shlex.quote(str(output))} --allow-pickle"
        raise CommandError(
            f"{source.name} is a pickle: opening it runs whatever its author wrote. If you trust where it comes from,"
            f" say so: {command}",
            code=2,
        )


def _run(job: Job) -> Answer:
    """Let a process of its own do the job."""
    import msgspec  # noqa: PLC0415 - keeps --help quick

    from pillion.model_conversion.job import Answer, Failed  # noqa: PLC0415 - as above
    from pillion.model_conversion.worker import ENVIRONMENT  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory(prefix="pillion-convert-") as scratch:
        asked, told = Path(scratch, "job.json"), Path(scratch, "answer.json")
        asked.write_bytes(msgspec.json.encode(job))
        done = subprocess.run(  # noqa: S603 - this interpreter and a module of ours
            [sys.executable, "-P", "-m", "pillion.model_conversion.worker", str(asked), str(told)],
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,  # what the pickle prints is not the command's output
            check=False,
        )
        if not told.exists():
            raise CommandError(f"the process that opened {Path(job.source).name} ended with {done.returncode}")
        answer = msgspec.json.decode(told.read_bytes(), type=Answer | Failed)
    if isinstance(answer, Failed):
        raise CommandError(answer.message)
    return answer


def _report(source: Path, output: Path, answer: Answer) -> str:
    lines = [f"{source} -> {output}"]
    if answer.saved:
        lines.append(f"saved by      {_versions(answer.saved)}")
    lines.append(f"converted by  {_versions(answer.loading)}")
    made_up = " made-up rows of numbers; --samples compares on data of yours" if answer.generated else " rows"
    lines.append(f"compared on   {answer.rows}{made_up}")
    for one in answer.compared:
        apart = f"largest difference {one.difference:.3g} (relative {one.relative:.3g})"
        verdict = f"{one.mismatches} of {answer.rows} rows differ" if one.mismatches else "good"
        lines.append(f"  {one.method:<18}{apart}: {verdict}")
    lines += answer.notes
    if answer.equal:
        trust = "".join(f" --trust {name}" for name in answer.foreign_types)
        lines.append(f"written: pillion serve {shlex.quote(str(output))}{trust}")
        if answer.foreign_types:
            lines.append(f"in a manifest: trustedTypes: [{', '.join(answer.foreign_types)}]")
    return "\n".join(lines)


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}".strip() for name, version in versions.items())
