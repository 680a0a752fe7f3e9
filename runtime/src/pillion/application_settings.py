"""What a manifest says of applications and of the HTTP server, as ``runtime.yaml`` says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.route_prefix import normal_root
from pillion.runtimefile import Code, DesiredApplication, check_applications

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pillion.resources import PredictorSpec

__all__ = ["applications_of", "http_of"]


def applications_of(predictor: PredictorSpec, folder: str) -> tuple[DesiredApplication, ...]:
    """The predictor's applications, their modules found in ``folder`` or where packages are installed.

    Raises:
        ValueError: one cannot be, or two are in each other's way; the text begins with the field.
    """
    found: list[DesiredApplication] = []
    for number, one in enumerate(predictor.applications or []):
        module, _, attribute = one.import_path.partition(":")
        values: dict[str, Any] = {
            "max_ongoing_requests": one.max_ongoing_requests,
            "max_queued_requests": one.max_queued_requests,
            "request_timeout_seconds": one.request_timeout_seconds,
        }
        try:
            desired = DesiredApplication(
                name=one.name,
                code=Code(module=module, class_name=attribute, folder=folder),
                route_prefix=one.route_prefix or "/",
                args=dict(one.args or {}),
                config=dict(one.config or {}),
                **values,
            )
            check_applications((*found, desired))
        except ValueError as error:
            raise ValueError(f"spec.predictor.applications[{number}]: {error}") from None
        found.append(desired)
    return tuple(found)


def http_of(predictor: PredictorSpec) -> dict[str, JsonValue]:
    """``spec.predictor.http`` as the server's section ``http``, without what is not given.

    Raises:
        ValueError: ``rootPath`` cannot be; the text begins with the field.
    """
    http = predictor.http
    if http is None:
        return {}
    normal_root(http.root_path or "", "spec.predictor.http.rootPath")
    wanted: dict[str, JsonValue] = {
        "keep_alive_timeout": http.keep_alive_timeout_seconds,
        "request_timeout_seconds": http.request_timeout_seconds,
        "root_path": http.root_path,
    }
    return {key: value for key, value in wanted.items() if value is not None}
