"""From the environment, KServe's conventions included, to the settings of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pillion.storage import FetchOptions, Reason, StorageError, parse_uri
from pillion.storage.credentials import StoreSettings, store_settings

if TYPE_CHECKING:
    from pathlib import Path

CA = "-----BEGIN CERTIFICATE-----\n"


def s3(**environment: str) -> StoreSettings:
    return store_settings(parse_uri("s3://models/iris"), FetchOptions(), environment)


def test_without_settings_the_provider_is_asked_in_us_east_1() -> None:
    found = s3()

    assert (None, "us-east-1", True) == (found.endpoint, found.config["region"], found.needs_metadata)


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({"AWS_ENDPOINT_URL": "http://minio.storage:9000/"}, "http://minio.storage:9000"),
        ({"AWS_ENDPOINT_URL_S3": "https://s.example", "AWS_ENDPOINT_URL": "http://x.example"}, "https://s.example"),
        ({"S3_ENDPOINT": "minio.storage:9000"}, "https://minio.storage:9000"),
        ({"S3_ENDPOINT": "minio.storage:9000", "S3_USE_HTTPS": "0"}, "http://minio.storage:9000"),
        ({"S3_ENDPOINT": "minio.storage:9000", "S3_USE_HTTPS": "1"}, "https://minio.storage:9000"),
    ],
)
def test_the_endpoint_comes_from_either_convention(environment: dict[str, str], endpoint: str) -> None:
    found = s3(**environment)

    assert endpoint == found.endpoint == found.config["endpoint"]
    assert endpoint.startswith("http://") == found.client.get("allow_http", False)


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION", "S3_REGION"])
def test_the_region_comes_from_any_of_its_variables(name: str) -> None:
    assert "eu-west-3" == s3(**{name: "eu-west-3"}).config["region"]


def test_anonymous_access_skips_signatures() -> None:
    assert s3(awsAnonymousCredential="True").config["skip_signature"] is True


def test_verification_can_be_switched_off_as_kserve_does() -> None:
    assert s3(S3_VERIFY_SSL="0").client["allow_invalid_certificates"] is True
    assert "allow_invalid_certificates" not in s3(S3_VERIFY_SSL="1").client


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "CA_BUNDLE_VOLUME_MOUNT_POINT"])
def test_a_ca_bundle_is_read_for_the_store(tmp_path: Path, variable: str) -> None:
    bundle = tmp_path / "cabundle.crt"
    bundle.write_text(CA)

    assert s3(**{variable: str(tmp_path if "MOUNT" in variable else bundle)}).client["root_certificate"] == CA


def test_static_keys_need_no_metadata_service() -> None:
    assert s3(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b").needs_metadata is False
    assert s3(AWS_WEB_IDENTITY_TOKEN_FILE="/t", AWS_ROLE_ARN="r").needs_metadata is False


def test_there_is_no_total_deadline_on_a_download() -> None:
    assert "30days" == s3().client["timeout"]


def test_settings_do_not_show_secrets() -> None:
    found = store_settings(
        parse_uri("az://models/iris"),
        FetchOptions(),
        {"AZURE_STORAGE_ACCOUNT_NAME": "acme1", "AZURE_STORAGE_ACCESS_KEY": "5ecret"},
    )

    assert "5ecret" == found.config["account_key"]
    assert "5ecret" not in repr(found)


def test_the_account_of_azure_comes_from_the_uri_first() -> None:
    environment = {"AZURE_STORAGE_ACCOUNT_NAME": "other1"}
    found = store_settings(parse_uri("abfss://models@acme1.dfs.core.windows.net/x"), FetchOptions(), environment)

    assert "acme1" == found.config["account_name"]


def test_a_missing_account_is_said_with_both_ways_to_give_it() -> None:
    with pytest.raises(StorageError) as caught:
        store_settings(parse_uri("az://models/x"), FetchOptions(), {})

    assert caught.value.reason == Reason.INVALID_SETTING
    assert "AZURE_STORAGE_ACCOUNT_NAME" in caught.value.remedy


@pytest.mark.parametrize("uri", ["gs://models/x", "abfss://models@acme1.dfs.core.windows.net/x"])
def test_a_bucket_without_any_credentials_may_be_a_public_one(uri: str) -> None:
    assert store_settings(parse_uri(uri), FetchOptions(), {}).may_be_public is True


def test_an_unsupported_google_file_is_refused_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text('{"type": "external_account", "private_key": "5ecret"}')

    with pytest.raises(StorageError) as caught:
        store_settings(parse_uri("gs://models/x"), FetchOptions(), {"GOOGLE_APPLICATION_CREDENTIALS": str(path)})

    assert "external_account" in caught.value.message
    assert "5ecret" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["minio:9000", "ftp://minio", "http://user:5ecret@minio"])
def test_a_wrong_endpoint_is_refused_by_the_name_of_its_variable(endpoint: str) -> None:
    with pytest.raises(StorageError) as caught:
        s3(AWS_ENDPOINT_URL=endpoint)

    assert "AWS_ENDPOINT_URL" in caught.value.message
    assert "5ecret" not in str(caught.value)


def test_an_endpoint_in_a_google_key_file_is_seen_by_the_address_rule(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text('{"type": "service_account", "gcs_base_url": "http://169.254.169.254"}')

    found = store_settings(parse_uri("gs://models/x"), FetchOptions(), {"GOOGLE_APPLICATION_CREDENTIALS": str(path)})

    assert "http://169.254.169.254" == found.endpoint


def test_the_emulator_of_azure_is_seen_by_the_address_rule() -> None:
    environment = {"AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1", "AZURE_STORAGE_USE_EMULATOR": "true"}
    found = store_settings(parse_uri("az://models/x"), FetchOptions(), environment)

    assert "http://127.0.0.1:10000/devstoreaccount1" == found.endpoint
