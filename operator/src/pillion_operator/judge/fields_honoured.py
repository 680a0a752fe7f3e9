"""FieldsHonoured: whether every field that is set has its effect. Nothing is silently ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.resources.conventions import NO_AUTOSCALER, annotation, unhonoured_annotations
from pillion.resources.honoured import unhonoured_fields
from pillion_operator.judge.facts import Verdict
from pillion_operator.state.reasons import Reason, sentence

if TYPE_CHECKING:
    from pillion_operator.judge.facts import Facts

TYPE: Final = "FieldsHonoured"
_SHOWN: Final = 20
#: Why a revision cannot be kept, and `rollout` has nothing to go back to.
_UNKEPT: Final = (Reason.FORBIDDEN, Reason.NAME_CONFLICT, Reason.REFUSED)


def judge(facts: Facts) -> Verdict:
    """Judge by the tables of the schema, and by what the builders noted."""
    ours = annotation(facts.service.metadata, "autoscalerClass") not in NO_AUTOSCALER
    ignored = [str(field) for field in unhonoured_fields(facts.service.spec, scaled_by_us=ours)]
    ignored += [str(field) for field in unhonoured_annotations(facts.service.metadata)]
    ignored += [note.text for note in facts.desired.notes if note.reason is Reason.FIELDS_NOT_HONOURED]
    if ignored:
        more = f" and {len(ignored) - _SHOWN} more" if len(ignored) > _SHOWN else ""
        text = f"Set, and without effect in this version: {', '.join(ignored[:_SHOWN])}{more}"
        return Verdict(TYPE, "False", Reason.FIELDS_NOT_HONOURED, sentence(text, Reason.FIELDS_NOT_HONOURED))
    doubled = [note for note in facts.desired.notes if note.reason is Reason.DUPLICATE_ENTRIES]
    if doubled:
        return Verdict(TYPE, "False", Reason.DUPLICATE_ENTRIES, sentence(doubled[0].text, Reason.DUPLICATE_ENTRIES))
    unkept = next((note for note in facts.desired.notes if note.reason in _UNKEPT), None)
    if unkept is not None:
        return Verdict(TYPE, "False", unkept.reason, sentence(unkept.text, unkept.reason))
    return Verdict(TYPE, "True", Reason.HONOURED, "Every field that is set has its effect.")
