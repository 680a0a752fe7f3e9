"""What a support bundle holds: objects, events, logs, metrics and versions, each redacted before it is kept.

Nothing here asks for a Secret. What could not be had is written down and ends nothing.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from pillion.cli.cluster.objects import name_of, objects_at, text_at
from pillion.cli.cluster.pods import containers, restarts
from pillion.cli.cluster.redaction import redacted_object, redacted_text
from pillion.cli.cluster.scrape import metrics_of, metrics_port
from pillion.cli.failures import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pillion.cli.cluster.kubectl import Done, Kubectl
    from pillion.cli.cluster.objects import Object

__all__ = ["Bundle", "collect"]

#: Of a namespace with models. Secrets are not among them and never will be.
KINDS: Final = (
    "inferenceservices.serving.pillion.dev",
    "models.serving.pillion.dev",
    "trainingjobs.serving.pillion.dev",
    "batchpredictions.serving.pillion.dev",
    "servingruntimes.serving.pillion.dev",
    "deployments.apps",
    "replicasets.apps",
    "controllerrevisions.apps",
    "jobs.batch",
    "pods",
    "services",
    "endpointslices.discovery.k8s.io",
    "persistentvolumeclaims",
    "poddisruptionbudgets.policy",
    "horizontalpodautoscalers.autoscaling",
    "networkpolicies.networking.k8s.io",
    "resourcequotas",
    "limitranges",
    "events",
)
_OPERATOR_KINDS: Final = ("deployments.apps", "replicasets.apps", "pods", "leases.coordination.k8s.io", "events")
#: ConfigMaps hold whatever people put there: only those that the operator made are taken.
_OURS: Final = "app.kubernetes.io/managed-by=pillion-operator"
OPERATOR: Final = "app.kubernetes.io/name=pillion,app.kubernetes.io/component=operator"
_OF_MODELS: Final = "serving.pillion.dev/inferenceservice"
_LINES: Final = 2000
_LOG_BYTES: Final = 2 * 1024 * 1024
#: Of all texts together, which are held in memory: many pods have many logs.
_MOST_CHARACTERS: Final = 256 * 1024 * 1024
_AT_A_TIME: Final = 8


@dataclass(slots=True)
class Bundle:
    """Texts by their path in the archive, and why others are not there."""

    files: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    room: int = _MOST_CHARACTERS
    """Characters that there is room for yet; what works at the same time may take a little more."""

    def objects(self, path: str, found: Iterable[Object]) -> None:
        """Keep objects, as JSON."""
        kept = [redacted_object(dict(one)) for one in found]
        if kept:
            self.files[path] = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"

    def text(self, path: str, text: str) -> None:
        """Keep a text."""
        if len(text) > self.room:
            self.missing[path] = "the bundle is full; ask for it with `kubectl logs`"
        elif text.strip():
            self.room -= len(text)
            self.files[path] = redacted_text(text)


def collect(kubectl: Kubectl, operator_namespace: str, tell: Callable[[str], None]) -> Bundle:
    """Collect what there is of the namespace and of the operator; `tell` is told of each step."""
    bundle = Bundle()
    tell("versions")
    _versions(kubectl, bundle)
    tell(f"namespace {kubectl.namespace}")
    models = _namespace(kubectl, f"namespaces/{kubectl.namespace}", KINDS, bundle)
    bundle.objects(*_listed(kubectl, f"namespaces/{kubectl.namespace}/configmaps", "configmaps", bundle, _OURS))
    operator = replace(kubectl, namespace=operator_namespace)
    tell(f"the operator, namespace {operator_namespace}")
    its = _namespace(operator, "operator", _OPERATOR_KINDS, bundle, OPERATOR)
    if not its and "operator/pods" not in bundle.missing:
        bundle.missing["operator/pods"] = (
            f"no pod of the operator is in namespace {operator_namespace}; name its own with --operator-namespace"
        )
    own = [pod for pod in models if _OF_MODELS in _labels(pod)]
    tell(f"logs and metrics of {len(own) + len(its)} pods")
    work = [(kubectl, pod, f"namespaces/{kubectl.namespace}") for pod in own]
    work += [(operator, pod, "operator") for pod in its]
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        list(threads.map(lambda one: _pod(one[0], one[1], one[2], bundle), work))
    return bundle


def _namespace(
    kubectl: Kubectl, folder: str, kinds: tuple[str, ...], bundle: Bundle, selector: str = ""
) -> list[Object]:
    """Keep the objects of these kinds; the pods among them. Events have no labels to select by."""

    def ask(kind: str) -> tuple[str, list[Object]]:
        labels = "" if kind in {"events", "leases.coordination.k8s.io"} else selector
        return _listed(kubectl, f"{folder}/{kind.partition('.')[0]}", kind, bundle, labels)

    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        found = list(threads.map(ask, kinds))
    for path, items in found:
        bundle.objects(path, items)
    return next(items for kind, (_, items) in zip(kinds, found, strict=True) if kind == "pods")


def _listed(kubectl: Kubectl, path: str, kind: str, bundle: Bundle, selector: str = "") -> tuple[str, list[Object]]:
    done = _asked(kubectl, path, bundle, "get", kind, f"--selector={selector}", "--output=json")
    return f"{path}.json", objects_at(json.loads(done), "items") if done else []


def _versions(kubectl: Kubectl, bundle: Bundle) -> None:
    told = _asked(kubectl, "versions/kubernetes", bundle, "version", "--output=json")
    bundle.text("versions/kubernetes.json", told)
    columns = "custom-columns=NAME:.metadata.name,STORED:.status.storedVersions,CREATED:.metadata.creationTimestamp"
    wanted = ("get", "customresourcedefinitions", f"--output={columns}")
    definitions = _asked(kubectl, "versions/definitions", bundle, *wanted)
    lines = definitions.splitlines()
    bundle.text("versions/definitions.txt", "\n".join([*lines[:1], *(one for one in lines if "pillion.dev" in one)]))
    runtimes = _listed(kubectl, "clusterservingruntimes", "clusterservingruntimes.serving.pillion.dev", bundle)
    bundle.objects(*runtimes)


def _pod(kubectl: Kubectl, pod: Object, folder: str, bundle: Bundle) -> None:
    name = name_of(pod)
    for container in containers(pod):
        path = f"{folder}/logs/{name}/{container}"
        _log(kubectl, name, container, path, bundle)
        if restarts(pod):
            _log(kubectl, name, container, f"{path}.previous", bundle, "--previous")
    port = metrics_port(pod)
    if port is not None and text_at(pod, "status", "phase") == "Running":
        path = f"{folder}/metrics/{name}"
        try:
            bundle.text(f"{path}.txt", metrics_of(kubectl, pod, port))
        except CommandError as error:
            bundle.missing[path] = redacted_text(str(error))


def _log(kubectl: Kubectl, pod: str, container: str, path: str, bundle: Bundle, *flags: str) -> None:
    bounds = (f"--tail={_LINES}", f"--limit-bytes={_LOG_BYTES}", "--timestamps")
    bundle.text(f"{path}.log", _asked(kubectl, path, bundle, "logs", pod, f"--container={container}", *bounds, *flags))


def _asked(kubectl: Kubectl, path: str, bundle: Bundle, *arguments: str) -> str:
    """What kubectl answers; nothing where it fails, and why is written down."""
    try:
        done: Done = kubectl.run(*arguments)
    except CommandError as error:
        bundle.missing[path] = redacted_text(str(error))
        return ""
    if done.code != 0:
        bundle.missing[path] = redacted_text(done.stderr.strip())
        return ""
    return done.stdout


def _labels(pod: Object) -> Mapping[str, object]:
    metadata = pod.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return labels if isinstance(labels, dict) else {}
