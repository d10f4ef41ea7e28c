"""A prober that comes back to a local port too soon is sent to the pod that died under its earlier connection."""

from __future__ import annotations

import socket

import pytest

from testbed.load.exchange import SourcePorts

FIRST, LAST = 47_000, 47_019


def taken(ports: SourcePorts) -> int:
    with socket.socket() as connection:
        ports.bind(connection)
        return int(connection.getsockname()[1])


def test_no_port_comes_back_before_all_others_were_used() -> None:
    ports = SourcePorts(FIRST, LAST, 7)
    seen = [taken(ports) for _ in range(40)]
    assert sorted(seen[:20]) == list(range(FIRST, LAST + 1))
    assert seen[:20] == seen[20:]


def test_a_port_that_is_in_use_is_passed_over() -> None:
    ports = SourcePorts(FIRST, LAST, 0)
    with socket.socket() as other:
        other.bind(("", FIRST))
        assert taken(ports) == FIRST + 1


def test_no_free_port_is_an_error_of_the_system() -> None:
    ports = SourcePorts(FIRST, FIRST, 0)
    with socket.socket() as other, socket.socket() as connection:
        other.bind(("", FIRST))
        with pytest.raises(OSError, match="no local port"):
            ports.bind(connection)
