"""``pillion new``: a project that trains, tests, serves and deploys as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pillion.cli.failures import EXIT_CODES, CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

__all__ = ["NEXT", "register", "render"]

NEXT: Final[Mapping[str, str]] = {
    "sklearn": "cd {folder} && python train.py && pillion serve {name}.skops",
    "python": "cd {folder} && pillion serve service.py:Mood --reload",
    "torch": "cd {folder} && python train.py && pillion serve net.py:Net --artifact {name}.safetensors",
    "llm": "cd {folder} && python tiny.py && pillion serve service.py:Story --artifact tiny",
}
"""The templates, and what to type after each."""
_SUFFIX: Final = ".tmpl"
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,44}[a-z0-9])?")
"""A name that an InferenceService can have, and so a DNS label with room for the suffixes of its children."""

_EPILOG = f"""\b
Examples:
  pillion new iris --template sklearn
  pillion new mood -t python                       # a class of your own
  pillion new story -t llm                         # a language model from a folder
  pillion new churn -t sklearn --into ~/models/churn

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("new", epilog=_EPILOG)(new)


def new(
    name: Annotated[str, typer.Argument(help="Name of the project, its model and its InferenceService.")],
    template: Annotated[str, typer.Option("--template", "-t", help=f"One of: {', '.join(NEXT)}.")] = "sklearn",
    into: Annotated[Path | None, typer.Option(help="Folder to make.  [default: NAME]")] = None,
) -> None:
    """Make a project: code that trains or answers, its test, a README, and a manifest where a cluster can serve it."""
    if template not in NEXT:
        raise CommandError(f"no template is called {template}: there are {', '.join(NEXT)}", code=2)
    if not _NAME.fullmatch(name):
        raise CommandError(f"{name!r} cannot be an InferenceService's name{_suggestion(name)}", code=2)
    folder = Path(name) if into is None else into
    files = render(template, name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CommandError(f"{folder} is there already and not empty: choose another name, or --into FOLDER", code=2)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error.strerror or error}") from None
    typer.echo(f"made {folder}: {', '.join(files)}")
    typer.echo(f"next: {NEXT[template].format(folder=folder, name=name)}")


def render(template: str, name: str) -> dict[str, str]:
    """The files of a template by their names, with ``name`` filled in."""
    from importlib.resources import files  # noqa: PLC0415 - keeps --help quick

    found: list[Traversable] = sorted(files("pillion.cli.templates").joinpath(template).iterdir(), key=lambda f: f.name)
    return {
        file.name.removesuffix(_SUFFIX): Template(file.read_text(encoding="utf-8")).substitute(name=name)
        for file in found
        if file.name.endswith(_SUFFIX)
    }


def _suggestion(name: str) -> str:
    near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:46].strip("-")
    rule = ": lower-case letters, digits and dashes, at most 46, beginning with a letter"
    return f"{rule}, such as {near}" if _NAME.fullmatch(near) else rule
