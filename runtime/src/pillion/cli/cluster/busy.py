"""How busy each InferenceService is: its pods found, read and added up."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pillion.cli.cluster.kubectl import INFERENCE_SERVICES, OWNER_LABEL
from pillion.cli.cluster.load import load_between
from pillion.cli.cluster.objects import name_of, objects_at, text_at
from pillion.cli.cluster.pods import is_ready
from pillion.cli.cluster.scrape import readings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from pillion.cli.cluster.kubectl import Kubectl
    from pillion.cli.cluster.load import Load
    from pillion.cli.cluster.objects import Object
    from pillion.cli.cluster.scrape import Twice

__all__ = ["Busy", "look"]

_PREDICTORS: Final = "serving.pillion.dev/component notin (transformer,explainer)"


@dataclass(frozen=True, slots=True)
class Busy:
    """One InferenceService.

    Attributes:
        load: of the pods that were read; None where none was.
        unread: why a pod was not, by its name.
    """

    namespace: str
    name: str
    replicas: int
    ready: int
    load: Load | None
    unread: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, JsonValue]:
        """Return it for programs; what is not known is null."""
        load = self.load
        return {
            "namespace": self.namespace,
            "name": self.name,
            "replicas": self.replicas,
            "ready": self.ready,
            "inFlight": load.in_flight if load else None,
            "queue": load.queue if load else None,
            "rps": round(load.rps, 3) if load else None,
            "p95Seconds": load.p95_seconds if load else None,
            "unread": dict(self.unread),
        }


def look(kubectl: Kubectl, name: str | None, *, everywhere: bool, seconds: float) -> list[Busy]:
    """Look at the InferenceService of that name, or at all, of the namespace or of every one.

    Raises:
        CommandError: they cannot be read.
    """
    services = [kubectl.inference_service(name)] if name else _listed(kubectl, INFERENCE_SERVICES, everywhere)
    # A request that comes through a transformer is counted once, by the predictor.
    selector = f"{OWNER_LABEL}={name}" if name else OWNER_LABEL
    selector += f",{_PREDICTORS}"
    pods = [
        pod
        for pod in _listed(kubectl, "pods", everywhere, selector)
        if not text_at(pod, "metadata", "deletionTimestamp")
    ]
    read = list(zip(pods, readings(kubectl, pods, seconds), strict=True))
    return [_busy(service, [(pod, one) for pod, one in read if _owner(pod) == _key(service)]) for service in services]


def _busy(service: Object, read: Sequence[tuple[Object, Twice | str]]) -> Busy:
    namespace, name = _key(service)
    counted = [one for _, one in read if not isinstance(one, str)]
    return Busy(
        namespace=namespace,
        name=name,
        replicas=len(read),
        ready=sum(is_ready(pod) for pod, _ in read),
        load=load_between(counted) if counted else None,
        unread={name_of(pod): one for pod, one in read if isinstance(one, str)},
    )


def _key(service: Object) -> tuple[str, str]:
    return text_at(service, "metadata", "namespace"), name_of(service)


def _owner(pod: Object) -> tuple[str, str]:
    return text_at(pod, "metadata", "namespace"), text_at(pod, "metadata", "labels", OWNER_LABEL)


def _listed(kubectl: Kubectl, kind: str, everywhere: bool, selector: str = "") -> Sequence[Object]:  # noqa: FBT001 - as named
    scope = "--all-namespaces" if everywhere else f"--namespace={kubectl.namespace}"
    done = kubectl.run_unscoped("get", kind, scope, f"--selector={selector}", "--output=json")
    if done.code != 0:
        raise kubectl.failure(done)
    return objects_at(json.loads(done.stdout), "items")
