"""`templates/_rules.tpl`: what the operator may do, from the operator's own list."""

from __future__ import annotations

import yaml

__all__ = ["rules_template"]

_RESOURCES = "serving.pillion.dev"


def rules_template() -> str:
    """Return the text of the template that holds the rules of each role."""
    parts = ["{{- /* Generated from pillion_operator.rbac by `make generate`; do not edit. */}}"]
    for name, rules in RULES.items():
        body = yaml.safe_dump(rules, sort_keys=False, default_flow_style=None, width=110).rstrip("\n")
        parts.append(f'{{{{- define "pillion.rules.{name}" -}}}}\n{body}\n{{{{- end }}}}')
    return "\n".join(parts) + "\n"


def _rule(group: str, resources: list[str], *verbs: str) -> dict[str, list[str]]:
    return {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}


RULES = {
    "watched": [
        _rule(_RESOURCES, ["inferenceservices", "servingruntimes"], "get", "list", "watch"),
        _rule(_RESOURCES, ["inferenceservices/status"], "patch"),
        _rule("apps", ["deployments"], "get", "list", "watch", "create", "update", "patch", "delete"),
        _rule("apps", ["deployments/scale"], "patch"),
        _rule("", ["services", "configmaps"], "get", "list", "watch", "create", "update", "patch", "delete"),
        _rule("policy", ["poddisruptionbudgets"], "get", "list", "watch", "create", "update", "patch", "delete"),
        _rule("", ["pods"], "get", "list", "watch", "patch"),
        _rule("", ["secrets", "serviceaccounts", "persistentvolumeclaims"], "get"),
        _rule("", ["events"], "get", "create", "patch"),
    ],
    "cluster": [_rule(_RESOURCES, ["clusterservingruntimes"], "get", "list", "watch", "create", "patch")],
    "own": [_rule("coordination.k8s.io", ["leases"], "get", "create", "update")],
}
