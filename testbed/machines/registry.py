"""A registry of images of the cluster's own: Debian's docker-registry in a container, on 127.0.0.1 of this machine.

Nothing needs it: images that the engine has are used without one. It is there so that pulls are real, and can be
broken (ImageChaos). An engine trusts registries on 127.0.0.0/8 without TLS, so it works without configuration; nodes of
kind engine have a 127.0.0.1 of their own and cannot reach it. What is pushed lies in the container and goes with it.
"""

from __future__ import annotations

import random

from testbed.api import labels
from testbed.api.instance import Instance
from testbed.errors import EnvironmentProblem, NoSuchContainer, NoSuchImage, NotFound
from testbed.machines.addresses import choose_ports
from testbed.runtime.containers import ContainerSpec, ContainerState, PublishedPort
from testbed.runtime.protocol import Engine

IMAGE = "testbed-registry:1"
PORT = 5000  # inside


def registry_spec(instance: Instance, port: int) -> ContainerSpec:
    """``port``: on 127.0.0.1."""
    return ContainerSpec(
        name=f"testbed-{instance.name}-registry", image=IMAGE,
        labels={labels.INSTANCE: instance.id, labels.INSTANCE_NAME: instance.name, labels.ROLE: labels.ROLE_REGISTRY,
                labels.REGISTRY: f"127.0.0.1:{port}"},
        network=instance.network, address=instance.registry_address, hostname="registry",
        ports=(PublishedPort(PORT, port),), cap_drop=("ALL",),
    )


async def find_registry(engine: Engine, instance_id: str) -> ContainerState | None:
    found = await engine.list({labels.INSTANCE: instance_id, labels.ROLE: labels.ROLE_REGISTRY})
    return found[0] if found else None


def address_of(registry: ContainerState) -> str:
    """``127.0.0.1:5000``: what stands before the names of its images."""
    return registry.labels[labels.REGISTRY]


async def start_registry(engine: Engine, instance: Instance, port: int = 0) -> ContainerState:
    """Makes it, or starts the one that is there. ``port``: on 127.0.0.1; 0: a free one.

    Raises: EnvironmentProblem (its image is missing), EngineError, EngineUnavailable.
    """
    present = await find_registry(engine, instance.id)
    if present is not None:
        return present if present.running else await engine.start(present.id)
    taken = {instance.api_port, *instance.node_ports, *instance.ingress_ports}
    chosen = port or choose_ports(1, taken, random.Random())[0]
    try:
        return await engine.start(await engine.create(registry_spec(instance, chosen)))
    except NoSuchImage as error:
        raise EnvironmentProblem(f"image {IMAGE} is missing", hint="build it: testbed setup") from error


async def stop_registry(engine: Engine, instance: Instance) -> None:
    """With all that was pushed. Raises: NotFound when there is none."""
    present = await find_registry(engine, instance.id)
    if present is None:
        raise NotFound(f"cluster {instance.name!r} has no registry")
    try:
        await engine.remove(present.id)
    except NoSuchContainer:
        return
