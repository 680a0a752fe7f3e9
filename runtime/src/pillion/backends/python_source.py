"""Importing the user's module, again after it was edited, and saying where an import went wrong.

A module named by file is imported under its file's name with its folder first on the import path, as ``python FILE``
would find its neighbours. Importing again first forgets every module of that folder, so that edits of helpers count;
when the new code cannot be imported, the old modules are put back and the old model serves on with them.
"""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import sys
import threading
import traceback
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pillion.authoring.model import Model
from pillion.backends.api import ModelLoadError

if TYPE_CHECKING:
    from types import ModuleType

    from pillion.runtimefile import Code

__all__ = ["Imported", "failure_in_code", "import_class"]

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
_NOT_OURS: Final = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True)
class Imported:
    """A class, and the files it was made of."""

    cls: type[Any]
    files: tuple[str, ...]


def import_class(code: Code) -> Imported:
    """Import the module and find the class.

    Raises:
        ModelLoadError: the module cannot be imported, or has no such class; ``files`` of it are worth watching.
    """
    folder = Path(code.folder)
    with _LOCK:
        if code.folder not in sys.path:
            sys.path.insert(0, code.folder)
        former = _forget(folder)
        importlib.invalidate_caches()
        linecache.checkcache()
        try:
            module = _import(code)
            cls = _class_in(module, code)
        except BaseException as error:
            tried = _files(folder)
            _forget(folder)
            sys.modules.update(former)
            if isinstance(error, ModelLoadError):
                error.files = tried
                raise
            if isinstance(error, KeyboardInterrupt):
                raise
            failure = failure_in_code(error, folder, f"importing {code.module}")
            failure.files = tuple(dict.fromkeys((*tried, *failure.files)))
            raise failure from error
        return Imported(cls, _files(folder))


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
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ModelLoadError(f"{file} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _class_in(module: ModuleType, code: Code) -> type[Any]:
    own = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Model) and value.__module__ == module.__name__
    }
    listed = f"it has: {', '.join(own)}" if own else "it has no class that is a pillion.Model"
    if code.class_name:
        found = getattr(module, code.class_name, None)
        if isinstance(found, type):
            return found
        raise ModelLoadError(f"{code.module} has no class {code.class_name!r}; {listed}")
    if len(own) != 1:
        raise ModelLoadError(f"{code.module}: which class? {listed}", f"name it: {code.module}:Class")
    return next(iter(own.values()))


def _is_ours(module: ModuleType | None, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    name = getattr(module, "__name__", "")
    if not file or name == "__main__" or name.partition(".")[0] in ("pillion", "pillion_operator"):
        return False
    path = Path(file)
    return path.is_relative_to(folder) and not any(part in _NOT_OURS for part in path.parts)


def _files(folder: Path) -> tuple[str, ...]:
    ours = (module for module in list(sys.modules.values()) if _is_ours(module, folder))
    return tuple(sorted({str(module.__file__) for module in ours}))


def _forget(folder: Path) -> dict[str, ModuleType]:
    """Take the folder's modules out; what they were."""
    former = {name: module for name, module in list(sys.modules.items()) if _is_ours(module, folder)}
    for name in former:
        del sys.modules[name]
    return former


def failure_in_code(error: BaseException, folder: Path, doing: str) -> ModelLoadError:
    """An exception of the user's code as a sentence with file and line, and the remedy where there is one."""
    if isinstance(error, SyntaxError) and error.filename:
        place, files = f"{error.filename}:{error.lineno}", [error.filename]
        message = f"{place}: {type(error).__name__}: {error.msg}"
        line = (error.text or "").strip()
        return _with_files(ModelLoadError(f"{message}: {line}" if line else message), files)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _below(frame.filename, folder)]
    files = list(dict.fromkeys(frame.filename for frame in frames))
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
            remedy = f"{missing} is not installed: pip install {name}"
        files += [str(folder / f"{missing}.py"), str(folder / missing / "__init__.py")]
    return _with_files(ModelLoadError(message, remedy), files)


def _with_files(error: ModelLoadError, files: list[str]) -> ModelLoadError:
    error.files = tuple(files)
    return error


def _below(file: str, folder: Path) -> bool:
    path = Path(file)
    return path.is_relative_to(folder) and not any(part in _NOT_OURS for part in path.parts)
