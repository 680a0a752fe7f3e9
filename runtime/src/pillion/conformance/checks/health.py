"""Live and ready, of server and model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.conformance.model import Skipped, Violation
from pillion.conformance.probe import UNKNOWN
from pillion.conformance.registry import MUST, SHOULD, Registry

if TYPE_CHECKING:
    from pillion.conformance.exchange import Answer
    from pillion.conformance.probe import Probe

REGISTRY: Final = Registry("inference_rest.md")
check = REGISTRY.check


def _says_no(answer: Answer, *members: str) -> bool:
    """Whether an answer denies: an error status, or a member that is false."""
    if answer.status != 200:
        return True
    return answer.is_object() and any(answer.object().get(member) is False for member in members)


@check("health.live", MUST, "GET v2/health/live is answered 200 while the server runs.", "Server Live", per_model=False)
def live(probe: Probe) -> None:
    answer = probe.rest.get("/v2/health/live")
    if answer.status != 200:
        raise Violation("200", str(answer))


# SHOULD: the prose shows these bodies, the OpenAPI document beside it (open_inference_rest.yaml) gives none.
@check("health.live-body", SHOULD, 'The answer is the object {"live": true}.', "Server Live Response", per_model=False)
def live_body(probe: Probe) -> None:
    document = probe.rest.get("/v2/health/live").object()
    if document.get("live") is not True:
        raise Violation('{"live": true}', str(document))


@check(
    "health.ready", MUST, "GET v2/health/ready is answered 200 when all models are ready.", "Server Ready",
    per_model=False,
)  # fmt: skip
def ready(probe: Probe) -> None:
    if not probe.facts.models:
        raise Skipped("the server has no model")
    for model in probe.facts.models:
        if probe.rest.get(f"/v2/models/{model}/ready").status != 200:
            raise Skipped(f"model {model} is not ready")
    answer = probe.rest.get("/v2/health/ready")
    if _says_no(answer, "ready", "live"):
        raise Violation("200 and not false", str(answer))


@check(
    "health.ready-body", SHOULD, 'The answer is an object that says true: "ready" (or "live", as the prose has it).',
    "Server Ready Response", per_model=False,
)  # fmt: skip
def ready_body(probe: Probe) -> None:
    if not probe.facts.models:
        raise Skipped("the server has no model")
    answer = probe.rest.get("/v2/health/ready")
    document = answer.object()
    if answer.status == 200 and True not in (document.get("ready"), document.get("live")):
        raise Violation('{"ready": true}', str(document))


@check(
    "health.ready-means-models", MUST, "The server is ready only when all its models are.", "API Definitions",
    per_model=False,
)  # fmt: skip
def ready_means_models(probe: Probe) -> None:
    if not probe.facts.models or not probe.facts.listed:
        raise Skipped("the server lists no models")
    if _says_no(probe.rest.get("/v2/health/ready"), "ready", "live"):
        raise Skipped("the server says that it is not ready")
    for model in probe.facts.models:
        answer = probe.rest.get(f"/v2/models/{model}/ready")
        if _says_no(answer, "ready"):
            raise Violation(f"model {model} ready, as the server says of all of them", str(answer))


# SHOULD: "all" of no models is true to the letter; who sends traffic there gets nothing but errors.
@check(
    "health.ready-without-model", SHOULD, "A server without any model is not ready for inferencing.", "Server Ready",
    per_model=False,
)  # fmt: skip
def ready_without_model(probe: Probe) -> None:
    if probe.facts.models or not probe.facts.listed:
        raise Skipped("the server has models, or does not list them")
    answer = probe.rest.get("/v2/health/ready")
    if not _says_no(answer, "ready"):
        raise Violation("an error status, or ready: false", str(answer))


@check("health.model-ready", MUST, "GET v2/models/MODEL/ready is answered 200 for a loaded model.", "Model Ready")
def model_ready(probe: Probe) -> None:
    answer = probe.rest.get(f"{probe.path}/ready")
    if _says_no(answer, "ready"):
        raise Violation("200 and ready", str(answer))


@check("health.model-ready-body", SHOULD, 'The answer is {"name": MODEL, "ready": true}.', "Model Ready Response")
def model_ready_body(probe: Probe) -> None:
    document = probe.rest.get(f"{probe.path}/ready").object()
    if document.get("name") != probe.model or document.get("ready") is not True:
        raise Violation(f'{{"name": "{probe.model}", "ready": true}}', str(document))


@check(
    "health.unknown-model-ready", MUST, "A model that the server does not have is not ready.", "Model Ready",
    per_model=False,
)  # fmt: skip
def unknown_ready(probe: Probe) -> None:
    answer = probe.rest.get(f"/v2/models/{UNKNOWN}/ready")
    if not _says_no(answer, "ready"):
        raise Violation("an error status, or ready: false", str(answer))
    if answer.status == 0 or answer.status >= 500:
        raise Violation("an answer that does not blame the server (below 500)", str(answer))
