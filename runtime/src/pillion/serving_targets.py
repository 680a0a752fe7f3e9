"""What a program that calls ``pillion.serve`` hands over, as models and applications to be served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pillion.applications.in_source import is_application
from pillion.authoring.model import Model
from pillion.authoring.names import model_name
from pillion.runtimefile import Code, DesiredApplication, DesiredModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Wanted", "wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be served, and the objects that the program hands over for it, by name."""

    models: tuple[DesiredModel, ...]
    applications: tuple[DesiredApplication, ...]
    classes: Mapping[str, type[Any]]
    objects: Mapping[str, object]


def wanted(
    targets: Sequence[object],
    *,
    artifact: str | Path | None = None,
    device: str = "cpu",
    route_prefix: str = "/",
    args: Mapping[str, object] | None = None,
    contexts: bool = False,
) -> Wanted:
    """See ``pillion.serve`` for the arguments.

    Args:
        targets: to be served.
        artifact: of the one model.
        device: of models.
        route_prefix: of the application.
        args: of the application.
        contexts: whether the application is given any. Like a prefix and arguments, these say of a name that stands
            alone that it is one's, also where its source does not.

    Raises:
        TypeError, ValueError: they do not go together, or one cannot be served.
    """
    models: dict[str, Code | None] = {}
    classes: dict[str, type[Any]] = {}
    applications: list[tuple[str, Code]] = []
    objects: dict[str, object] = {}
    said = len(targets) == 1 and (route_prefix != "/" or args is not None or contexts)
    for target in map(_served, targets):
        if isinstance(target, str):
            code = _code(target)
            name = model_name(code.class_name.rpartition(".")[2].strip("_")) or "app"
            if said or is_application(code):
                applications.append((name[:63], code))
            else:
                _add(models, name, code)
        elif isinstance(target, Model):
            name = type(target).__name__
            raise TypeError(f"pillion.serve takes classes, not {name}: write pillion.serve({name})")
        elif isinstance(target, type) and issubclass(target, Model):
            name = model_name(target.__name__)
            _add(models, name, None)
            classes[name] = target
        else:
            name = _application_name(target)
            # Where it is, as is told where it fails: the object is there already.
            applications.append((name, Code(module=name, folder=str(Path.cwd()))))
            objects[name] = target
    if not targets:
        raise TypeError("pillion.serve: name the class or application: pillion.serve(Mood)")
    if len(applications) > 1:
        raise TypeError("pillion.serve takes one application: several go into a manifest, each with its routePrefix")
    if not applications and (route_prefix != "/" or args is not None):
        raise TypeError("route_prefix and args are an application's, and there is none")
    if artifact is not None and len(models) != 1:
        raise ValueError("artifact is what one class loads: serve one class")
    path = "" if artifact is None else str(Path(artifact).resolve())
    return Wanted(
        tuple(
            DesiredModel(name=name, path=path, format="python", parameters={"device": device}, code=code)
            for name, code in models.items()
        ),
        tuple(
            DesiredApplication(name=name, code=code, route_prefix=route_prefix, args=dict(args or {}))
            for name, code in applications
        ),
        classes,
        objects,
    )


def _add(models: dict[str, Code | None], name: str, code: Code | None) -> None:
    if name in models:
        raise ValueError(f"two models would be called {name}: serve them one by one")
    models[name] = code


def _code(target: str) -> Code:
    """What ``module:attribute`` or ``file.py:attribute`` names."""
    module, _, attribute = target.rpartition(":")
    if not module or not all(part.isidentifier() for part in attribute.split(".")):
        raise ValueError(f"{target!r} names no application: write 'module:attribute', such as 'service:app'")
    if module.endswith(".py"):
        path = Path(module).expanduser().resolve()
        return Code(module=str(path), class_name=attribute, folder=str(path.parent))
    return Code(module=module, class_name=attribute, folder=str(Path.cwd()))


def _served(target: object) -> object:
    """A composition as the class that it is served as; anything else as it is."""
    make = None if isinstance(target, type) else getattr(target, "__pillion_model__", None)
    return target if make is None else make()


def _application_name(application: object) -> str:
    """What an application is called in logs and metrics: as its class or function, or as the kind of it."""
    cls: object = getattr(application, "cls", application)  # of a class that was bound to arguments
    if isinstance(application, type) or not hasattr(type(application), "router"):
        name = getattr(cls, "__name__", None) or type(application).__name__
    else:
        name = type(application).__name__
    return model_name(str(name).strip("_<>") or "app")[:63]
