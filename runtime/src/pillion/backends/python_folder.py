"""A class that was fetched like a model: where it lies in its folder, and the refusal where it may not run.

A file of Python runs whoever wrote it, so a cluster runs code from images, which somebody built and scanned. Running
what a bucket holds needs the consent of the model's owner, and of the platform.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.backends.api import LoadFailure, ModelLoadError
from pillion.runtimefile import Code

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["code_in", "code_refusal"]

_DEFAULT: Final = "service.py"
_NAMED: Final = 5
_IMAGE: Final = "build an image of it: pillion deploy FOLDER --image HOST/NAME:TAG"


def code_in(folder: Path) -> Code:
    """Find the module whose class is served: ``service.py``, else the only one. None of it is run.

    Raises:
        ModelLoadError: there is no such module.
    """
    if folder.is_file():
        return Code(module=str(folder), folder=str(folder.parent))
    if (folder / _DEFAULT).is_file():
        return Code(module=str(folder / _DEFAULT), folder=str(folder))
    found = sorted(path.name for path in folder.glob("*.py"))
    if len(found) == 1:
        return Code(module=str(folder / found[0]), folder=str(folder))
    there = found or sorted(path.name for path in folder.iterdir())
    listed = ", ".join(there[:_NAMED]) + (", ..." if len(there) > _NAMED else "")
    raise ModelLoadError(
        f"the model's folder has {'several Python files' if found else 'no Python file'} and no {_DEFAULT}: "
        f"{listed or 'it is empty'}",
        f"call the file with the pillion.Model {_DEFAULT}, at the top of the folder",
    )


def code_refusal(*, denied: bool) -> ModelLoadError:
    """The answer to code that may not run.

    Args:
        denied: whether a policy forbids it, so that its owner's consent would change nothing.
    """
    text = "the model is a class in Python that was fetched from storage"
    if denied:
        return ModelLoadError(
            f"{text}, and the code policy 'deny' forbids to run it", _IMAGE, LoadFailure.UNTRUSTED_CODE
        )
    return ModelLoadError(
        f"{text}, and nobody said that it may run",
        f"set trustCode: true if you trust everybody who can write there; or {_IMAGE}",
        LoadFailure.UNTRUSTED_CODE,
    )
