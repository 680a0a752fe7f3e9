"""Pillion: serve, train and manage models, on Kubernetes and on a laptop, from one manifest.

Names are exported lazily so that ``import pillion`` costs no more than the names that are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion._version import __version__

if TYPE_CHECKING:
    from pillion.applications.context import cancelled
    from pillion.applications.ingress import ingress
    from pillion.applications.models import models
    from pillion.applications.request import Request
    from pillion.authoring.batches import Batch
    from pillion.authoring.file import File
    from pillion.authoring.finish import Finish
    from pillion.authoring.model import Model
    from pillion.authoring.run import Run
    from pillion.authoring.stream import Stream
    from pillion.authoring.task import task
    from pillion.authoring.train import train
    from pillion.embedding import Serving, serve

__all__ = [
    "Batch",
    "File",
    "Finish",
    "Model",
    "Request",
    "Run",
    "Serving",
    "Stream",
    "__version__",
    "cancelled",
    "ingress",
    "models",
    "serve",
    "task",
    "train",
]

_HOMES = {
    "Batch": "pillion.authoring.batches",
    "File": "pillion.authoring.file",
    "Finish": "pillion.authoring.finish",
    "Model": "pillion.authoring.model",
    "Request": "pillion.applications.request",
    "Run": "pillion.authoring.run",
    "Serving": "pillion.embedding",
    "Stream": "pillion.authoring.stream",
    "cancelled": "pillion.applications.context",
    "ingress": "pillion.applications.ingress",
    "models": "pillion.applications.models",
    "serve": "pillion.embedding",
    "task": "pillion.authoring.task",
    "train": "pillion.authoring.train",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - see the module's docstring

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
