"""Which cluster a run uses: the named one when it is up, else one of its own that ends with the run."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from testbed.api.instance import Instance, instance_directory, load_instance

if TYPE_CHECKING:
    from testbed.cli.platforms import Opening
    from testbed.experiment.kind import ClusterSpec
    from testbed.experiment.platforms.protocol import ClusterSource, Platform

def source(opening: Opening) -> ClusterSource:
    """Gives the cluster when the run asks for it."""
    def opened(spec: ClusterSpec) -> AbstractAsyncContextManager[Platform]:
        return _opened(opening.cluster, spec, opening.tell, opening.keep)

    return opened


@asynccontextmanager
async def _opened(name: str, spec: ClusterSpec, tell: Callable[[str], None], keep: bool) -> AsyncIterator[Platform]:
    from testbed.machines.up import Shape, bring_up_async, take_down_async

    directory = instance_directory(name)
    if (directory / "instance.json").exists():
        tell(f"using cluster {name!r}")
        async with _platform(load_instance(directory)) as platform:
            yield platform
        return
    own = f"run-{secrets.token_hex(3)}"
    tell(f"bringing up a cluster of {spec.nodes} nodes for this run")
    shape = Shape(spec.nodes, spec.profile, spec.node_cpu, spec.node_memory, spec.node_disk, spec.node_kind, spec.zones)
    instance = await bring_up_async(own, shape, owner_pid=None if keep else os.getpid())
    try:
        async with _platform(instance) as platform:
            yield platform
    finally:
        if keep:
            tell(f"the cluster stays: testbed status --name {own}; end it: testbed down --name {own}")
        else:
            tell("taking the cluster down")
            await take_down_async(own)


@asynccontextmanager
async def _platform(instance: Instance) -> AsyncIterator[Platform]:
    from testbed.client.aio import HttpClient
    from testbed.experiment.platforms.testbed import TestbedPlatform

    client = HttpClient.of_instance(instance)
    try:
        yield TestbedPlatform(instance, client)
    finally:
        await client.close()
