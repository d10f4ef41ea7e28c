"""Routes inside a pod's sandbox: on-link to the gateway and to this machine only, everything else through the gateway.

So traffic between pods, and from a pod to a Service, takes the gateway's way, where it is translated as behind
kube-proxy; only the host speaks to pods directly (probes).
"""

from __future__ import annotations

from testbed.api.instance import ENGINE, Instance, NodeInstance
from testbed.errors import HostError
from testbed.runtime.host_protocol import Host, ProcessIdentity

INTERFACE = "eth0"  # what the engine calls the only interface of a container on one network


def route_commands(instance: Instance) -> bytes:
    """The batch for ``ip -batch -``. Doing it twice is harmless."""
    return (
        f"route replace {instance.host_address} dev {INTERFACE} scope link\n"
        f"route replace {instance.gateway_address} dev {INTERFACE} scope link\n"
        f"route replace default via {instance.gateway_address} dev {INTERFACE}\n"
        f"route flush {instance.pod_range} dev {INTERFACE} proto kernel\n"
    ).encode()


def route_commands_behind(router: str, pod_cidr: str) -> bytes:
    """The same in a pod of a node of kind engine: everything goes through the node, which sends it to the gateway."""
    return (
        f"route replace {router} dev {INTERFACE} scope link\n"
        f"route replace default via {router} dev {INTERFACE}\n"
        f"route flush {pod_cidr} dev {INTERFACE} proto kernel\n"
    ).encode()


async def route_sandbox(
    host: Host, process: ProcessIdentity, instance: Instance, node: NodeInstance | None = None
) -> None:
    """Replaces the routes in the network namespace of a sandbox. ``process``: the sandbox's main process. ``node``:
    whose pod it is, where that may have an engine of its own.

    Raises: HostError when the namespace is gone or a route is refused.
    """
    commands = route_commands(instance)
    if node is not None and node.kind == ENGINE:
        commands = route_commands_behind(instance.router_address(node.pod_cidr), node.pod_cidr)
    result = await host.run_in(process, ("ip", "-batch", "-"), stdin=commands)
    if result.exit_code:
        raise HostError(f"cannot set the routes of sandbox process {process.pid}: {result.stderr.decode().strip()}")
