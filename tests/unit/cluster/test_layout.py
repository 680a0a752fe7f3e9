"""Where a node's parts are."""

from __future__ import annotations

import ipaddress

import pytest

from e2e.cluster.node.failure import ClusterError
from e2e.cluster.node.layout import POD_NETWORK, SERVICE_NETWORK, Layout, free_index, validate_name
from e2e.cluster.node.network import taken_indices


def test_a_node_takes_the_lowest_index_that_no_other_node_has() -> None:
    assert 0 == free_index([])
    assert 1 == free_index([0, 2])
    assert 3 == free_index([2, 1, 0])


def test_an_index_is_also_taken_by_a_node_of_which_only_the_link_is_seen() -> None:
    names = [Layout("e2e", 0).interface, Layout("e2e", 12).interface, "lo", "eth0", "pillion", "pillion1x"]
    assert {0, 12} == taken_indices(names)


def test_a_machine_full_of_nodes_is_told_how_to_end_one() -> None:
    with pytest.raises(ClusterError, match=r"cluster\.py down --name"):
        free_index(range(200))


def test_both_ends_of_the_link_are_in_its_network_and_apart_from_pods_and_services() -> None:
    layout = Layout("e2e", 7)
    network = ipaddress.ip_network(layout.network)
    assert ipaddress.ip_address(layout.host_address) in network
    assert ipaddress.ip_address(layout.node_address) in network
    assert layout.host_address != layout.node_address
    assert not any(network.overlaps(ipaddress.ip_network(other)) for other in (POD_NETWORK, SERVICE_NETWORK))


def test_links_of_different_nodes_do_not_overlap() -> None:
    networks = [ipaddress.ip_network(Layout("e2e", index).network) for index in range(200)]
    assert len(networks) == len(set(networks))


def test_an_interface_name_fits_what_linux_allows_for_the_highest_index() -> None:
    assert len(Layout("e2e", 199).interface) <= 15


@pytest.mark.parametrize("name", ["e2e", "a", "two-nodes", "x" * 30])
def test_a_name_that_can_be_part_of_host_names_and_paths_is_taken(name: str) -> None:
    assert name == validate_name(name)


@pytest.mark.parametrize("name", ["", "E2E", "2e", "-a", "a-", "a/b", "..", "x" * 31, "a b"])
def test_any_other_name_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(ClusterError, match="at most 30 lower-case letters"):
        validate_name(name)
