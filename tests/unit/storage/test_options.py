"""Settings: defaults, environment, flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from pillion.storage import FetchOptions, Reason, StorageError, settings
from pillion.storage.download import backoff_seconds

DIGEST = "sha256:" + "0" * 64


def test_the_environment_sets_every_setting() -> None:
    texts = {
        "digest": DIGEST, "max_bytes": "10Gi", "max_files": "7", "max_unpack_ratio": "3.5", "unpack": "false",
        "stall_seconds": "5", "connect_seconds": "2", "attempts": "9", "backoff_seconds": "1", "concurrency": "2",
        "max_redirects": "1", "reuse": "never", "hub_files": "all",
        "registry_configs": "/a.json:/b.json", "insecure_registries": "registry:5000, other",
        "allow_private_hosts": "true", "ca_bundle": "/ca.pem", "link_root": "/mnt",
    }  # fmt: skip
    environment = {f"PILLION_STORAGE_{name.upper()}": text for name, text in texts.items()}

    expected = FetchOptions(
        digest=DIGEST, max_bytes=10 * 2**30, max_files=7, max_unpack_ratio=3.5, unpack=False,
        stall_seconds=5.0,
        connect_seconds=2.0, attempts=9, backoff_seconds=1.0, concurrency=2,
        max_redirects=1, reuse="never", hub_files="all",
        registry_configs=(Path("/a.json"), Path("/b.json")), insecure_registries=("registry:5000", "other"),
        allow_private_hosts=True, ca_bundle=Path("/ca.pem"), link_root=Path("/mnt"),
    )  # fmt: skip
    assert expected == FetchOptions.from_environment(environment)
    assert set(texts) == {setting.name for setting in settings()}


def test_what_is_given_wins_over_the_environment() -> None:
    assert 3 == FetchOptions.from_environment({"PILLION_STORAGE_ATTEMPTS": "9"}, attempts=3).attempts


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PILLION_STORAGE_MAX_BYTES", "ten"), ("PILLION_STORAGE_UNPACK", "maybe"),
        ("PILLION_STORAGE_REUSE", "sometimes"),
        ("PILLION_STORAGE_STALL_SECONDS", "0"), ("PILLION_STORAGE_STALL_SECONDS", "nan"),
        ("PILLION_STORAGE_ATTEMPTS", "0"),
        ("PILLION_STORAGE_DIGEST", "md5:00"), ("PILLION_STORAGE_MAX_BYTES", "-1"),
        ("PILLION_STORAGE_BACKOFF_SECONDS", "1e9"), ("PILLION_STORAGE_INSECURE_REGISTRIES", "http://registry:5000"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_by_name(variable: str, text: str) -> None:
    with pytest.raises(StorageError) as caught:
        FetchOptions.from_environment({variable: text})

    assert caught.value.reason == Reason.INVALID_SETTING
    assert variable.removeprefix("PILLION_STORAGE_").lower() in caught.value.message.lower()


def test_pauses_double_up_to_thirty_seconds() -> None:
    assert [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] == [
        backoff_seconds(attempt, 0.5, 0.0) for attempt in range(1, 9)
    ]


def test_jitter_takes_at_most_half_off() -> None:
    assert 1.0 == backoff_seconds(2, 1.0, 1.0)
