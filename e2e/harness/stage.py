"""A namespace of one scenario, and what is done in it again and again."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from e2e.harness import manifests
from e2e.harness.certificates import Authority, Pair, service_names
from e2e.harness.load import Load
from e2e.harness.models import SETOSA
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2e.harness.commands import Done
    from e2e.harness.manifests import Manifest
    from e2e.harness.target import Target

OWNER = "serving.pillion.dev/inferenceservice"
#: What an InferenceService is made into, as `kubectl get` takes it.
CHILDREN = (
    "deployments,replicasets,pods,services,configmaps,poddisruptionbudgets,endpointslices,horizontalpodautoscalers,"
    "networkpolicies"
)
_CERTIFICATES = "/certificates"


@dataclass(slots=True)
class Stage:
    """A namespace that enforces the restricted standard."""

    target: Target
    namespace: str
    authority: Authority = field(default_factory=Authority)
    _client: bool = False

    def apply(self, *documents: Manifest) -> str:
        """Apply manifests in the namespace."""
        return self.target.kubectl.apply(*documents, namespace=self.namespace)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return an object of the namespace, or None."""
        return self.target.kubectl.get(kind, name, self.namespace)

    def items(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """Return the objects of a kind."""
        return self.target.kubectl.items(kind, f"--namespace={self.namespace}", f"--selector={selector}")

    def delete(self, kind: str, name: str, *options: str) -> str:
        """Delete an object."""
        return self.target.kubectl("delete", kind, name, f"--namespace={self.namespace}", *options)

    def patch(self, kind: str, name: str, change: Manifest) -> str:
        """Apply a JSON merge patch."""
        return self.target.kubectl.patch(kind, name, self.namespace, change)

    def children(self, service: str) -> list[str]:
        """Return the names of what an InferenceService was made into."""
        listed = self.target.kubectl(
            "get", CHILDREN, f"--namespace={self.namespace}", f"--selector={OWNER}={service}", "--output=name"
        )
        return sorted(listed.split())

    def pods(self, service: str) -> list[dict[str, Any]]:
        """Return the predictor's pods that are not on their way out."""
        found = self.items("pods", f"{OWNER}={service}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    # -- status ---------------------------------------------------------------------------------------------------

    def condition(self, service: str, kind: str = "Ready") -> dict[str, Any]:
        """Return a condition of the InferenceService; empty where it has none of this generation."""
        found = self.get("pisvc", service) or {}
        generation = found.get("metadata", {}).get("generation")
        for condition in found.get("status", {}).get("conditions", []):
            if condition["type"] == kind and condition.get("observedGeneration", generation) == generation:
                made: dict[str, Any] = condition
                return made
        return {}

    def wait_ready(self, service: str, *, within: float = 90) -> dict[str, Any]:
        """Wait until the InferenceService is Ready in its newest generation, and return it."""
        eventually(
            lambda: self.condition(service),
            lambda condition: condition.get("status") == "True",
            within=within,
            what=f"InferenceService {service} is Ready",
        )
        found = self.get("pisvc", service)
        assert found is not None, f"InferenceService {service} is gone"
        return found

    def wait_rolled_out(self, service: str, *, within: float = 150, old_gone: bool = False) -> None:
        """Wait until every wanted pod is ready and of the newest template.

        `old_gone` also waits for the end of the old pods, which drain first.
        """

        def state() -> tuple[dict[str, Any], int]:
            deployment = self.get("deployment", f"{service}-predictor") or {}
            return deployment, len(self.items("pods", f"{OWNER}={service}"))

        def done(seen: tuple[dict[str, Any], int]) -> bool:
            deployment, pods = seen
            status = deployment.get("status", {})
            wanted = deployment.get("spec", {}).get("replicas")
            return bool(
                status.get("observedGeneration") == deployment.get("metadata", {}).get("generation")
                and wanted == status.get("updatedReplicas") == status.get("readyReplicas") == status.get("replicas")
                and (pods == wanted or not old_gone)
            )

        eventually(state, done, within=within, what=f"{service} has rolled out", every=0.5)

    def wait_reason(
        self, service: str, reason: str, *, kind: str = "Ready", status: str = "False", within: float = 90
    ) -> dict[str, Any]:
        """Wait until a condition has this status and reason, and return it."""
        return eventually(
            lambda: self.condition(service, kind),
            lambda seen: (seen.get("status"), seen.get("reason")) == (status, reason),
            within=within,
            what=f"condition {kind} of {service} is {status} for {reason}",
        )

    # -- certificates ---------------------------------------------------------------------------------------------

    def issue(self, service: str, secret: str) -> Pair:
        """Make a certificate for the predictor of an InferenceService and put it into a Secret."""
        pair = self.authority.server(service_names(f"{service}-predictor", self.namespace))
        self.apply(manifests.tls_secret(secret, pair))
        return pair

    # -- clients --------------------------------------------------------------------------------------------------

    def client(self, *command: str, stdin: str | bytes | None = None, check: bool = True, within: float = 120) -> Done:
        """Run a command in the client pod, which trusts the stage's authority in /certificates/ca.crt."""
        if not self._client:
            self._trust()
            self.apply(
                manifests.pod(
                    "client",
                    self.target.image("client"),
                    config_maps={"certificates": _CERTIFICATES},
                )
            )
            self.target.kubectl(
                "wait", "pod/client", f"--namespace={self.namespace}", "--for=condition=Ready", "--timeout=60s"
            )
            self._client = True
        flags = ["--stdin"] if stdin is not None else []
        return self.target.kubectl.run(
            "exec", *flags, f"--namespace={self.namespace}", "client", "--", *command,
            stdin=stdin, check=check, timeout=within,
        )  # fmt: skip

    def predict(self, service: str, *, scheme: str = "http", model: str | None = None) -> Any:  # noqa: ANN401  # JSON
        """Ask for the class of SETOSA by REST with curl, and return the answer's first output."""
        url = f"{scheme}://{service}-predictor.{self.namespace}.svc.cluster.local/v2/models/{model or service}/infer"
        done = self.client(
            "curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "10",
            *(["--cacert", f"{_CERTIFICATES}/ca.crt"] if scheme == "https" else []),
            "--header", "Content-Type: application/json", "--data", infer_request(), url,
        )  # fmt: skip  # option and value read as pairs
        return json.loads(done.stdout)["outputs"][0]

    def load(
        self,
        name: str,
        protocol: str,
        service: str,
        *,
        tls: bool,
        rate: float = 200,
        patience: int = 10,
        at: str | None = None,
        options: Sequence[str] = (),
    ) -> Load:
        """Start open-loop load on an InferenceService's predictor; a request fails after `patience` seconds.

        `at` is an address and port to connect to instead of the Service's, `options` are further ones of loadgen.
        """
        host = f"{service}-predictor.{self.namespace}.svc.cluster.local"
        secure = [f"--ca={_CERTIFICATES}/ca.crt"] if tls else []
        if protocol == "http":
            scheme = "https" if tls else "http"
            arguments = [f"--url={scheme}://{at or host}/v2/models/{service}/infer", f"--body={infer_request()}"]
        else:
            body = base64.b64encode(grpc_request(service)).decode()
            arguments = [f"--target={at or f'{host}:8081'}", "--method=/inference.GRPCInferenceService/ModelInfer"]
            arguments.append(f"--body-base64={body}")
        self._trust()
        run = Load(self.target.kubectl, self.namespace, name, rate=rate)
        arguments += [f"--timeout={patience}s", *secure, *options]
        run.start(self.target.image("client"), [protocol, *arguments], {"certificates": _CERTIFICATES})
        return run

    def _trust(self) -> None:
        self.apply(manifests.config_map("certificates", text={"ca.crt": self.authority.certificate}))


def infer_request(rows: Sequence[Sequence[float]] = (SETOSA,)) -> str:
    """Return the body of a REST inference request of the Open Inference Protocol."""
    data = [value for row in rows for value in row]
    tensor = {"name": "input", "shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": data}
    return json.dumps({"inputs": [tensor]})


def grpc_request(model: str) -> bytes:
    """Return the same request as an encoded ModelInferRequest."""
    from pillion.protocol.protos import open_inference_pb2

    request = open_inference_pb2.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="input", datatype="FP64", shape=[1, len(SETOSA)])
    tensor.contents.fp64_contents.extend(SETOSA)
    return request.SerializeToString()
