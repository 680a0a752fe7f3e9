"""`templates/_rules.tpl`: what the operator may do, from the operator's own list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import yaml

from pillion_operator import rbac

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["rules_template"]

#: Each stands for a name until the text is made, because YAML would quote a template action.
_LEASE: Final = "NAME-OF-THE-LEASE"
_WEBHOOK: Final = "NAME-OF-THE-WEBHOOK"
_CONFIGURATION: Final = "NAME-OF-THE-CONFIGURATION"
_NAMES: Final = {
    _LEASE: '{{ include "pillion.operatorName" . }}',
    _WEBHOOK: '{{ include "pillion.webhookName" . }}',
    _CONFIGURATION: '{{ include "pillion.clusterName" . }}-sidecar',
}


def rules_template() -> str:
    """Return the text of the template that holds the rules of each role."""
    parts = ["{{- /* Generated from pillion_operator.rbac by `make generate`; do not edit. */}}"]
    parts += [
        _define("watched", rbac.namespace_rules()),
        _define("ingress", rbac.ingress_rules()),
        _define("gateway", rbac.gateway_rules()),
        _define("selfSigned", rbac.self_signed_rules()),
        _define("certManager", rbac.cert_manager_rules()),
        _define("serviceTrainings", rbac.service_training_rules()),
        _define("kserve", rbac.kserve_rules()),
        _define("kserveCluster", rbac.kserve_cluster_rules()),
        _define("cluster", rbac.cluster_rules()),
        _define("selector", rbac.selector_rules()),
        _define("own", rbac.lease_rules(_LEASE)),
        _define("activator", rbac.activator_rules()),
        _define("activatorOwn", rbac.activator_own_rules()),
        _define("webhook", rbac.webhook_rules(_WEBHOOK)),
        _define("webhookCluster", rbac.webhook_cluster_rules(_CONFIGURATION)),
    ]
    text = "\n".join(parts)
    for stands, name in _NAMES.items():
        text = text.replace(stands, name)
    return text + "\n"


def _define(name: str, rules: Iterable[rbac.Rule]) -> str:
    manifests = [rule.as_manifest() for rule in rules]
    body = yaml.safe_dump(manifests, sort_keys=False, default_flow_style=None, width=110).rstrip("\n")
    return f'{{{{- define "pillion.rules.{name}" -}}}}\n{body}\n{{{{- end }}}}'
