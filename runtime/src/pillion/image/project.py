"""A project folder: its service, its lock, and the files that go into the image."""

from __future__ import annotations

import ast
import os
import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from pillion.authoring.names import model_name
from pillion.image.ignore import Rules, Verdict, read_rules
from pillion.image.layer import Entry, file_entry
from pillion.image.lock import Lock, read_lock, remedy
from pillion.oci.errors import ImageError
from pillion.runtimefile import CODE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CODE", "Files", "Service", "dependencies", "files_of", "find_service"]

CODE: Final = CODE_FOLDER
"""Where the project's files are in the image."""
_DEFAULT: Final = "service.py"
_LARGEST: Final = 3
_INCLUDES: Final = ("-r", "--requirement", "-e", "--editable")
_OWN: Final = re.compile(r"pillion\s*(?:$|[\[<>=~!;@])")
"""A requirement of Pillion itself, which the base has."""


@dataclass(frozen=True, slots=True)
class Service:
    """The class that the image serves.

    Attributes:
        folder: the project.
        file: the module, relative to it.
        class_name: the class.
    """

    folder: Path
    file: str
    class_name: str

    @property
    def name(self) -> str:
        """What the class is served as."""
        return model_name(self.class_name)


@dataclass(frozen=True, slots=True)
class Files:
    """What a project's folder becomes.

    Attributes:
        entries: files for the image.
        secrets: what was left out because its name is one of files with secrets.
        ignored: how many other names were left out.
        size: bytes that are copied.
    """

    entries: tuple[Entry, ...]
    secrets: tuple[str, ...]
    ignored: int
    size: int


def find_service(target: str) -> Service:
    """Read ``FOLDER``, ``service.py`` or ``service.py:Class``, without running any of it.

    Raises:
        ImageError: there is no service, or more than one.
    """
    path, colon, class_name = target.rpartition(":") if ".py:" in target else (target, "", "")
    file = Path(path)
    if file.is_dir():
        file /= _DEFAULT
        if not file.is_file():
            raise ImageError(
                f"{path}: there is no {_DEFAULT} in this folder: name file and class (pillion build app.py:Class), "
                "or begin with `pillion new NAME --template python`; a saved model needs no image: "
                "`pillion deploy MODEL`",
                usage=True,
            )
    elif file.suffix != ".py" or not file.is_file():
        raise ImageError(f"{path}: neither a folder nor a Python file", usage=True)
    named = class_name if colon else ""
    return Service(file.parent, file.name, named or _only_class(file))


def _only_class(file: Path) -> str:
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        raise ImageError(f"{file}:{error.lineno}: SyntaxError: {error.msg}", usage=True) from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{file} cannot be read: {error}", usage=True) from None
    found = [node.name for node in tree.body if isinstance(node, ast.ClassDef) and any(map(_is_model, node.bases))]
    if len(found) == 1:
        return found[0]
    what = f"has {len(found)} classes that are a pillion.Model: {', '.join(found)}" if found else "has no pillion.Model"
    raise ImageError(f"{file} {what}: name the class: {file}:{found[0] if found else 'Class'}", usage=True)


def _is_model(base: ast.expr) -> bool:
    name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
    return name == "Model"


def dependencies(folder: Path) -> Lock:
    """The lock of the project; an empty one where it declares nothing but Pillion.

    Raises:
        ImageError: dependencies are declared and not locked.
    """
    lock = folder / "requirements.lock"
    if lock.is_file():
        return read_lock(_text(lock), source=lock.name)
    requirements = folder / "requirements.txt"
    if requirements.is_file():
        return read_lock(_text(requirements), source=requirements.name)
    named, project = folder / "requirements.in", folder / "pyproject.toml"
    for file, declared in ((named, _named(named)), (project, _declared(project))):
        if declared:
            raise ImageError(
                f"{file.name} declares {', '.join(declared)} and there is no lock, so two builds could differ: "
                f"{remedy(file.name)}",
                usage=True,
            )
    return Lock("", ())


def _named(file: Path) -> list[str]:
    """The requirements of a file that pip-compile and uv make a lock of; what it includes counts as one."""
    if not file.is_file():
        return []
    lines = (re.split(r"(?:^|\s)#", line)[0].strip() for line in _text(file).splitlines())
    wanted = (line for line in lines if line and (not line.startswith("-") or line.startswith(_INCLUDES)))
    return [line for line in wanted if not _OWN.match(line)]


def _declared(file: Path) -> list[str]:
    if not file.is_file():
        return []
    try:
        found = tomllib.loads(_text(file)).get("project", {}).get("dependencies", [])
    except tomllib.TOMLDecodeError as error:
        raise ImageError(f"{file}: {error}", usage=True) from None
    names = [str(one) for one in found] if isinstance(found, list) else []
    return [one for one in names if not _OWN.match(one)]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"{file} cannot be read: {error}", usage=True) from None


def files_of(folder: Path, *, without: frozenset[Path], most_bytes: int) -> Files:
    """The files of the project that go into the image.

    Args:
        folder: the project.
        without: files that are being written.
        most_bytes: of all that is copied.

    Raises:
        ImageError: too much, a link that leads out of the project, or something that is no file.
    """
    rules = _rules(folder)
    entries: list[Entry] = []
    secrets: list[str] = []
    ignored = 0
    for path, verdict in _walk(folder, rules):
        if (folder / path).absolute() in without:
            continue
        if verdict is Verdict.SECRET:
            secrets.append(path)
        elif verdict is Verdict.IGNORED:
            ignored += 1
        else:
            entries.append(_entry(folder, path))
    size = sum(entry.size for entry in entries)
    if size > most_bytes:
        largest = sorted(entries, key=lambda entry: -entry.size)[:_LARGEST]
        told = ", ".join(f"{one.path.removeprefix(CODE + '/')} ({one.size / 1e6:.0f} MB)" for one in largest)
        raise ImageError(
            f"{folder} has {size / 1e6:.0f} MB of files, more than {most_bytes / 1e6:.0f} MB; the largest: {told}. "
            "Name what is not needed in .pillionignore, keep models in storage (load(self, artifact)), or raise "
            "--max-size",
            usage=True,
        )
    return Files(tuple(entries), tuple(secrets), ignored, size)


def _rules(folder: Path) -> Rules:
    for name in (".pillionignore", ".dockerignore"):
        if (folder / name).is_file():
            return read_rules(_text(folder / name))
    return read_rules("")


def _walk(folder: Path, rules: Rules) -> Iterator[tuple[str, Verdict]]:
    """Every file, and every folder that is left out whole, in order."""
    for place, folders, names in os.walk(folder):
        below = PurePosixPath(Path(place).relative_to(folder).as_posix())
        kept: list[str] = []
        for name in sorted(folders):
            path = str(below / name)
            verdict = rules.verdict(path)
            if (Path(place) / name / "pyvenv.cfg").is_file():
                verdict = Verdict.IGNORED
            elif (Path(place) / name).is_symlink():
                yield path, verdict
                continue
            elif verdict is Verdict.COPIED or rules.excepts:
                kept.append(name)
                continue
            yield path, verdict
        folders[:] = kept
        for name in sorted(names):
            yield str(below / name), rules.verdict(str(below / name))


def _entry(folder: Path, path: str) -> Entry:
    file = folder / path
    if file.is_symlink():
        link = file.readlink()
        target = os.path.normpath(folder.absolute() / PurePosixPath(path).parent / link)
        if link.is_absolute() or not Path(target).is_relative_to(folder.absolute()):
            raise ImageError(
                f"{path} is a link to {link}, which is not in the project: copy it, or ignore it", usage=True
            )
        return Entry(f"{CODE}/{path}", link=str(link))
    if not stat.S_ISREG(file.stat().st_mode):
        raise ImageError(f"{path} is neither a file nor a folder: name it in .pillionignore", usage=True)
    return file_entry(f"{CODE}/{path}", file)
