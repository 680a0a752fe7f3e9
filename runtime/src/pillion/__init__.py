"""Pillion: serve, train and manage models, on Kubernetes and on a laptop, from one manifest.

Names are exported lazily so that ``import pillion`` costs no more than the names that are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion._version import __version__

if TYPE_CHECKING:
    from pillion.applications.batch import batch
    from pillion.applications.ingress import bind, ingress
    from pillion.applications.models import models
    from pillion.applications.multiplexing import model_id, multiplexed
    from pillion.applications.remote import remote
    from pillion.applications.request import Request
    from pillion.authoring.batches import Batch
    from pillion.authoring.context import cancelled
    from pillion.authoring.file import File
    from pillion.authoring.finish import Finish
    from pillion.authoring.model import Model
    from pillion.authoring.run import Run
    from pillion.authoring.stream import Stream
    from pillion.authoring.task import task
    from pillion.authoring.train import train
    from pillion.client.aio import AsyncClient
    from pillion.client.sync import Client
    from pillion.client.tls import TLS
    from pillion.composition.ensemble import Ensemble
    from pillion.composition.mapping import Map
    from pillion.composition.placed import Process
    from pillion.composition.sequential import Sequential
    from pillion.composition.switch import Switch
    from pillion.embedding import Serving, serve
    from pillion.running import stop
    from pillion.testing import test

__all__ = [
    "TLS",
    "AsyncClient",
    "Batch",
    "Client",
    "Ensemble",
    "File",
    "Finish",
    "Map",
    "Model",
    "Process",
    "Request",
    "Run",
    "Sequential",
    "Serving",
    "Stream",
    "Switch",
    "__version__",
    "batch",
    "bind",
    "cancelled",
    "ingress",
    "model_id",
    "models",
    "multiplexed",
    "remote",
    "serve",
    "stop",
    "task",
    "test",
    "train",
]

_HOMES = {
    "TLS": "pillion.client.tls",
    "AsyncClient": "pillion.client.aio",
    "Batch": "pillion.authoring.batches",
    "Client": "pillion.client.sync",
    "Ensemble": "pillion.composition.ensemble",
    "File": "pillion.authoring.file",
    "Finish": "pillion.authoring.finish",
    "Map": "pillion.composition.mapping",
    "Model": "pillion.authoring.model",
    "Process": "pillion.composition.placed",
    "Request": "pillion.applications.request",
    "Run": "pillion.authoring.run",
    "Sequential": "pillion.composition.sequential",
    "Serving": "pillion.embedding",
    "Stream": "pillion.authoring.stream",
    "Switch": "pillion.composition.switch",
    "batch": "pillion.applications.batch",
    "bind": "pillion.applications.ingress",
    "cancelled": "pillion.authoring.context",
    "ingress": "pillion.applications.ingress",
    "model_id": "pillion.applications.multiplexing",
    "models": "pillion.applications.models",
    "multiplexed": "pillion.applications.multiplexing",
    "remote": "pillion.applications.remote",
    "serve": "pillion.embedding",
    "stop": "pillion.running",
    "task": "pillion.authoring.task",
    "test": "pillion.testing",
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
