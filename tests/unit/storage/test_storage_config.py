from __future__ import annotations

import json

import pytest

from pillion.storage.errors import Reason, StorageError
from pillion.storage.storage_config import variables_of_config

ENTRY = {
    "type": "s3",
    "access_key_id": "id",
    "secret_access_key": "key",
    "endpoint_url": "http://store:9000",
    "region": "eu",
    "bucket": "models",
}


def test_an_entry_becomes_the_providers_own_variables() -> None:
    assert {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_ENDPOINT_URL": "http://store:9000",
        "AWS_REGION": "eu",
    } == variables_of_config({"STORAGE_CONFIG": json.dumps(ENTRY)})


def test_the_parameters_of_the_manifest_win() -> None:
    environment = {
        "STORAGE_CONFIG": json.dumps(ENTRY),
        "STORAGE_OVERRIDE_CONFIG": '{"region": "us", "verify_ssl": false}',
    }

    found = variables_of_config(environment)

    assert ("us", "false") == (found["AWS_REGION"], found["S3_VERIFY_SSL"])


def test_without_an_entry_nothing_changes() -> None:
    assert {} == variables_of_config({"AWS_REGION": "eu"})


@pytest.mark.parametrize("text", ["secret", "[1]", '{"type": "hdfs", "access_key_id": "secret"}'])
def test_an_entry_that_cannot_be_used_is_told_without_its_content(text: str) -> None:
    with pytest.raises(StorageError) as raised:
        variables_of_config({"STORAGE_CONFIG": text})

    assert Reason.INVALID_SETTING is raised.value.reason
    assert "secret" not in str(raised.value).replace("Secret storage-config", "")
