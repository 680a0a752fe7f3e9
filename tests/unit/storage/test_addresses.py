"""Which addresses a user's URI may reach."""

from __future__ import annotations

import pytest

from pillion.storage import Reason, StorageError
from pillion.storage.addresses import check_host, why_forbidden


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("::7f00:1", "loopback"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("::ffff:169.254.169.254", "metadata"),
        ("64:ff9b::a9fe:a9fe", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("fd00:ec2::23", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("ff02::1", "multicast"),
    ],
)
def test_an_address_inside_the_machine_or_of_a_metadata_service_is_forbidden(address: str, word: str) -> None:
    why = why_forbidden(address)

    assert why is not None
    assert word in why


@pytest.mark.parametrize(
    "address", ["10.96.0.12", "172.20.0.1", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd12::1", "2001:db8::1"]
)
def test_private_and_public_networks_are_allowed(address: str) -> None:
    assert why_forbidden(address) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.1.1"])
def test_local_addresses_can_be_allowed(address: str) -> None:
    assert why_forbidden(address, allow_private_hosts=True) is None


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "169.254.170.2", "fd00:ec2::254", "0.0.0.0"]
)
def test_metadata_and_unspecified_addresses_stay_forbidden(address: str) -> None:
    assert why_forbidden(address, allow_private_hosts=True) is not None


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1"])
def test_other_spellings_of_loopback_are_found_out(host: str) -> None:
    with pytest.raises(StorageError) as caught:
        check_host(host, 80, allow_private_hosts=False)

    assert caught.value.reason == Reason.FORBIDDEN_ADDRESS


def test_a_name_that_cannot_be_resolved_is_worth_another_try() -> None:
    with pytest.raises(StorageError) as caught:
        check_host("no-such-host.invalid", 80, allow_private_hosts=False)

    assert (Reason.DOWNLOAD_FAILED, True) == (caught.value.reason, caught.value.transient)
