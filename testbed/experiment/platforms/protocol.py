"""What an experiment asks of the platform it runs on, beyond the Kubernetes API itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from testbed.client.protocol import Client
from testbed.core.profile import Profile
from testbed.experiment.kind import ClusterSpec
from testbed.experiment.result import Environment


class Platform(Protocol):
    """A cluster that can be reached. ``name``: what kind of platform; ``cluster``: which one."""

    name: str
    cluster: str

    @property
    def client(self) -> Client: ...

    @property
    def profile(self) -> Profile: ...

    async def address(self, namespace: str, service: str, port: int | None) -> str:
        """``host:port`` at which this machine reaches a Service. Raises: EnvironmentProblem, InvalidInput."""
        ...

    async def logs(self, namespace: str, pod: str, lines: int) -> str:
        """The last lines of a pod. Raises: ApiError."""
        ...

    async def environment(self) -> Environment: ...


# Gives the cluster for a run: one that is up already, or one that is brought up and taken down with the run.
ClusterSource = Callable[[ClusterSpec], AbstractAsyncContextManager[Platform]]
