"""``pillion proto``: the ``.proto`` files of classes, and the lock that keeps the numbers of their fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pillion.cli.failures import EXIT_CODES, CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pillion.authoring.signature import TaskSignature
    from pillion.protocol.domain_schema import DomainSchema
    from pillion.protocol.task_schema import ServiceSchema
    from pillion.runtimefile import Code

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion proto
  pillion proto service.py:Mood --out api
  pillion proto --domain Nlp
  pillion proto --check

Exit code 1: with --check, something is out of date; without it, a type changed. {EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("proto", epilog=_EPILOG)(proto)


def proto(
    target: Annotated[
        str, typer.Argument(help="A folder with service.py, FILE.py, FILE.py:CLASS, or PACKAGE.MODULE:CLASS.")
    ] = ".",
    out: Annotated[Path | None, typer.Option(help="Folder to write into.  [default: proto, beside the code]")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail where files or lock are not what they would be.")
    ] = False,
    renumber: Annotated[
        bool, typer.Option("--renumber", help="Give fields whose type changed new numbers, and reserve the old ones.")
    ] = False,
    domain: Annotated[
        str | None,
        typer.Option(help="Offer the tasks of all classes by one service as well, DOMAINService; the lock keeps it."),
    ] = None,
    runtime: Annotated[
        bool, typer.Option("--runtime", help="Write pillion/runtime.proto as well: jobs, trainings, management.")
    ] = False,
) -> None:
    """Write the .proto files of the tasks of your classes, with field numbers that stay.

    The numbers are kept in proto.lock beside the code, which you commit and `pillion serve` numbers its messages by. A
    new field gets a new number, and the number of one that is gone is reserved. The code is imported, not loaded.
    """
    code = _code(target)
    plan = _plan(code, out, domain, runtime=runtime)
    if plan.retyped and not (renumber or check):
        changed = "\n  ".join(plan.retyped)
        raise CommandError(
            f"the type of a field changed, so clients made before would misread it:\n  {changed}\n"
            "change it back, add a field of another name, or give it a new number: --renumber"
        )
    stale = {file: text for file, text in plan.files.items() if _current(file) != text}
    if check:
        if not stale:
            typer.echo(f"up to date: {', '.join(plan.services)}")
            return
        told = [f"{_shown(file)} is {'out of date' if file.exists() else 'missing'}" for file in stale]
        raise CommandError("\n  ".join([*told, *plan.changes, "run pillion proto, and commit what it writes"]))
    for file, text in stale.items():
        _write(file, text)
    for line in plan.changes:
        typer.echo(line)
    typer.echo(f"wrote {', '.join(map(_shown, stale))}" if stale else f"up to date: {', '.join(plan.services)}")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What there should be."""

    services: tuple[str, ...]
    files: Mapping[Path, str]
    changes: tuple[str, ...]
    """How the code differs from the lock, a line for each service."""
    retyped: tuple[str, ...]


def _code(target: str) -> Code:
    from pillion.backends.api import ModelLoadError  # noqa: PLC0415 - keeps --help quick
    from pillion.backends.python_folder import code_in  # noqa: PLC0415 - as above

    folder = Path(target).expanduser()
    if folder.is_dir():
        try:
            return code_in(folder.resolve())
        except ModelLoadError as error:
            raise CommandError(f"{target}: {error}", code=2) from None
    from pillion.cli.local import code_target  # noqa: PLC0415 - keeps --help quick

    code = code_target(target, Path.cwd())
    if code is None:
        raise CommandError(f"{target}: no folder, FILE.py:CLASS or PACKAGE.MODULE:CLASS", code=2)
    return code


def _plan(code: Code, out: Path | None, asked: str | None, *, runtime: bool) -> _Plan:
    from pillion.authoring.errors import AuthoringError  # noqa: PLC0415 - keeps --help quick
    from pillion.authoring.field_numbers import LOCK_NAME, FieldLock, check_domain, lock_text, read_lock  # noqa: PLC0415 - as above
    from pillion.authoring.signature import define  # noqa: PLC0415 - as above
    from pillion.backends.api import ModelLoadError  # noqa: PLC0415 - as above
    from pillion.backends.python_source import classes_in  # noqa: PLC0415 - as above
    from pillion.protocol.domain_schema import domain_schema  # noqa: PLC0415 - as above
    from pillion.protocol.message_writer import shared_files  # noqa: PLC0415 - as above
    from pillion.protocol.proto_text import proto_text  # noqa: PLC0415 - as above
    from pillion.protocol.runtime_files import RUNTIME_FILE, runtime_text  # noqa: PLC0415 - as above
    from pillion.protocol.task_schema import service_schema  # noqa: PLC0415 - as above

    folder = Path(code.folder)
    try:
        definitions = [define(cls) for cls in classes_in(code).values()]
        known = read_lock(folder)
        if asked:
            check_domain(asked)
    except (AuthoringError, ModelLoadError) as error:
        raise CommandError(str(error), code=2) from None
    lock = known or FieldLock()
    domain = lock.domain if asked is None else asked
    schemas = [(one.tasks, service_schema(one.name, one.tasks, lock)) for one in definitions if one.tasks]
    said: dict[str, str] = {}
    if not schemas:
        names = ", ".join(one.name for one in definitions)
        raise CommandError(f"{names}: no method is marked with @task, so there is no service to describe", code=2)
    if domain:
        tasks = tuple(task for one in definitions for task in one.tasks)
        trained = {one.training.name: one.training for one in definitions if one.tasks and one.training is not None}
        described = domain_schema(domain, tasks, lock, trainings=list(trained.values()))
        whole, said = described.tasks, _domain_comments(described)
        schemas = [*((own, schema) for own, schema in schemas if schema.name != whole.name), (tasks, whole)]
    into = (folder / "proto") if out is None else out
    files: dict[Path, str] = {}
    for own, schema in schemas:
        file = into / schema.file.name
        if file in files:
            raise CommandError(f"two classes make the service {schema.name}: rename one of them", code=2)
        files[file] = proto_text(schema.file, said | _comments(own, schema))
    values = shared_files()[-1]
    if any(f'import "{values.name}"' in text for text in files.values()):
        files[into / values.name] = proto_text(values)
    if runtime or any(f'import "{RUNTIME_FILE}"' in text for text in files.values()):
        files[into / RUNTIME_FILE] = runtime_text()
    locked = {} if known is None else known.services
    # Services of other modules beside this one keep their numbers.
    numbers = {**locked, **{schema.name: schema.numbers for _, schema in schemas}}
    files[folder / LOCK_NAME] = lock_text(numbers, domain)
    made = [schema for _, schema in schemas]
    return _Plan(
        tuple(schema.name for schema in made),
        files,
        tuple(_changes(schema for schema in made if schema.name in locked)),
        tuple(f"{schema.name}: {one}" for schema in made for one in schema.changes.types),
    )


def _changes(schemas: Iterable[ServiceSchema]) -> Iterable[str]:
    return (f"{schema.name}: {schema.changes}" for schema in schemas if schema.changes)


def _comments(tasks: Sequence[TaskSignature], schema: ServiceSchema) -> dict[str, str]:
    said: dict[str, str] = {}
    for task in tasks:
        said.setdefault(task.name, "\n".join(filter(None, (task.summary, task.description))))
    return {method.name: said[method.task] for method in schema.methods}


def _domain_comments(domain: DomainSchema) -> dict[str, str]:
    """Of the methods of jobs and trainings."""
    jobs = {
        name: text
        for one in domain.jobs
        for name, text in (
            (one.submit, f"{one.task.name} as a job: kept when this answers. Metadata: idempotency-key, priority."),
            (one.result, "What it gave. FAILED_PRECONDITION until it is COMPLETED."),
        )
    }
    trainings = (one.signature for one in domain.trainings)
    return jobs | {one.name: "\n".join(filter(None, (one.summary, one.description))) for one in trainings}


def _current(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: cannot be read: {error}", code=2) from None


def _write(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(file)  # a lock that is cut short would be worse than none
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror or error}") from None


def _shown(file: Path) -> str:
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
