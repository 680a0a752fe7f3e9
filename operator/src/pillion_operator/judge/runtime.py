"""The status of a serving runtime: whether services can use it, and whether all of it has its effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from pillion.resources import ServingRuntimeSpec
from pillion.resources.honoured_runtime import unhonoured_runtime_fields
from pillion_operator.judge.facts import Verdict
from pillion_operator.judge.status import conditions_of
from pillion_operator.state.manifest import generation_of, object_at
from pillion_operator.state.reasons import Reason, sentence

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject
    from pillion_operator.state.manifest import Manifest

__all__ = ["runtime_status", "runtime_verdicts"]


def runtime_status(runtime: Manifest, timestamp: str) -> JsonObject:
    """Return the status to write; conditions that did not change keep the time of their last change."""
    conditions = conditions_of(runtime, runtime_verdicts(runtime), timestamp)
    return {"observedGeneration": generation_of(runtime), "conditions": conditions}


def runtime_verdicts(runtime: Manifest) -> tuple[Verdict, ...]:
    """Return every condition. Nothing is waited for: a runtime is data that services read when they are planned."""
    settled = Verdict("Reconciling", "False", Reason.SETTLED, "There is nothing to wait for.")
    try:
        spec = ServingRuntimeSpec.from_api(object_at(runtime, "spec"))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(("spec", *(str(part) for part in first["loc"])))
        text = sentence(f"{field}: {first['msg']}; no service can use the runtime", Reason.INVALID_SPEC)
        return (
            Verdict("Ready", "False", Reason.INVALID_SPEC, text),
            settled,
            Verdict("Stalled", "True", Reason.INVALID_SPEC, text),
        )
    return (
        _ready(spec),
        settled,
        Verdict("Stalled", "False", Reason.SETTLED, "Nothing needs anybody's help."),
        _fields_honoured(spec),
    )


def _ready(spec: ServingRuntimeSpec) -> Verdict:
    """Judge: True also where it is out of use, because that is what its author asks for."""
    if spec.disabled:
        return Verdict("Ready", "True", Reason.DISABLED, "Out of use, as spec.disabled asks.")
    formats = ", ".join(sorted({supported.name for supported in spec.supported_model_formats or []}))
    served = f"Serves {formats}." if formats else "Serves no format; name it in model.runtime of services."
    return Verdict("Ready", "True", Reason.USABLE, served)


def _fields_honoured(spec: ServingRuntimeSpec) -> Verdict:
    ignored = [str(field) for field in unhonoured_runtime_fields(spec)]
    if ignored:
        text = f"Set, and without effect in this version: {', '.join(ignored)}"
        text = sentence(text, Reason.FIELDS_NOT_HONOURED)
        return Verdict("FieldsHonoured", "False", Reason.FIELDS_NOT_HONOURED, text)
    return Verdict("FieldsHonoured", "True", Reason.HONOURED, "Every field that is set has its effect.")
