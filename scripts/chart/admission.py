"""`templates/_admission.tpl`: what a ValidatingAdmissionPolicy of each kind looks at.

The API server evaluates these itself, so no webhook has to be up for them. They see one object and nothing beside it:
neither the runtime that is chosen nor the namespace's LimitRange. `pillion.resources.risks` says the same in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml

from pillion.resources.base import API_VERSION
from pillion.resources.component import FORMAT_SHORTHANDS
from pillion.resources.risks import FLOATING_IMAGE, IMAGE, MEMORY, UNVERIFIED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pillion.resources.base import JsonObject

__all__ = ["POLICIES", "Check", "Policy", "admission_template"]


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of risk.

    Attributes:
        variable: what the offending fields are called in the policy.
        fields: CEL for the list of their addresses.
        remedy: what is wrong with them and what to do; it follows their addresses.
    """

    variable: str
    fields: str
    remedy: str

    def as_variable(self) -> JsonObject:
        """Return the entry of `variables`."""
        return {"name": self.variable, "expression": self.fields}

    def as_validation(self) -> JsonObject:
        """Return the entry of `validations`."""
        found = f"variables.{self.variable}"
        return {
            "expression": f"{found}.size() == 0",
            "message": self.remedy,
            "messageExpression": f"{found}.join(', ') + ': {self.remedy}'",
        }


@dataclass(frozen=True, slots=True)
class Policy:
    """What is looked at in objects of one kind, or of kinds with the same spec.

    Attributes:
        resources: the kinds, by their plural names; the first one names the policy.
        variables: CEL that several checks share, by name.
        checks: the risks.
    """

    resources: tuple[str, ...]
    variables: Mapping[str, str]
    checks: tuple[Check, ...]

    def as_spec(self) -> JsonObject:
        """Return the spec of the ValidatingAdmissionPolicy, without what depends on the chart's values."""
        group, version = API_VERSION.split("/")
        rule: JsonObject = {
            "apiGroups": [group],
            "apiVersions": [version],
            "operations": ["CREATE", "UPDATE"],
            "resources": list(self.resources),
        }
        shared: list[JsonObject] = [{"name": name, "expression": text} for name, text in self.variables.items()]
        return {
            "matchConstraints": {"resourceRules": [rule]},
            # Nobody is warned again of what an edit of labels or annotations leaves as it was.
            "matchConditions": [
                {"name": "spec-changed", "expression": "oldObject == null || object.spec != oldObject.spec"}
            ],
            "variables": [*shared, *(check.as_variable() for check in self.checks)],
            "validations": [check.as_validation() for check in self.checks],
        }


def _entry(address: str, value: str) -> str:
    """A part of the object together with its address; `dyn`, because parts differ in type."""
    return f"{{'at': dyn({address}), 'is': dyn({value})}}"


def _where(present: str, entries: str) -> str:
    return f"({present} ? {entries} : [])"


def _joined(lists: Iterable[str]) -> str:
    return " + ".join(lists)


def _models() -> str:
    """Every model of an InferenceService, each with the container fields that stand beside it."""
    predictor, canaries = "object.spec.predictor", "object.spec.canary"
    lists = []
    for name in (*FORMAT_SHORTHANDS, "model"):
        entry = _entry(f"'spec.predictor.{name}'", f"{predictor}.{name}")
        lists.append(_where(f"has({predictor}.{name})", f"[{entry}]"))
    for name in (*FORMAT_SHORTHANDS, "model"):
        entry = _entry(f"'spec.canary[' + c.predictor.name + '].predictor.{name}'", f"c.predictor.{name}")
        with_it = f"{canaries}.filter(c, has(c.predictor.{name}))"
        lists.append(_where(f"has({canaries})", f"{with_it}.map(c, {entry})"))
    return _joined(lists)


def _containers(field: str) -> str:
    """Every container of the manifest of an InferenceService's components."""
    lists = []
    for component in ("predictor", "transformer", "explainer"):
        holder = f"object.spec.{component}"
        entry = _entry(f"'spec.{component}.{field}[' + c.name + ']'", "c")
        lists.append(_where(f"has({holder}) && has({holder}.{field})", f"{holder}.{field}.map(c, {entry})"))
    return _joined(lists)


def _without_memory_limit(entries: str, *unless: str) -> str:
    limited = "(has(p.is.resources) && has(p.is.resources.limits) && 'memory' in p.is.resources.limits)"
    return f"{entries}.filter(p, !({' || '.join((limited, *unless))})).map(p, string(p.at))"


def _has_pod_limit(component: str) -> str:
    spec = f"object.spec.{component}"
    return (
        f"(p.at.startsWith('spec.{component}.') && has({spec}) && has({spec}.resources) && "
        f"has({spec}.resources.limits) && 'memory' in {spec}.resources.limits)"
    )


def _has_canary_pod_limit() -> str:
    limits = "c.predictor.resources"
    return (
        "(has(object.spec.canary) && object.spec.canary.exists(c, "
        "p.at.startsWith('spec.canary[' + c.predictor.name + '].') && "
        f"has({limits}) && has({limits}.limits) && 'memory' in {limits}.limits))"
    )


def _fetched_over_http(uri: str) -> str:
    return f"({uri}.startsWith('http://') || {uri}.startsWith('https://'))"


def _undigested(holder: str, uri: str = "storageUri") -> str:
    return f"has({holder}.{uri}) && {_fetched_over_http(f'{holder}.{uri}')} && !has({holder}.digest)"


def _floating(images: str) -> str:
    return f"{images}.filter(p, has(p.is.image) && p.is.image.matches('{FLOATING_IMAGE}')).map(p, p.at + '.image')"


def _unlimited(fields: str) -> Check:
    return Check(
        "withoutMemoryLimit",
        fields,
        MEMORY,
    )


def _unpinned(fields: str) -> Check:
    return Check(
        "floatingImages",
        fields,
        IMAGE,
    )


def _unverified(fields: str) -> Check:
    return Check(
        "unverifiedDownloads",
        fields,
        UNVERIFIED,
    )


def _single_unverified(holder: str, address: str, uri: str = "storageUri") -> str:
    return _where(_undigested(holder, uri), f"['{address}.{uri}']")


def _inference_services() -> Policy:
    for_the_pod = [_has_pod_limit(component) for component in ("predictor", "transformer", "explainer")]
    for_the_pod.append(_has_canary_pod_limit())
    # A runtime that is named may bring limits, which cannot be seen from here.
    unlimited = _without_memory_limit("(variables.models + variables.containers)", "has(p.is.runtime)", *for_the_pod)
    versions = (
        "variables.models.filter(p, has(p.is.runtimeVersion) && p.is.runtimeVersion == 'latest')"
        ".map(p, p.at + '.runtimeVersion')"
    )
    floating = f"{_floating('(variables.models + variables.containers + variables.initContainers)')} + {versions}"
    named = "object.spec.predictor.models"
    several = "object.spec.predictor.storageUris"
    unverified = _joined(
        (
            f"variables.models.filter(p, {_undigested('p.is')}).map(p, p.at + '.storageUri')",
            _where(
                f"has({named})",
                f"{named}.filter(m, {_undigested('m')}).map(m, 'spec.predictor.models[' + m.name + '].storageUri')",
            ),
            _where(
                f"has({several}) && {several}.exists(u, {_fetched_over_http('u.uri')})",
                "['spec.predictor.storageUris']",
            ),
        )
    )
    shared = {
        "models": _models(),
        "containers": _containers("containers"),
        "initContainers": _containers("initContainers"),
    }
    checks = (_unlimited(unlimited), _unpinned(floating), _unverified(unverified))
    return Policy(("inferenceservices",), shared, checks)


def _runtimes() -> Policy:
    entry = _entry("'spec.containers[' + c.name + ']'", "c")
    containers = f"object.spec.containers.map(c, {entry})"
    return Policy(("servingruntimes", "clusterservingruntimes"), {}, (_unpinned(_floating(containers)),))


#: An object whose spec is that of its one container.
_WHOLE: Final = "[" + _entry("'spec'", "object.spec") + "]"


def _training_jobs() -> Policy:
    data = _where("has(object.spec.dataset)", _single_unverified("object.spec.dataset", "spec.dataset", "uri"))
    checks = (_unlimited(_without_memory_limit(_WHOLE)), _unpinned(_floating(_WHOLE)), _unverified(data))
    return Policy(("trainingjobs",), {}, checks)


def _batch_predictions() -> Policy:
    model = _where("has(object.spec.model)", _single_unverified("object.spec.model", "spec.model"))
    return Policy(("batchpredictions",), {}, (_unlimited(_without_memory_limit(_WHOLE)), _unverified(model)))


POLICIES: Final = (
    _inference_services(),
    Policy(("models",), {}, (_unverified(_single_unverified("object.spec", "spec")),)),
    _runtimes(),
    _training_jobs(),
    _batch_predictions(),
)


def admission_template() -> str:
    """Return the text of the template that holds the spec of each policy."""
    parts = ["{{- /* Generated from scripts/chart/admission.py by `make generate`; do not edit. */}}"]
    for policy in POLICIES:
        body = yaml.safe_dump(policy.as_spec(), sort_keys=False, width=110).rstrip("\n")
        parts.append(f'{{{{- define "pillion.admission.{policy.resources[0]}" -}}}}\n{body}\n{{{{- end }}}}')
    return "\n".join(parts) + "\n"
