"""Which targets of ``pillion serve`` are applications, and those of a manifest, as runtime.yaml has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pillion.application_settings import applications_of, http_of
from pillion.applications.in_source import is_application
from pillion.authoring.names import model_name
from pillion.cli.failures import CommandError
from pillion.cli.local import code_target
from pillion.runtimefile import DesiredApplication

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from pillion.resources import InferenceService
    from pillion.runtimefile import Code

__all__ = ["from_services", "http_settings", "named_applications"]


def named_applications(
    targets: Sequence[str], route_prefix: str | None
) -> tuple[tuple[DesiredApplication, ...], list[str]]:
    """The applications among the targets, and the other targets.

    ``--route-prefix`` says that its target is one; without it, the source does: a function, a value such as
    ``app = FastAPI()``, or a class with ``__call__`` or an ingress. Nothing is imported to find that out.

    Raises:
        CommandError: a prefix is given and does not fit the targets.
    """
    if route_prefix is not None and len(targets) != 1:
        raise CommandError(
            "--route-prefix is one application's: name one, or write several with their prefixes into a manifest (-f)",
            code=2,
        )
    applications, others = [], []
    for target in targets:
        code = code_target(target, Path.cwd(), dotted=True)
        if code is not None and code.class_name and (route_prefix is not None or is_application(code)):
            applications.append(_desired(target, code, route_prefix or "/"))
        elif route_prefix is not None:
            raise CommandError(
                f"--route-prefix: {target} is no application: write module:attribute, such as service.py:app", code=2
            )
        else:
            others.append(target)
    if len(applications) > 1:
        raise CommandError(
            "several applications need prefixes of their own: write them into a manifest, "
            "spec.predictor.applications, and serve that (-f FILE)",
            code=2,
        )
    return tuple(applications), others


def _desired(target: str, code: Code, route_prefix: str) -> DesiredApplication:
    name = model_name(code.class_name.rpartition(".")[2].strip("_")) or "app"
    try:
        return DesiredApplication(name=name[:63], code=code, route_prefix=route_prefix)
    except ValueError as error:
        raise CommandError(f"{target}: --route-prefix: {error}", code=2) from None


def from_services(services: Sequence[InferenceService], folder: Path) -> tuple[DesiredApplication, ...]:
    """The applications of a manifest, their modules found in its folder or where packages are installed.

    Raises:
        CommandError: one cannot be.
    """
    found: list[DesiredApplication] = []
    for service in services:
        try:
            found += applications_of(service.spec.predictor, str(folder))
        except ValueError as error:
            raise CommandError(str(error), code=2) from None
    return tuple(found)


def http_settings(services: Sequence[InferenceService]) -> dict[str, JsonValue]:
    """``spec.predictor.http`` as settings of the server, by dotted key.

    Raises:
        CommandError: one cannot be, or two services want different ones of the one server here.
    """
    settings: dict[str, JsonValue] = {}
    for service in services:
        try:
            wanted = http_of(service.spec.predictor)
        except ValueError as error:
            raise CommandError(str(error), code=2) from None
        for field, value in wanted.items():
            key = f"http.{field}"
            if settings.setdefault(key, value) != value:
                raise CommandError(
                    f"spec.predictor.http: two services want another {key} each, and one server serves both here",
                    code=2,
                )
    return settings
