"""Free ranges and ports: never one that is taken, and a plain word when there is none."""

from __future__ import annotations

import ipaddress
import random
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import EnvironmentProblem
from testbed.machines.addresses import (
    NODE_PORT_COUNT,
    choose_node_ports,
    choose_ports,
    choose_subnet,
    is_free,
    routed_networks,
)

NETWORKS = st.builds(
    lambda second, third, prefix: ipaddress.IPv4Network((f"10.{second}.{third}.0", prefix), strict=False),
    st.integers(0, 255), st.integers(0, 255), st.integers(12, 24),
)


@given(st.lists(NETWORKS, max_size=8), st.integers(0, 1 << 16))
def test_chosen_range_overlaps_nothing(taken: list[ipaddress.IPv4Network], seed: int) -> None:
    try:
        chosen = ipaddress.IPv4Network(choose_subnet(taken, random.Random(seed)))
    except EnvironmentProblem:
        assert sum(network.num_addresses for network in taken) > 1 << 20
        return
    assert chosen.prefixlen == 16 and not any(chosen.overlaps(network) for network in taken)


def test_no_range_left_says_what_to_do() -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        choose_subnet(["10.0.0.0/8", "fd00::/8"], random.Random(1))
    assert caught.value.hint


def test_routes_of_the_machine_are_read() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert routed_networks(table) == [ipaddress.IPv4Network("172.17.0.0/16")]


def test_ports_are_free_distinct_and_not_taken() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        assert not is_free(holder.getsockname()[1])
    first = choose_ports(20, set(), random.Random(3))
    again = choose_ports(20, set(first), random.Random(3))
    assert len(set(first) | set(again)) == 40


def test_node_ports_are_a_block_in_kubernetes_range() -> None:
    first = choose_node_ports(set(), random.Random(3))
    assert len(first) == NODE_PORT_COUNT and first == tuple(range(first[0], first[0] + NODE_PORT_COUNT))
    assert first[0] >= 30000 and first[-1] <= 32767
    assert not set(first) & set(choose_node_ports(set(first), random.Random(3)))
