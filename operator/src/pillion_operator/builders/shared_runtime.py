"""Choosing the one serving runtime of several models.

Runtimes count as one where their pods are the same: the built-in ones of most formats are of one image, each with its
own format. A model that the chosen pods cannot serve is left out, with the reason; the others are served.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pillion.resources import ModelSpec
from pillion_operator.builders.selection import Candidate, ranked, select_runtime
from pillion_operator.state.names import RUNTIME_CONTAINER
from pillion_operator.state.plan import Problem, RuntimeChoice
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    pods = {(one.kind, one.name): _pods(one) for one in ours}
    # By pods: the first runtime that has them, and the models that they serve. A dict keeps the order.
    served: dict[str, tuple[Candidate, list[NamedModel]]] = {}
    for model in models:
        for one in fitting[model.name]:
            _, named = served.setdefault(pods[one.kind, one.name], (one, []))
            if model not in named:
                named.append(model)
    if not served:
        select_runtime(_spec(models[0]), ours)  # says what there is
    best, theirs = max(served.values(), key=lambda found: len(found[1]))  # the first of equal ones
    formats = ", ".join(sorted({model.model_format.name for model in theirs}))
    why = f"its pods serve {len(theirs)} of {len(models)} models ({formats})"
    left_out = {model.name: _left_out(model, best, fitting[model.name]) for model in models if model not in theirs}
    return best, RuntimeChoice(best.kind, best.name, why), left_out


def _is_ours(candidate: Candidate) -> bool:
    """Only our runtime can be told of models while it runs."""
    container = candidate.spec.serving_container
    return container is not None and container.name == RUNTIME_CONTAINER


def _pods(candidate: Candidate) -> str:
    """Return what its pods are like, as a text: equal for runtimes whose pods are the same."""
    pods = {field: value for field, value in candidate.spec.to_api().items() if field not in _FOR_WHOM}
    return json.dumps(pods, sort_keys=True)


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
