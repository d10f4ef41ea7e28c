"""The gateway's container and the engine network it routes: made where missing, started where it died.

What the gateway is to do is sent by ``feeder``; that it must run is decided by the machine room.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from testbed.api import labels
from testbed.api.instance import Instance
from testbed.errors import EnvironmentProblem, HostError, NoSuchContainer, NoSuchImage
from testbed.runtime.containers import ContainerSpec, ContainerState, Mount, PublishedPort
from testbed.runtime.host_protocol import Host
from testbed.runtime.protocol import Engine

IMAGE = "testbed-gateway:1"
CONTROL_DIRECTORY = "/run/testbed"
NEIGHBOUR_PROBES = 130  # one a second
INGRESS_PORTS = (80, 443)  # of HAProxy, once there is an Ingress


def instance_labels(instance: Instance, role: str) -> dict[str, str]:
    return {labels.INSTANCE: instance.id, labels.INSTANCE_NAME: instance.name, labels.ROLE: role}


def gateway_spec(instance: Instance) -> ContainerSpec:
    """Its container. The node ports are published on 127.0.0.1 through the engine's own user-space proxy."""
    environment = {
        "SUBNET": instance.subnet, "SERVICE_RANGE": instance.service_range, "HOST_ADDRESS": instance.host_address,
        "GATEWAY_ADDRESS": instance.gateway_address, "DNS_ADDRESS": instance.dns_address,
        "CONTROL_SOCKET": f"{CONTROL_DIRECTORY}/control.sock",
    }
    return ContainerSpec(
        name=instance.gateway_container, image=IMAGE, labels=instance_labels(instance, labels.ROLE_GATEWAY),
        env=tuple(environment.items()), network=instance.network, address=instance.gateway_address,
        hostname="gateway", mounts=(Mount(CONTROL_DIRECTORY, str(instance.gateway_directory)),),
        ports=(*(PublishedPort(port, port) for port in instance.node_ports),
               *(PublishedPort(inside, port)
                 for port, inside in zip(instance.ingress_ports, INGRESS_PORTS, strict=False))),
        cap_drop=("ALL",), cap_add=("NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"),
        sysctls=(
            ("net.ipv4.ip_forward", "1"),
            # It routes back out of the interface a packet came in by, and must not tell pods to go directly.
            ("net.ipv4.conf.all.send_redirects", "0"), ("net.ipv4.conf.default.send_redirects", "0"),
            ("net.ipv4.conf.eth0.send_redirects", "0"),
        ),
    )


async def ensure_network(engine: Engine, instance: Instance) -> None:
    """Raises: EngineError when the range or name is taken, EngineUnavailable."""
    mine = instance_labels(instance, labels.ROLE_NETWORK)
    if await engine.networks({labels.INSTANCE: instance.id}):
        return
    # Without a gateway of ours whatever holds a ClusterIP is a container on this network itself.
    subnet, range_ = (instance.pod_range, "") if instance.routed else (instance.subnet, instance.pod_range)
    await engine.create_network(instance.network, subnet=subnet, gateway=instance.host_address, bridge=instance.bridge,
                                labels=mine, ip_range=range_)


async def ensure_gateway(engine: Engine, host: Host, instance: Instance) -> ContainerState:
    """Network, container and the host's route to the Services. Twice is harmless; returns the running state.

    Raises: EnvironmentProblem (image missing), EngineError, EngineUnavailable, HostError.
    """
    await ensure_network(engine, instance)
    spec = gateway_spec(instance)
    try:
        state = await engine.inspect(spec.name)
        if state.labels.get(labels.INSTANCE) != instance.id:  # of an earlier cluster of this name
            await engine.remove(state.id)
            raise NoSuchContainer(spec.name)
        container = state.id
    except NoSuchContainer:
        try:
            container = await engine.create(spec)
        except NoSuchImage as error:
            raise EnvironmentProblem(f"image {IMAGE} is missing", hint="build it: testbed setup") from error
        state = await engine.inspect(container)
    if not state.running:
        state = await engine.start(container)
    await route_services(host, instance)
    return state


async def route_services(host: Host, instance: Instance) -> None:
    """The host reaches ClusterIPs through the gateway, and is as patient with pods as the gateway is. Both go with the
    bridge when the network is removed."""
    await _route(host, instance, instance.service_range, "the Services")
    # A dead pod's address is silent, as it is through a Service: without this the host itself would say "no route" as
    # soon as three questions for its neighbour went unanswered. Longer than a connection is tried for (127 s).
    await _set(host, f"how long {instance.bridge} asks for a neighbour",
               "ip", "ntable", "change", "name", "arp_cache", "dev", instance.bridge,
               "mcast_probes", str(NEIGHBOUR_PROBES))


async def route_node(host: Host, instance: Instance, address: str) -> None:
    """The host reaches a node's own address through the gateway, which answers for it. Twice is harmless."""
    await _route(host, instance, f"{address}/32", f"node address {address}")


async def _route(host: Host, instance: Instance, where: str, what: str) -> None:
    await _set(host, f"the route to {what}",
               "ip", "route", "replace", where, "via", instance.gateway_address, "dev", instance.bridge)


async def _set(host: Host, what: str, *argv: str) -> None:
    """Raises: HostError."""
    result = await host.run(argv)
    if result.exit_code:
        raise HostError(f"cannot set {what}: {result.stderr.decode(errors='replace').strip()}")


def gateway_status(instance: Instance, *, timeout_s: float = 1.0) -> dict[str, Any]:
    """``revision`` and ``programmed`` as the gateway says, blocking; empty when it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(instance.gateway_directory / "control.sock"))
            connection.sendall(b'{"op": "status"}\n')
            answer = json.loads(connection.makefile().readline())
    except (OSError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}
