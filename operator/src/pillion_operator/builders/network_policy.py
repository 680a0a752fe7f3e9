"""The NetworkPolicy of the predictor's pods, where the manifest asks for one.

Data ports and the admin port are told apart: who may ask for predictions is seldom who may read metrics. What leaves
the pods is untouched unless the manifest says what may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.builders.service import target_ports
from pillion_operator.state.kinds import NETWORK_POLICY
from pillion_operator.state.manifest import array
from pillion_operator.state.names import ADMIN_PORT, OPERATOR_POD_LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pillion.resources.base import JsonObject
    from pillion.resources.traffic import NetworkPolicySpec
    from pillion_operator.builders.context import BuildContext

__all__ = ["network_policy"]


def network_policy(context: BuildContext, asked: NetworkPolicySpec) -> JsonObject:
    """Return the policy that the manifest asks for. Source: networking/v1 NetworkPolicySpec."""
    data_ports = [port for port in dict.fromkeys(target_ports(context)) if port]
    # Pods with some of the models each ask one another.
    placed = context.ours and context.predictor.model_placement is not None
    themselves: list[JsonObject] = [{"podSelector": {"matchLabels": dict(context.selector)}}] if placed else []
    ingress = _rule(data_ports, [{"podSelector": {}}] if asked.from_ is None else [*asked.from_, *themselves])
    if context.ours:
        ingress += _rule([ADMIN_PORT], _admin_peers(asked, context.settings.operator_namespace))
    spec: JsonObject = {
        "podSelector": {"matchLabels": dict(context.selector)},
        "policyTypes": ["Ingress"],
        "ingress": array(ingress),
    }
    if asked.egress is not None:
        spec |= {"policyTypes": ["Ingress", "Egress"], "egress": array([*asked.egress, *_to(data_ports, themselves)])}
    return context.manifest(NETWORK_POLICY, context.child_name, {"spec": spec})


def _admin_peers(asked: NetworkPolicySpec, operator_namespace: str) -> list[JsonObject]:
    if asked.admin_from is None:
        return [{"namespaceSelector": {}}]
    # The operator reads /status, from which the condition says why a model does not load.
    operator: JsonObject = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator_namespace}},
        "podSelector": {"matchLabels": dict(OPERATOR_POD_LABELS)},
    }
    return [*asked.admin_from, *([operator] if operator_namespace else [])]


def _to(ports: Iterable[int], peers: Sequence[JsonObject]) -> list[JsonObject]:
    """The same for what goes out."""
    return [{"to": rule["from"], "ports": rule["ports"]} for rule in _rule(ports, peers)]


def _rule(ports: Iterable[int], peers: Sequence[JsonObject]) -> list[JsonObject]:
    """Return the rule in a list, an empty one where nobody may: a rule without peers would let everybody in."""
    if not peers:
        return []
    opened: list[JsonObject] = [{"port": port, "protocol": "TCP"} for port in ports]
    return [{"from": array(peers), "ports": array(opened)}]
