"""Extensions that a server may claim; each is looked at only where it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.conformance.model import Skipped, Violation
from pillion.conformance.registry import OPTIONAL, SHOULD, Registry

if TYPE_CHECKING:
    from pillion.conformance.probe import Probe

REGISTRY: Final = Registry("extension documents of Triton Inference Server")
check = REGISTRY.check


def _claimed(probe: Probe, name: str) -> None:
    if not probe.facts.claims(name):
        raise Skipped(f"the server does not claim {name}")


@check(
    "extensions.repository-index", SHOULD, "POST v2/repository/index lists each model with name and state.",
    "Model Repository Extension", per_model=False,
)  # fmt: skip
def index(probe: Probe) -> None:
    _claimed(probe, "model_repository")
    answer = probe.rest.post("/v2/repository/index", {})
    entries = answer.json() if answer.status == 200 else None
    if not isinstance(entries, list):
        raise Violation("200 and a list", str(answer))
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise Violation("objects with a name", str(entry))
    missing = set(probe.facts.models) - {entry["name"] for entry in entries}
    if missing:
        raise Violation(f"an entry for {', '.join(sorted(missing))}", str(answer))


@check(
    "extensions.repository-unknown", SHOULD, "Loading a model that is not there is an error below 500.",
    "Model Repository Extension", per_model=False,
)  # fmt: skip
def load_unknown(probe: Probe) -> None:
    _claimed(probe, "model_repository")
    answer = probe.rest.post("/v2/repository/models/no-such-model-a1f7/load", {})
    if not 400 <= answer.status < 500:
        raise Violation("a status of 4xx", str(answer))


@check(
    "extensions.configuration", OPTIONAL, "GET v2/models/MODEL/config is an object.", "Model Configuration Extension"
)
def configuration(probe: Probe) -> None:
    _claimed(probe, "model_configuration")
    answer = probe.rest.get(f"{probe.path}/config")
    if answer.status != 200 or answer.object().get("name") != probe.model:
        raise Violation("200 and the model's name", str(answer))


@check("extensions.statistics", OPTIONAL, "GET v2/models/MODEL/stats has model_stats.", "Statistics Extension")
def statistics(probe: Probe) -> None:
    _claimed(probe, "statistics")
    answer = probe.rest.get(f"{probe.path}/stats")
    if answer.status != 200 or not isinstance(answer.object().get("model_stats"), list):
        raise Violation("200 and model_stats as a list", str(answer))
