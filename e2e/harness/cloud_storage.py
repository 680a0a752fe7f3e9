"""An emulator of Google Cloud Storage in the stage's namespace, and objects in it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import quote

from e2e.harness import manifests

if TYPE_CHECKING:
    from e2e.harness.manifests import Manifest
    from e2e.harness.stage import Stage

_PORT = 8080
_KEY_FILE = "gcloud-application-credentials.json"


class CloudStorage:
    """The buckets of an emulator that is reached at http://gcs.NAMESPACE.svc:8080."""

    def __init__(self, stage: Stage) -> None:
        """Refer to the stage's emulator."""
        self._stage = stage
        self.endpoint = f"http://gcs.{stage.namespace}.svc.cluster.local:{_PORT}"
        self._buckets: set[str] = set()

    def start(self) -> None:
        """Start the emulator."""
        stage = self._stage
        stage.apply(
            manifests.pod(
                "gcs",
                stage.target.image("gcs"),
                arguments=[f"-public-host=gcs.{stage.namespace}.svc.cluster.local:{_PORT}"],
                ports=[_PORT],
            ),
            manifests.service("gcs", _PORT),
        )
        stage.target.kubectl("wait", "pod/gcs", f"--namespace={stage.namespace}", "--for=condition=Ready")

    def put(self, uri: str, content: bytes) -> None:
        """Store an object under its `gs://` URI."""
        bucket, _, key = uri.removeprefix("gs://").partition("/")
        if bucket not in self._buckets:
            self._post("/storage/v1/b", json.dumps({"name": bucket}).encode(), "application/json")
            self._buckets.add(bucket)
        place = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(key, safe='')}"
        self._post(place, content, "application/octet-stream")

    def credentials(self, secret: str) -> Manifest:
        """Return a Secret in KServe's convention: a key file, which names the endpoint and needs no login."""
        made = subprocess.run(["openssl", "genrsa", "2048"], check=True, capture_output=True, text=True)
        file = {
            "type": "service_account",
            "gcs_base_url": self.endpoint,
            "disable_oauth": True,
            "client_email": "reader@example.com",
            "private_key": made.stdout,
            "private_key_id": "1",
        }
        return manifests.secret(secret, {_KEY_FILE: json.dumps(file)})

    def _post(self, path: str, content: bytes, kind: str) -> None:
        self._stage.client(
            "curl", "--silent", "--show-error", "--fail-with-body", "--retry", "10", "--retry-connrefused",
            "--max-time", "30", "--header", f"Content-Type: {kind}", "--data-binary", "@-",
            self.endpoint + path, stdin=content,
        )  # fmt: skip  # option and value read as pairs
