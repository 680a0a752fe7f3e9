"""Models asked for by version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.conformance.model import Violation
from pillion.conformance.registry import MUST, SHOULD, Registry

if TYPE_CHECKING:
    from pillion.conformance.probe import Probe

REGISTRY: Final = Registry("inference_rest.md")
check = REGISTRY.check
_UNKNOWN: Final = "999999"


@check(
    "versions.metadata",
    MUST,
    "Each version that metadata lists may be asked for: GET v2/models/MODEL/versions/V.",
    "Model Metadata Response",
)
def metadata(probe: Probe) -> None:
    for version in probe.versions():
        answer = probe.rest.get(f"{probe.path}/versions/{version}")
        if answer.status != 200:
            raise Violation("200", str(answer))
        if answer.object().get("name") != probe.model:
            raise Violation(f"name {probe.model!r}", str(answer))


@check("versions.ready", MUST, "So may its readiness: GET v2/models/MODEL/versions/V/ready.", "Model Ready")
def ready(probe: Probe) -> None:
    for version in probe.versions():
        answer = probe.rest.get(f"{probe.path}/versions/{version}/ready")
        if answer.status != 200:
            raise Violation("200", str(answer))


@check("versions.infer", MUST, "So may inference: POST v2/models/MODEL/versions/V/infer.", "Inference")
def infer(probe: Probe) -> None:
    for version in probe.versions():
        answer = probe.infer(probe.request(), version=version)
        if answer.status != 200:
            raise Violation("200", str(answer))
        said = answer.object().get("model_version")
        if said is not None and said != version:
            raise Violation(f"model_version {version!r}, or none", repr(said))


@check(
    "versions.unknown",
    MUST,
    'A version that is not there is an error status with the object {"error": text}.',
    "Inference Response JSON Error Object",
)
def unknown(probe: Probe) -> None:
    answer = probe.infer(probe.request(), version=_UNKNOWN)
    if answer.status < 400:
        raise Violation("an error status", str(answer))
    if not answer.is_object() or not isinstance(answer.object().get("error"), str):
        raise Violation('{"error": text}', str(answer))


@check(
    "versions.unknown-404",
    SHOULD,
    "The same is a fault of the caller: 404 (or 400), not 5xx.",
    "RFC 9110, section 15.5: client errors",
)
def unknown_status(probe: Probe) -> None:
    answer = probe.infer(probe.request(), version=_UNKNOWN)
    if answer.status not in (404, 400):
        raise Violation("404", str(answer))
