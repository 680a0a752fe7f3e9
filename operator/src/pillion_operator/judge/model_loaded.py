"""ModelLoaded: whether the newest version's model is in memory, as the pods say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pillion_operator.judge.facts import Facts, Verdict, is_ready
from pillion_operator.judge.own_models import coming, own_problems
from pillion_operator.state.manifest import key_of, revision
from pillion_operator.state.names import RUNTIME_CONTAINER
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.plan import Problem

TYPE: Final = "ModelLoaded"
LOAD_FAILURES: Final = frozenset(
    {
        Reason.UNSAFE_FORMAT, Reason.UNTRUSTED_TYPES, Reason.UNTRUSTED_CODE, Reason.LIBRARY_MISMATCH,
        Reason.MODEL_LOAD_FAILED, Reason.CRASH_LOOP_BACK_OFF,
    }
)  # fmt: skip

#: Models that are told of one by one in a message.
_SHOWN: Final = 5

State = Literal["Pending", "Standby", "Loading", "Loaded", "FailedToLoad"]


def judge(facts: Facts) -> Verdict:
    """Judge: a pod is ready only while its model is loaded, so readiness is the word that counts."""
    predictor = facts.service.spec.predictor
    if not facts.tells_of_models:
        container = predictor.serving_container
        text = "There is no model." if container is None else _foreign(container.name)
        return Verdict(TYPE, "Unknown", Reason.NOT_MANAGED, text)
    state = target_state(facts)
    if facts.models and any(is_ready(pod) for pod in newest_pods(facts)):
        return _several(facts)
    if state == "Loaded":
        ready = sum(is_ready(pod) for pod in newest_pods(facts))
        text = f"Loaded in {ready} {'pod' if ready == 1 else 'pods'}"
        text += _names(facts) if predictor.serving_model is None else ""
        warning = next((w for w in facts.warnings if w.reason is Reason.LIBRARY_MISMATCH), None)
        text += f"; note that {warning.sentence}" if warning else "."
        return Verdict(TYPE, "True", Reason.LOADED, text)
    if state == "FailedToLoad":
        problem = load_problem(facts)
        if problem is not None:
            return Verdict(TYPE, "False", problem.reason, problem.sentence)
    if facts.desired.replicas.most == 0:
        return Verdict(TYPE, "False", Reason.STOPPED, "There are no pods.")
    if facts.asleep:
        text = "No pod has it in memory, as nobody asks; a request starts one."
        return Verdict(TYPE, "False", Reason.SCALED_TO_ZERO, text)
    text = "No pod of the newest version is ready yet"
    if predictor.serving_model is None:
        text += f"; the image of the container {RUNTIME_CONTAINER!r} must be made on Pillion's runtime"
    return Verdict(TYPE, "False", Reason.STARTING, f"{text}.")


def _several(facts: Facts) -> Verdict:
    """Judge the models of the manifest, of which pods serve some at least."""
    models, served = facts.models, [model for model in facts.models if model.state == "Ready"]
    spread = facts.desired.placement is not None
    text = f"{len(served)} of {len(models)} models are served by {'their pods' if spread else 'every pod'}"
    broken, late = own_problems(models), coming(models)
    if broken:
        names = ", ".join(repr(model.name) for model in models if model.problem is not None)
        return Verdict(TYPE, "False", broken[0].reason, f"{text}, and not {names}: {broken[0].sentence}")
    if any(model.state == "Unknown" for model in models):
        text = "The pods are ready, and do not answer the operator which models they serve."
        return Verdict(TYPE, "Unknown", Reason.POD_NOT_REACHED, text)
    if late:
        how = ", ".join(f"{model.name!r} by {model.loaded} of {model.wanted} pods" for model in late[:_SHOWN])
        return Verdict(TYPE, "False", Reason.PROGRESSING, f"{text}; {how}.")
    return Verdict(TYPE, "True", Reason.LOADED, f"{text}.")


def _foreign(container: str | None) -> str:
    return (
        f"The container {container!r} brings its own model, and what it has loaded is not known: its readiness is that "
        f"of its own probe. Name it {RUNTIME_CONTAINER!r} if its image is made on Pillion's runtime."
    )


def _names(facts: Facts) -> str:
    """Return the models that an image brings, as the newest pods name them; nothing where they were not reached."""
    pods = {key_of(pod).name for pod in newest_pods(facts)}
    names = {report.model for report in facts.observed.reports if report.pod in pods and report.state == "READY"}
    return f": {', '.join(sorted(names))}" if names else ""


def newest_pods(facts: Facts) -> list[Manifest]:
    """Return the pods of the version that the manifest now asks for."""
    return [pod for pod in facts.observed.pods if revision(pod) == facts.newest]


def load_problem(facts: Facts) -> Problem | None:
    """Return what keeps the model from being loaded."""
    return facts.problems[0] if facts.problems else None


def target_state(facts: Facts) -> State:
    """Return the state of the model that the manifest asks for."""
    pods = newest_pods(facts)
    if any(is_ready(pod) for pod in pods):
        broken = any(model.problem is not None for model in facts.models)
        return "FailedToLoad" if broken else "Loading" if coming(facts.models) else "Loaded"
    if facts.problems:
        return "FailedToLoad"
    if facts.asleep:
        return "Standby"
    return "Loading" if pods else "Pending"


def active_state(facts: Facts) -> State:
    """Return the state of the model that answers now, of whatever version."""
    return "Loaded" if any(is_ready(pod) for pod in facts.observed.pods) else target_state(facts)
