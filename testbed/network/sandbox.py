"""Routes inside a pod's sandbox: on-link to the gateway and to this machine only, everything else through the gateway.

So traffic between pods, and from a pod to a Service, takes the gateway's way, where it is translated as behind
kube-proxy; only the host speaks to pods directly (probes).
"""

from __future__ import annotations

from testbed.api.instance import Instance
from testbed.errors import HostError
from testbed.runtime.protocol import Host, ProcessIdentity

INTERFACE = "eth0"  # what the engine calls the only interface of a container on one network


def route_commands(instance: Instance) -> bytes:
    """The batch for ``ip -batch -``. Doing it twice is harmless."""
    return (
        f"route replace {instance.host_address} dev {INTERFACE} scope link\n"
        f"route replace {instance.gateway_address} dev {INTERFACE} scope link\n"
        f"route replace default via {instance.gateway_address} dev {INTERFACE}\n"
        f"route flush {instance.pod_range} dev {INTERFACE} proto kernel\n"
    ).encode()


async def route_sandbox(host: Host, process: ProcessIdentity, instance: Instance) -> None:
    """Replaces the routes in the network namespace of a sandbox. ``process``: the sandbox's main process.

    Raises: HostError when the namespace is gone or a route is refused.
    """
    result = await host.run_in(process, ("ip", "-batch", "-"), stdin=route_commands(instance))
    if result.exit_code:
        raise HostError(f"cannot set the routes of sandbox process {process.pid}: {result.stderr.decode().strip()}")
