"""All controllers and the scheduler as one thing that runs until cancelled: kube-controller-manager and kube-scheduler.

It keeps nothing of its own: killed at any moment and started again, it reads everything from the API and carries on.
"""

from __future__ import annotations

import asyncio
from random import Random

from testbed.api.clock import WallClock
from testbed.client.protocol import Client
from testbed.controlplane.autoscaling import AutoscalerController
from testbed.controlplane.caches import Caches
from testbed.controlplane.controller import Controller, Tools
from testbed.controlplane.cronjobs import CronJobController
from testbed.controlplane.daemonsets import DaemonSetController
from testbed.controlplane.deployments import DeploymentController
from testbed.controlplane.disruption import DisruptionController
from testbed.controlplane.endpoints import EndpointsController
from testbed.controlplane.eviction import TaintEvictionController
from testbed.controlplane.garbage import GarbageCollector
from testbed.controlplane.jobs import JobController
from testbed.controlplane.namespaces import NamespaceController
from testbed.controlplane.nodes import NodeLifecycleController
from testbed.controlplane.podgc import PodGarbageCollector
from testbed.controlplane.quota import QuotaController
from testbed.controlplane.replicasets import ReplicaSetController
from testbed.controlplane.scheduler import Scheduler
from testbed.controlplane.stale_disruptions import StaleDisruptionController
from testbed.controlplane.statefulsets import StatefulSetController
from testbed.controlplane.usage import NoUsage, UsageSource
from testbed.controlplane.volume_attachments import VolumeAttacher
from testbed.controlplane.volume_protection import VolumeProtection
from testbed.controlplane.volumes import VolumeBinder
from testbed.core.profile import Profile

CONTROLLERS: tuple[type[Controller], ...] = (
    EndpointsController, ReplicaSetController, DeploymentController, Scheduler, NodeLifecycleController,
    TaintEvictionController, GarbageCollector, NamespaceController, PodGarbageCollector, DisruptionController,
    StatefulSetController, DaemonSetController, JobController, CronJobController,
    QuotaController, StaleDisruptionController, AutoscalerController,
    VolumeBinder, VolumeProtection, VolumeAttacher,
)
# What a cluster needs whose workloads another supervisor runs: deletion works, and nothing is decided about pods.
HOUSEKEEPING: tuple[type[Controller], ...] = (GarbageCollector, NamespaceController, QuotaController, VolumeProtection)


class ControlPlane:
    """``run`` works until cancelled. ``controllers`` and ``caches`` are for metrics and tests to read."""

    def __init__(
        self, client: Client, *, profile: Profile, clock: WallClock, random: Random, usage: UsageSource | None = None,
        kinds: tuple[type[Controller], ...] = CONTROLLERS,
    ) -> None:
        self.caches = Caches()
        tools = Tools(client, self.caches, profile, clock, random, usage or NoUsage())
        self.controllers: tuple[Controller, ...] = tuple(kind(tools) for kind in kinds)
        self._informers = self.caches.informers(client, random)
        self.started = asyncio.Event()

    async def run(self) -> None:
        """First all caches, then the controllers: a controller that sees half the world would act on it."""
        try:
            async with asyncio.TaskGroup() as group:
                for informer in self._informers:
                    group.create_task(informer.run())
                for informer in self._informers:
                    await informer.synced.wait()
                for controller in self.controllers:
                    group.create_task(controller.run(), name=controller.name)
                self.started.set()
        finally:
            self.caches.close()

    @property
    def idle(self) -> bool:
        """Nothing is queued and nothing is being worked on right now."""
        return all(controller.queue.idle for controller in self.controllers)
