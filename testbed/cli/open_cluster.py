"""Which cluster a run uses: the named one when it is up, else one of its own that ends with the run."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from testbed.api.instance import TESTBED, Instance
from testbed.api.instance_files import instance_directory, load_instance
from testbed.errors import UsageError

if TYPE_CHECKING:
    from testbed.cli.platforms import Opening
    from testbed.experiment.kind import ClusterSpec
    from testbed.experiment.platforms.protocol import ClusterSource, Platform
    from testbed.machines.shape import Shape


def source(opening: Opening) -> ClusterSource:
    """Gives the cluster when the run asks for it."""
    def opened(spec: ClusterSpec) -> AbstractAsyncContextManager[Platform]:
        return _opened(opening, spec)

    return opened


@asynccontextmanager
async def _opened(opening: Opening, spec: ClusterSpec) -> AsyncIterator[Platform]:
    from testbed.machines.up import bring_up_async, take_down_async

    name, tell = opening.cluster, opening.tell
    instance = _named(opening)
    if instance is not None:
        tell(f"using cluster {name!r}" + (f", run by {instance.platform}" if instance.foreign else ""))
        async with _platform(instance) as platform:
            yield platform
        return
    own = f"run-{secrets.token_hex(3)}"
    shape = _shape(opening.platform, spec)
    nodes = f"of {spec.nodes} node{'s' if spec.nodes != 1 else ''}"
    what = nodes if opening.platform == TESTBED else f"run by {opening.platform}"
    tell(f"bringing up a cluster {what} for this run")
    instance = await bring_up_async(own, shape, owner_pid=None if opening.keep else os.getpid())
    try:
        async with _platform(instance) as platform:
            yield platform
    finally:
        if opening.keep:
            tell(f"the cluster stays: testbed status --name {own}; end it: testbed down --name {own}")
        else:
            tell("taking the cluster down")
            await take_down_async(own)


def _named(opening: Opening) -> Instance | None:
    """The named cluster when it is up and of that platform.

    Raises: UsageError when our own was asked for and the named one is another orchestrator's.
    """
    directory = instance_directory(opening.cluster)
    if not (directory / "instance.json").exists():
        return None
    instance = load_instance(directory)
    if opening.whoever or instance.platform == opening.platform:
        return instance
    if opening.platform == TESTBED:
        raise UsageError(f"cluster {opening.cluster!r} is run by {instance.platform}",
                         hint=f"say so: --platform {instance.platform}; or name another cluster: --name NAME")
    return None


def _shape(platform: str, spec: ClusterSpec) -> Shape:
    from testbed.machines.shape import Shape

    shape = Shape(spec.nodes, spec.profile, spec.node_cpu, spec.node_memory, spec.node_disk, spec.node_kind, spec.zones)
    if platform == TESTBED:
        return shape
    from testbed.supervisors.catalog import PLATFORMS

    supervisor, switches = PLATFORMS[platform]
    return replace(shape, supervisor=supervisor, supervisor_options=dict.fromkeys(switches, "true"))


@asynccontextmanager
async def _platform(instance: Instance) -> AsyncIterator[Platform]:
    from testbed.client.aio import HttpClient
    from testbed.experiment.platforms.supervised import SupervisedPlatform
    from testbed.experiment.platforms.testbed import TestbedPlatform
    from testbed.supervisors.catalog import left_out, timing_words

    client = HttpClient.of_instance(instance)
    try:
        if instance.foreign:
            yield SupervisedPlatform(instance, client, timing_words(instance), partial(left_out, instance))
        else:
            yield TestbedPlatform(instance, client)
    finally:
        await client.close()
