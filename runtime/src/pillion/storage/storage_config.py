"""KServe's `STORAGE_CONFIG`: an entry of the Secret `storage-config`, handed to the init container as one variable.

It is JSON and becomes the provider's own variables, which everything below reads. `STORAGE_OVERRIDE_CONFIG`, the
manifest's `storage.parameters`, wins over it. Source: KServe, "Storage spec". Pure, standard library only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pillion.storage.errors import Reason, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["variables_of_config"]

_S3: Final = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "region": "AWS_REGION",
    "verify_ssl": "S3_VERIFY_SSL",
    "anonymous": "awsAnonymousCredential",
}


def variables_of_config(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that `STORAGE_CONFIG` stands for; none where it is not set.

    Raises:
        StorageError: `Reason.INVALID_SETTING`; never shows the value, which holds credentials.
    """
    config = _read(environment, "STORAGE_CONFIG") | _read(environment, "STORAGE_OVERRIDE_CONFIG")
    if not config:
        return {}
    kind = config.get("type", "s3")
    if kind != "s3":
        raise StorageError(
            Reason.INVALID_SETTING,
            f"STORAGE_CONFIG is of type {str(kind)[:40]!r}, which is not supported",
            remedy="use an entry of type s3, or storageUri with credentials of the ServiceAccount",
        )
    return {variable: _text(config[key]) for key, variable in _S3.items() if config.get(key) not in (None, "")}


def _read(environment: Mapping[str, str], name: str) -> dict[str, object]:
    text = environment.get(name)
    if not text:
        return {}
    try:
        config = json.loads(text)
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise StorageError(
            Reason.INVALID_SETTING,
            f"{name} is not a JSON object",
            remedy="correct the entry of the Secret storage-config",
        ) from None
    return config


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
