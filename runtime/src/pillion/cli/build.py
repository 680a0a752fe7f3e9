"""``pillion build``: a project becomes an image, without a container engine."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pillion._version import __version__
from pillion.cli.failures import EXIT_CODES, CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.image.base import Base
    from pillion.image.build import Plan, Step
    from pillion.image.store import BlobStore
    from pillion.oci.reference import Reference

__all__ = ["Wanted", "as_command_errors", "default_base", "pushed", "register"]

_MOST_MB: Final = 512
_REGISTRY = "PILLION_IMAGE_REGISTRY"
_EPILOG = f"""\b
Examples:
  pillion build --push registry.example/team/mood:v1
  pillion build mood/ -o mood.tar                  # for `docker load`, podman, skopeo, containerd
  pillion build service.py:Mood -o layout/         # an OCI layout
  pillion build --platform linux/amd64 --platform linux/arm64 --push registry.example/team/mood:v1
  pillion build --dry-run

Dependencies come as wheels by the project's requirements.lock; make it with
  uv pip compile --generate-hashes pyproject.toml -o requirements.lock
Credentials are those of `docker login`. The base is Pillion's own image of this version: PILLION_IMAGE_REGISTRY says
in which registry it is, or --base names another.

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("build", epilog=_EPILOG)(build)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for, as it was written."""

    target: str = "."
    base: str = ""
    platforms: tuple[str, ...] = ()
    name: str = ""
    python: str = ""
    artifact: str = ""
    insecure: tuple[str, ...] = ()
    max_size: int = _MOST_MB
    output: Path | None = None


def build(  # noqa: PLR0917 - the options of a command line
    target: Annotated[
        str,
        typer.Argument(metavar="[FOLDER|FILE.py[:CLASS]]", help="A project with a service.py, or the class itself."),
    ] = ".",
    push: Annotated[str | None, typer.Option(metavar="IMAGE", help="Send it there: HOST/NAME:TAG.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write it there: a .tar, else a folder in the OCI layout.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Image to build on: of a registry, a .tar or an OCI layout.  [default: Pillion's]"),
    ] = None,
    platform: Annotated[
        list[str] | None, typer.Option(help="linux/amd64 or linux/arm64; several.  [default: linux/amd64]")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model.  [default: by the class]")] = None,
    python: Annotated[str | None, typer.Option(metavar="3.X", help="Python of the base.  [default: it says]")] = None,
    artifact: Annotated[
        str | None, typer.Option(metavar="PATH", help="What load(self, artifact) gets: a path in the project.")
    ] = None,
    insecure_registry: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="A registry without TLS; this machine's own need no word.")
    ] = None,
    max_size: Annotated[
        int, typer.Option(metavar="MB", min=1, help="Most that the project's files may have.")
    ] = _MOST_MB,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be built and what is cached.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Build an OCI image of a model that is a Python class. Needs no Docker and no root.

    The same files and the same lock on the same base give the same digest. Files whose names are those of secrets
    (.env, *.key) stay out, and are named.
    """
    if push is None and output is None and not dry_run:
        raise CommandError("say where the image goes: --push HOST/NAME:TAG, or -o FILE.tar", code=2)
    wanted = Wanted(
        target, base or "", tuple(platform or ()), name or "", python or "", artifact or "",
        tuple(insecure_registry or ()), max_size, output,
    )  # fmt: skip  # in the order of the fields
    with as_command_errors():
        from pillion.image.build import make, steps  # noqa: PLC0415 - keeps --help quick
        from pillion.image.made import write_archive, write_layout  # noqa: PLC0415 - as above
        from pillion.oci.reference import Reference  # noqa: PLC0415 - as above

        reference = None if push is None else Reference.parse(push)
        with _opened(wanted) as (plan, found, store):
            if dry_run:
                typer.echo(_dry(plan, found, steps(plan, found, store), as_json=as_json))
                return
            made = make(plan, found, store, _tell)
            ref_name = str(reference or f"localhost/{plan.name}:latest")
            if output is not None:
                if output.suffix == ".tar":
                    write_archive(made, output, ref_name, epoch=plan.epoch)
                else:
                    write_layout(made, output, ref_name)
            image = "" if reference is None else _push(made, reference, wanted)
        if as_json:
            described = {"image": image or None, "digest": made.root.digest, "bytes": made.size, "name": plan.name}
            typer.echo(json.dumps(described | {"output": str(output) if output else None}))
            return
        typer.echo(image or f"{output}  {made.root.digest}")


def pushed(wanted: Wanted, image: str, *, push: bool) -> tuple[str, str]:
    """Build, and push where that is asked for; the model's name, and the image's by its digest.

    Raises:
        CommandError: something of it cannot be done.
    """
    with as_command_errors():
        from pillion.image.build import make  # noqa: PLC0415 - keeps --help quick
        from pillion.oci.reference import Reference  # noqa: PLC0415 - as above

        reference = Reference.parse(image)
        with _opened(wanted) as (plan, found, store):
            made = make(plan, found, store, _tell)
            if push:
                _push(made, reference, wanted)
        return plan.name, reference.pinned(made.root.digest)


def default_base() -> str:
    """Pillion's own image of this version, in the registry that the installation uses."""
    return f"{os.environ.get(_REGISTRY) or 'localhost'}/pillion-runtime:{__version__}"


@contextlib.contextmanager
def as_command_errors() -> Iterator[None]:
    """Say what images cannot do as commands say it."""
    from pillion.oci.errors import ImageError  # noqa: PLC0415 - keeps --help quick

    try:
        yield
    except ImageError as error:
        raise CommandError(str(error), code=2 if error.usage else 1) from None


@contextlib.contextmanager
def _opened(wanted: Wanted) -> Iterator[tuple[Plan, Base, BlobStore]]:
    """The plan of what is asked for, its base, and what earlier builds left."""
    from pillion.cli.targets import cache_folder  # noqa: PLC0415 - keeps --help quick
    from pillion.image.base import open_base  # noqa: PLC0415 - as above
    from pillion.image.store import BlobStore  # noqa: PLC0415 - as above

    plan = _plan(wanted)
    store = BlobStore(cache_folder() / "build")
    if not wanted.base and not os.environ.get(_REGISTRY):
        _tell(f"base: {default_base()}; {_REGISTRY}=HOST/TEAM says where Pillion's images are, --base names another")
    with open_base(wanted.base or default_base(), store, os.environ, insecure=frozenset(wanted.insecure)) as base:
        yield plan, base, store
    # After the work, so that nobody waits for it who waits for the image.
    store.prune(now=time.time())


def _plan(wanted: Wanted) -> Plan:
    from pillion.image.build import EPOCH, Plan  # noqa: PLC0415 - keeps --help quick
    from pillion.image.project import dependencies, files_of, find_service  # noqa: PLC0415 - as above
    from pillion.oci.content import Platform  # noqa: PLC0415 - as above

    service = find_service(wanted.target)
    lock = dependencies(service.folder)
    without = frozenset() if wanted.output is None else frozenset({wanted.output.absolute()})
    files = files_of(service.folder, without=without, most_bytes=wanted.max_size * 1_000_000)
    if files.secrets:
        _tell(
            f"left out, because such files hold secrets: {', '.join(files.secrets)} (to copy: !NAME in .pillionignore)"
        )
    if wanted.artifact and not any(_below(entry.path, wanted.artifact) for entry in files.entries):
        raise CommandError(f"--artifact {wanted.artifact}: not among the files that go into the image", code=2)
    platforms = tuple(sorted({Platform.parse(text) for text in wanted.platforms or ("linux/amd64",)}))
    epoch = os.environ.get("SOURCE_DATE_EPOCH", str(EPOCH))
    if not epoch.isdecimal():
        raise CommandError(f"SOURCE_DATE_EPOCH={epoch}: write seconds since 1970", code=2)
    name = wanted.name or service.name
    return Plan(service, name, lock, files, platforms, wanted.python, wanted.artifact.strip("/"), int(epoch))


def _below(path: str, artifact: str) -> bool:
    from pillion.image.project import CODE  # noqa: PLC0415 - keeps --help quick

    place = f"{CODE}/{artifact.strip('/')}"
    return path == place or path.startswith(f"{place}/")


def _push(made: object, reference: Reference, wanted: Wanted) -> str:
    from pillion.image.made import Made, push  # noqa: PLC0415 - keeps --help quick
    from pillion.image.registry import Registry  # noqa: PLC0415 - as above

    assert isinstance(made, Made)  # noqa: S101 - said here so that the import stays lazy
    _tell(f"pushing {reference}")
    with Registry(reference, os.environ, insecure=frozenset(wanted.insecure), push=True) as registry:
        return push(made, registry, _tell)


def _dry(plan: Plan, base: Base, steps: tuple[Step, ...], *, as_json: bool) -> str:
    if as_json:
        layers = [
            {"platform": str(step.platform), "python": step.python, "cached": step.cached is not None} for step in steps
        ]
        described = {"name": plan.name, "base": base.name, "files": len(plan.files.entries), "bytes": plan.files.size}
        return json.dumps(described | {"packages": plan.lock.names, "dependencies": layers})
    lines = [f"{plan.name}: {plan.service.file}:{plan.service.class_name} on {base.name}"]
    for step in steps:
        state = "cached" if step.cached else "to be fetched"
        told = f"{len(plan.lock.names)} packages for Python {step.python}, {state}" if plan.lock.names else "none"
        lines.append(f"dependencies for {step.platform}: {told}")
    lines.append(
        f"code: {len(plan.files.entries)} files, {plan.files.size / 1e6:,.1f} MB; ignored: {plan.files.ignored}"
    )
    return "\n".join(lines)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
