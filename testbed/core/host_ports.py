"""Ports that a pod wants at its node's address, and whether two pods want the same.

Source: kubernetes pkg/scheduler/framework/types.go HostPortInfo.
"""

from __future__ import annotations

from testbed.api.core_v1 import PodSpec

ANY = "0.0.0.0"
HostPort = tuple[str, str, int]  # address, protocol, port


def host_ports(spec: PodSpec) -> tuple[HostPort, ...]:
    return tuple(
        (port.host_ip or ANY, port.protocol, port.host_port)
        for container in spec.containers for port in container.ports if port.host_port
    )


def clash(one: HostPort, other: HostPort) -> bool:
    """The same port and protocol, on the same address or on all of them."""
    return one[1:] == other[1:] and (one[0] == other[0] or ANY in (one[0], other[0]))
