"""`templates/_rules.tpl`: what the operator may do, from the operator's own list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import yaml

from pillion_operator import rbac

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["rules_template"]

#: Stands for the Lease's name until the text is made, because YAML would quote a template action.
_LEASE: Final = "NAME-OF-THE-LEASE"


def rules_template() -> str:
    """Return the text of the template that holds the rules of each role."""
    parts = ["{{- /* Generated from pillion_operator.rbac by `make generate`; do not edit. */}}"]
    parts += [
        _define("watched", rbac.namespace_rules()),
        _define("cluster", rbac.cluster_rules()),
        _define("own", rbac.lease_rules(_LEASE)),
    ]
    return "\n".join(parts).replace(_LEASE, '{{ include "pillion.operatorName" . }}') + "\n"


def _define(name: str, rules: Iterable[rbac.Rule]) -> str:
    manifests = [rule.as_manifest() for rule in rules]
    body = yaml.safe_dump(manifests, sort_keys=False, default_flow_style=None, width=110).rstrip("\n")
    return f'{{{{- define "pillion.rules.{name}" -}}}}\n{body}\n{{{{- end }}}}'
