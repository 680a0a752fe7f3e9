"""Importing the user's module, again after it was edited, and saying where an import went wrong.

A module named by file is imported under its file's name with its folder first on the import path, as ``python FILE``
would find its neighbours. When a file has changed, importing again first forgets every module of that folder, so that
edits of helpers count; when the new code cannot be imported, the old modules are put back and the old model serves on
with them.
"""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import sys
import sysconfig
import threading
import traceback
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from pillion.authoring.model import Model
from pillion.backends.api import ModelLoadError

if TYPE_CHECKING:
    from types import ModuleType

    from pillion.runtimefile import Code

__all__ = ["Imported", "classes_in", "failure_in_code", "import_class", "import_module"]

_LOCK: Final = threading.Lock()
"""One import of user code at a time: each takes modules out and puts them back."""
_DISTRIBUTIONS: Final = {
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "PIL": "pillow",
    "sentence_transformers": "sentence-transformers",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""What to install for a module whose distribution has another name."""
_INSTALLED: Final = ("site-packages", "dist-packages")
_PYTHON: Final = tuple(
    {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")} | {Path(__file__).parents[1]}
)
"""Python's own library, and this package: a folder such as a home may hold them."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A class, and the files it was made of."""

    cls: type[Any]
    files: tuple[str, ...]


@dataclass(slots=True)
class _Folder:
    """What is known of a folder that code was imported from."""

    before: frozenset[str]
    """Modules that were there before: the host program's own, which are never taken out."""
    seen: dict[str, tuple[int, int, int] | None] = field(default_factory=dict)
    """Files of the last import that succeeded, as they were."""


_FOLDERS: Final[dict[Path, _Folder]] = {}


def import_class(code: Code) -> Imported:
    """Import the module and find the class; modules whose files have not changed are used as they are.

    Raises:
        ModelLoadError: the module cannot be imported, or has no such class; ``files`` of it are worth watching.
    """
    folder = Path(code.folder)
    with _LOCK:
        known = _FOLDERS.setdefault(folder, _Folder(frozenset(sys.modules)))
        if code.folder not in sys.path:
            sys.path.insert(0, code.folder)
        changed = any(_identity(file) != identity for file, identity in known.seen.items())
        former = _forget(folder) if changed else {}
        importlib.invalidate_caches()
        linecache.checkcache()
        present = _ours(folder).keys()
        try:
            module = _import(code)
            cls = _class_in(module, code)
        except BaseException as error:
            tried = _files(folder)
            for name in _ours(folder).keys() - present:
                del sys.modules[name]
            sys.modules.update(former)
            if isinstance(error, KeyboardInterrupt):
                raise
            failure = error
            if not isinstance(failure, ModelLoadError):
                failure = failure_in_code(error, folder, f"importing {code.module}")
            failure.files = tuple(dict.fromkeys((*tried, *failure.files)))
            raise failure from (None if failure is error else error)
        files = _files(folder)
        known.seen = {file: _identity(file) for file in files}
        return Imported(cls, files)


def import_module(code: Code) -> ModuleType:
    """Import a module once, with its folder first on the import path.

    Raises:
        ModelLoadError: it cannot be imported; the text has file and line.
    """
    with _LOCK:
        if code.folder and code.folder not in sys.path:
            sys.path.insert(0, code.folder)
        importlib.invalidate_caches()
        try:
            return _import(code)
        except ModelLoadError:
            raise
        except Exception as error:
            raise failure_in_code(error, Path(code.folder), f"importing {code.module}") from error


def _identity(file: str) -> tuple[int, int, int] | None:
    try:
        stat = Path(file).stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _import(code: Code) -> ModuleType:
    file = Path(code.module)
    if file.suffix != ".py":
        return importlib.import_module(code.module)
    if not file.is_file():
        raise ModelLoadError(f"{file}: no such file", "name the file and the class: pillion serve service.py:Class")
    name = file.stem
    if name.isidentifier() and name not in sys.stdlib_module_names:
        found = importlib.import_module(name)
        if getattr(found, "__file__", None) and Path(str(found.__file__)).resolve() == file.resolve():
            return found
        # An installed package of that name came first; the file was asked for.
    name = f"pillion_user_{''.join(c if c.isalnum() else '_' for c in name)}"
    cached = sys.modules.get(name)
    if cached is not None and getattr(cached, "__file__", None) == str(file):
        return cached
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ModelLoadError(f"{file} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def classes_in(code: Code) -> dict[str, type[Model]]:
    """Import the module, and find the class that is named, or all models that are written in it.

    Raises:
        ModelLoadError: it cannot be imported, or has no such class.
    """
    if code.class_name:
        cls = import_class(code).cls
        return {cls.__name__: cls}
    folder = Path(code.folder)
    with _LOCK:
        if code.folder not in sys.path:
            sys.path.insert(0, code.folder)
        try:
            own = _models(_import(code))
        except ModelLoadError:
            raise
        except Exception as error:
            raise failure_in_code(error, folder, f"importing {code.module}") from error
    if not own:
        raise ModelLoadError(f"{code.module} has no class that is a pillion.Model")
    return own


def _models(module: ModuleType) -> dict[str, type[Model]]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Model) and value.__module__ == module.__name__
    }


def _class_in(module: ModuleType, code: Code) -> type[Any]:
    own = _models(module)
    listed = f"it has: {', '.join(own)}" if own else "it has no class that is a pillion.Model"
    if code.class_name:
        found = getattr(module, code.class_name, None)
        if isinstance(found, type):
            return found
        make = getattr(found, "__pillion_model__", None)
        if make is not None:  # a composition says itself what class it is served as
            return cast("type[Any]", make(code.class_name))
        raise ModelLoadError(f"{code.module} has no class {code.class_name!r}; {listed}")
    if len(own) != 1:
        raise ModelLoadError(f"{code.module}: which class? {listed}", f"name it: {code.module}:Class")
    return next(iter(own.values()))


def _ours(folder: Path) -> dict[str, ModuleType]:
    """Modules by name that were imported from below the folder because of the user's code."""
    before = _FOLDERS[folder].before
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name not in before and _below(getattr(module, "__file__", None) or "", folder)
    }


def _files(folder: Path) -> tuple[str, ...]:
    return tuple(sorted({str(module.__file__) for module in _ours(folder).values()}))


def _forget(folder: Path) -> dict[str, ModuleType]:
    """Take the folder's modules out; what they were."""
    former = _ours(folder)
    for name in former:
        del sys.modules[name]
    return former


def failure_in_code(error: BaseException, folder: Path, doing: str) -> ModelLoadError:
    """An exception of the user's code as a sentence with file and line, and the remedy where there is one."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _below(frame.filename, folder)]
    files = list(dict.fromkeys(frame.filename for frame in frames))
    if isinstance(error, SyntaxError) and error.filename:
        message = f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
        line = (error.text or "").strip()
        return _with_files(ModelLoadError(f"{message}: {line}" if line else message), [*files, error.filename])
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else doing
    text = " ".join(str(error).split())
    message = f"{place}: {type(error).__name__}: {text}" if text else f"{place}: {type(error).__name__}"
    remedy = None
    if isinstance(error, ModuleNotFoundError) and error.name:
        missing = error.name.partition(".")[0]
        if missing in packages_distributions() or (folder / missing).exists():
            remedy = f"the package {missing} is there and has no {error.name}"
        else:
            name = _DISTRIBUTIONS.get(missing, missing)
            remedy = f"{missing} is not installed: pip install {name}; in a cluster it belongs into the image's lock"
        files += [str(folder / f"{missing}.py"), str(folder / missing / "__init__.py")]
    return _with_files(ModelLoadError(message, remedy), files)


def _with_files(error: ModelLoadError, files: list[str]) -> ModelLoadError:
    error.files = tuple(files)
    return error


def _below(file: str, folder: Path) -> bool:
    """Whether a file is the user's: below the folder, and neither Python's nor an installed package's."""
    path = Path(file)
    if not file or not path.is_relative_to(folder) or any(part in _INSTALLED for part in path.parts):
        return False
    return not any(path.is_relative_to(own) for own in _PYTHON)
