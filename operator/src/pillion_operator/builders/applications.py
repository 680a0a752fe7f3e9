"""Applications of the manifest: what the runtime is told of them, and whether there is code for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.application_settings import applications_of, http_of
from pillion.runtimefile import CODE_FOLDER
from pillion_operator.builders.image import same_repository
from pillion_operator.state.names import RUNTIME_CONTAINER
from pillion_operator.state.plan import PlanError, Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pillion.runtimefile import DesiredApplication
    from pillion_operator.builders.context import BuildContext

__all__ = ["applications", "applications_gaps", "http_settings", "no_image"]


def applications(context: BuildContext) -> tuple[DesiredApplication, ...]:
    """Return the applications of runtime.yaml; their code is in the image, as `pillion build` lays it out.

    Raises:
        PlanError: one cannot be, or the image is the stock runtime, which has nobody's code.
    """
    try:
        found = applications_of(context.predictor, CODE_FOLDER)
    except ValueError as error:
        address = "spec.predictor.applications"
        raise PlanError(Problem(Reason.INVALID_SPEC, str(error), address, transient=False)) from error
    image = context.container.get("image")
    if found and (not isinstance(image, str) or same_repository(image, context.settings.runtime_image)):
        raise PlanError(no_image())
    return found


def http_settings(context: BuildContext) -> dict[str, JsonValue]:
    """Return the settings of the HTTP server.

    Raises:
        PlanError: its root path cannot be.
    """
    try:
        return http_of(context.predictor)
    except ValueError as error:
        address = "spec.predictor.http.rootPath"
        raise PlanError(Problem(Reason.INVALID_SPEC, str(error), address, transient=False)) from error


def no_image() -> Problem:
    """Return the problem of applications without an image that has their code."""
    text = "spec.predictor.applications are code, which runs only from images, and no image with that code is named"
    remedy = (
        f"name one that is made on Pillion's runtime and has the code in {CODE_FOLDER} (pillion build FOLDER --push "
        f"HOST/NAME:TAG) as the image of the container {RUNTIME_CONTAINER!r} in spec.predictor.containers"
    )
    return Problem(Reason.INVALID_SPEC, text, "spec.predictor.applications", transient=False, remedy=remedy)


def applications_gaps(context: BuildContext) -> tuple[str, ...]:
    """Return the fields about applications and the HTTP server that are set and have no effect."""
    predictor = context.predictor
    http = predictor.http
    about_applications = {
        "requestTimeoutSeconds": http and http.request_timeout_seconds,
        "rootPath": http and http.root_path,
    }
    given = [f"spec.predictor.http.{field}" for field, value in about_applications.items() if value]
    if context.ours:
        given = [field for field in given if not predictor.applications and not field.endswith("rootPath")]
        return tuple(f"{field} without applications" for field in given)
    if http is not None and http.keep_alive_timeout_seconds:
        given.insert(0, "spec.predictor.http.keepAliveTimeoutSeconds")
    if predictor.applications:
        given.insert(0, "spec.predictor.applications")
    name = context.container.get("name")
    return tuple(f"{field} on the container {name!r}, which is not Pillion's runtime" for field in given)
