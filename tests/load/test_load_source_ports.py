"""A prober that comes back to a local port too soon is sent to the pod that died under its earlier connection."""

from __future__ import annotations

import contextlib
import socket

import pytest

from testbed.load.exchange import SourcePorts

COUNT = 20


@pytest.fixture
def first() -> int:
    """The first of twenty ports in a row that nobody uses (below those that the kernel gives out)."""
    for start in range(20_000, 32_000, COUNT):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(start, start + COUNT):
                    stack.enter_context(socket.socket()).bind(("", port))
            except OSError:
                continue
        return start
    pytest.skip("no twenty free ports in a row")


def taken(ports: SourcePorts) -> int:
    with socket.socket() as connection:
        ports.bind(connection)
        return int(connection.getsockname()[1])


def test_no_port_comes_back_before_all_others_were_used(first: int) -> None:
    ports = SourcePorts(first, first + COUNT - 1, 7)
    seen = [taken(ports) for _ in range(2 * COUNT)]
    assert sorted(seen[:COUNT]) == list(range(first, first + COUNT))
    assert seen[:COUNT] == seen[COUNT:]


def test_a_port_that_is_in_use_is_passed_over(first: int) -> None:
    ports = SourcePorts(first, first + COUNT - 1, 0)
    with socket.socket() as other:
        other.bind(("", first))
        assert taken(ports) == first + 1


def test_no_free_port_is_an_error_of_the_system(first: int) -> None:
    ports = SourcePorts(first, first, 0)
    with socket.socket() as other, socket.socket() as connection:
        other.bind(("", first))
        with pytest.raises(OSError, match="no local port"):
            ports.bind(connection)
