"""Choosing the one serving runtime of several models.

Runtimes count as one where their pods are the same: the built-in ones of most formats are of one image, each with its
own format. A model that the chosen pods cannot serve is left out, with the reason; the others are served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.resources import ModelSpec
from pillion_operator.builders.selection import Candidate, ranked, select_runtime
from pillion_operator.state.names import RUNTIME_CONTAINER
from pillion_operator.state.plan import Problem, RuntimeChoice
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.resources import JsonObject
    from pillion.resources.model import NamedModel

__all__ = ["select_shared_runtime"]

#: What of a runtime's spec says for whom it is, and nothing about its pods.
_FOR_WHOM = frozenset({"supportedModelFormats", "protocolVersions"})


def select_shared_runtime(
    models: Sequence[NamedModel], candidates: Sequence[Candidate]
) -> tuple[Candidate, RuntimeChoice, dict[str, Problem]]:
    """Return the runtime that serves most of the models, why it is that one, and what keeps others from being served.

    Of equal ones the first model's best counts: the same manifest comes to the same pods.

    Raises:
        PlanError: there is a runtime for none of them.
    """
    ours = [one for one in candidates if _is_ours(one)]
    fitting = {model.name: ranked(_spec(model), ours) for model in models}
    leaders = [one for model in models for one in fitting[model.name]]
    if not leaders:
        select_runtime(_spec(models[0]), ours)  # says what there is
    best = max(leaders, key=lambda one: len(_served(one, models, fitting)))  # the first of equal ones
    served = _served(best, models, fitting)
    formats = ", ".join(sorted({model.model_format.name for model in models if model.name in served}))
    why = f"its pods serve {len(served)} of {len(models)} models ({formats})"
    left_out = {model.name: _left_out(model, best, fitting[model.name]) for model in models if model.name not in served}
    return best, RuntimeChoice(best.kind, best.name, why), left_out


def _is_ours(candidate: Candidate) -> bool:
    """Only our runtime can be told of models while it runs."""
    container = candidate.spec.serving_container
    return container is not None and container.name == RUNTIME_CONTAINER


def _served(
    leader: Candidate, models: Sequence[NamedModel], fitting: dict[str, tuple[Candidate, ...]]
) -> frozenset[str]:
    pods = _pods(leader)
    return frozenset(model.name for model in models if any(_pods(one) == pods for one in fitting[model.name]))


def _pods(candidate: Candidate) -> JsonObject:
    return {field: value for field, value in candidate.spec.to_api().items() if field not in _FOR_WHOM}


def _spec(model: NamedModel) -> ModelSpec:
    return ModelSpec.from_api({"modelFormat": model.model_format.to_api()})


def _left_out(model: NamedModel, chosen: Candidate, fitting: Sequence[Candidate]) -> Problem:
    field, format_ = f"spec.predictor.models[{model.name}]", model.model_format.name
    if fitting:
        text = (
            f"the format {format_!r} of {field} is served by the {fitting[0].kind} {fitting[0].name!r}, and the pods "
        )
        text += f"are those of {chosen.name!r}, which serves more of the models"
        remedy = "give the model an InferenceService of its own, or one ServingRuntime that serves all formats"
    else:
        text = f"no serving runtime of Pillion's own supports the format {format_!r} of {field}"
        remedy = "correct modelFormat.name, or make a ServingRuntime whose container 'runtime' serves it"
    return Problem(Reason.NO_SERVING_RUNTIME, text, f"{field}.modelFormat", transient=False, remedy=remedy)
