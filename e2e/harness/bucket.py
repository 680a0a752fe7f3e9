"""A real S3 server in the stage's namespace, and objects in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from e2e.harness import manifests

if TYPE_CHECKING:
    from e2e.harness.manifests import Manifest
    from e2e.harness.stage import Stage

ACCESS_KEY = "AKIAPILLIONE2E"
SECRET_KEY = "not-a-secret-outside-of-this-namespace"
_PORT = 8080
#: Runs in the client pod with AWS's own client. The first call may come before the server listens.
_CLIENT = """
import json, sys, boto3, botocore.config
wanted = json.loads(sys.argv[1])
s3 = boto3.client(
    "s3", endpoint_url=wanted["endpoint"], region_name="us-east-1",
    aws_access_key_id=wanted["key"], aws_secret_access_key=wanted["secret"],
    config=botocore.config.Config(
        retries={"total_max_attempts": 10}, connect_timeout=2, s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
    ),
)
body = {"Body": sys.stdin.buffer.read()} if wanted["call"] == "put_object" else {}
found = getattr(s3, wanted["call"])(**wanted["arguments"], **body)
if wanted["call"] == "get_object":
    sys.stdout.buffer.write(found["Body"].read())
"""


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
        self._do("create_bucket")

    def put(self, key: str, content: bytes) -> None:
        """Store an object."""
        self._do("put_object", content, Key=key)

    def get(self, key: str) -> str:
        """Return an object's text."""
        return self._do("get_object", Key=key)

    def delete(self, key: str) -> None:
        """Delete an object."""
        self._do("delete_object", Key=key)

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

    def _do(self, call: str, content: bytes = b"", **arguments: str) -> str:
        settings = {"endpoint": self.endpoint, "key": ACCESS_KEY, "secret": SECRET_KEY}
        wanted = json.dumps({"call": call, "arguments": {"Bucket": self._name, **arguments}, **settings})
        return self._stage.client("python", "-c", _CLIENT, wanted, stdin=content).stdout
