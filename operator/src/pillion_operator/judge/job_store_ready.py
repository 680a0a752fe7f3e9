"""JobStoreReady: whether the pods can keep the jobs that their settings ask for. Only where they cannot.

A pod with a folder for jobs answers for its own jobs alone: of several, a client that asks for its job reaches one that
has never heard of it. Trainings that are TrainingJobs are answered for by all of them; making those is a right, which
only some operators may grant. What a running store says of itself is in the pods' `/status` and metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.judge.facts import Verdict
from pillion_operator.state.kinds import CONFIG_MAP, DEPLOYMENT, ROLE
from pillion_operator.state.manifest import objects_at, text_at
from pillion_operator.state.names import RUNTIME_CONTAINER
from pillion_operator.state.reasons import Reason, sentence

if TYPE_CHECKING:
    from pillion_operator.judge.facts import Facts

__all__ = ["TYPE", "judge"]

TYPE: Final = "JobStoreReady"
_FOLDER: Final = "PILLION_JOBS__FOLDER"
_DATABASE: Final = "PILLION_JOBS__DATABASE"


def judge(facts: Facts) -> Verdict | None:
    """Judge by the settings of the pods and their number; None where there are no jobs, or one pod that has them."""
    planned = facts.desired.children
    if (
        facts.service.spec.predictor.own_trainings is not None
        and planned
        and all(child.kind is not ROLE for child in planned)
    ):
        ours = any(child.kind is CONFIG_MAP for child in planned)
        text = "the operator may not make the Role by which the pods would make TrainingJobs (spec.predictor.jobs)"
        if ours:  # of a container of others FieldsHonoured tells
            return Verdict(TYPE, "False", Reason.TRAININGS_NOT_GRANTED, sentence(text, Reason.TRAININGS_NOT_GRANTED))
    most = facts.desired.replicas.most
    several = most is None or most > 1 or facts.deployment.wanted > 1
    settings = _settings(facts)
    if not several or _FOLDER not in settings or _DATABASE in settings:
        return None
    count = "any number of" if most is None else f"up to {most}"
    text = f"jobs are kept in a folder ({_FOLDER}), which is one pod's, and there may be {count} pods"
    return Verdict(TYPE, "False", Reason.JOB_STORE_NOT_SHARED, sentence(text, Reason.JOB_STORE_NOT_SHARED))


def _settings(facts: Facts) -> set[str]:
    """Names of the runtime's variables that say something."""
    return {
        text_at(variable, "name")
        for child in facts.desired.children
        if child.kind is DEPLOYMENT
        for container in objects_at(child.manifest, "spec", "template", "spec", "containers")
        if text_at(container, "name") == RUNTIME_CONTAINER
        for variable in objects_at(container, "env")
        if text_at(variable, "value") or "valueFrom" in variable
    }
