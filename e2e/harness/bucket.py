"""A real S3 server in the stage's namespace, and objects in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.harness import manifests

if TYPE_CHECKING:
    from e2e.harness.manifests import Manifest
    from e2e.harness.stage import Stage

ACCESS_KEY = "AKIAPILLIONE2E"
SECRET_KEY = "not-a-secret-outside-of-this-namespace"
_PORT = 8080


class Bucket:
    """A bucket of an S3 server that is reached at http://s3.NAMESPACE.svc:8080."""

    def __init__(self, stage: Stage, name: str) -> None:
        """Refer to the bucket called `name`; the server is the stage's only one."""
        self._stage = stage
        self._name = name
        self.endpoint = f"http://s3.{stage.namespace}.svc.cluster.local:{_PORT}"

    def start(self) -> None:
        """Start the server and make the bucket."""
        stage = self._stage
        stage.apply(
            manifests.pod(
                "s3",
                stage.target.image("s3"),
                arguments=["/data", f"--auth-key={ACCESS_KEY},{SECRET_KEY}"],
                writable={"data": "/data"},
                ports=[_PORT],
            ),
            manifests.service("s3", _PORT),
        )
        stage.target.kubectl("wait", "pod/s3", f"--namespace={stage.namespace}", "--for=condition=Ready")
        self._request("PUT", "")

    def put(self, key: str, content: bytes) -> None:
        """Store an object."""
        self._request("PUT", key, content)

    def delete(self, key: str) -> None:
        """Delete an object."""
        self._request("DELETE", key)

    def credentials(self, secret: str, service_account: str) -> list[Manifest]:
        """Return a Secret with the server's keys, in KServe's convention, and a ServiceAccount that names it."""
        annotations = {
            "serving.kserve.io/s3-endpoint": self.endpoint.removeprefix("http://"),
            "serving.kserve.io/s3-usehttps": "0",
            "serving.kserve.io/s3-region": "us-east-1",
        }
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        return [
            manifests.secret(secret, keys, annotations),
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": service_account},
                "secrets": [{"name": secret}],
            },
        ]

    def _request(self, method: str, key: str, content: bytes | None = None) -> None:
        self._stage.client(
            "curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "20",
            "--retry", "20", "--retry-delay", "1", "--retry-connrefused", "--retry-all-errors",
            "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", f"{ACCESS_KEY}:{SECRET_KEY}",
            "--request", method, *(["--data-binary", "@-"] if content is not None else []),
            f"{self.endpoint}/{self._name}/{key}",
            stdin=content,
        )  # fmt: skip  # option and value read as pairs
