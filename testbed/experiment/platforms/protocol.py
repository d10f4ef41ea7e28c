"""What an experiment asks of the platform it runs on, beyond the Kubernetes API itself.

Requests of ours (steady state, pulse) are the platform's to send, because in virtual time there are no sockets. Where
they leave this machine by plain sockets, ``from_here.FromHere`` sends them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from testbed.client.protocol import Client
from testbed.core.profile import Profile
from testbed.experiment.kind import ClusterSpec
from testbed.experiment.result import Environment, RunResult

if TYPE_CHECKING:
    from testbed.experiment.loading import LoadedExperiment

# What sets the pace of recovery there, in words: (what, value), e.g. ("node is lost after", "1.5 s").
Timing = tuple[tuple[str, str], ...]


class PulseRun(Protocol):
    """A pulse that runs; it records in the file that its arguments name."""

    @property
    def ended(self) -> bool: ...

    async def begin_stages(self) -> None:
        """Lets the stages of a pulse that was started with ``--hold`` begin."""
        ...

    async def stop(self) -> str:
        """Lets it finish what is in flight. Returns: what it complained of. Stopping twice is harmless."""
        ...


class Platform(Protocol):
    """A cluster that can be reached. ``name``: what kind of platform; ``cluster``: which one; ``ours``: whether objects
    of our own kinds may be left there."""

    name: str
    cluster: str
    ours: bool

    @property
    def client(self) -> Client: ...

    @property
    def profile(self) -> Profile: ...

    def timing(self) -> Timing:
        """The timing profile that stands beside every figure of this platform."""
        ...

    async def prepare(self, loaded: LoadedExperiment) -> tuple[str, ...]:
        """Looks, before anything is applied, whether this experiment can run here, and makes what it needs; what was
        made goes with the platform. Returns: what a reader of its figures must know.

        Raises: InvalidInput, EnvironmentProblem, ApiError; nothing is left then.
        """
        ...

    async def address(self, namespace: str, service: str, port: int | None) -> str:
        """``host:port`` at which this machine reaches a Service. Raises: EnvironmentProblem, InvalidInput."""
        ...

    async def logs(self, namespace: str, pod: str, lines: int) -> str:
        """The last lines of a pod. Raises: ApiError."""
        ...

    async def environment(self) -> Environment: ...

    async def http_get(self, url: str, headers: Mapping[str, str], timeout_s: float) -> tuple[int, str] | str:
        """(status, body) of one GET on a connection of its own, or why there was no answer."""
        ...

    async def start_pulse(self, arguments: Sequence[str]) -> PulseRun:
        """Starts a pulse with the arguments of ``python -m testbed.load.pulse``; it ends when its runner does."""
        ...


@runtime_checkable
class RunsAlone(Protocol):
    """A platform that carries out whole repetitions out of this process (in virtual time, which nobody here shares).

    The runner then applies, watches, loads and removes nothing itself: it takes the result of each repetition.
    """

    async def repetition(self, loaded: LoadedExperiment, *, run_id: str, number: int, folder: Path) -> RunResult:
        """One repetition, from a cluster of its own to its result; its files go to ``folder``.

        Raises: TestbedError for what went wrong before the repetition could begin.
        """
        ...


@runtime_checkable
class KeepsRuns(Protocol):
    """A platform that keeps what runs leave, and shows it. ``runs_folder``: where."""

    @property
    def runs_folder(self) -> Path: ...


def folder_in(platform: Platform, folder: Path) -> str:
    """A run's folder as the platform knows it; "" when it lies elsewhere."""
    if not isinstance(platform, KeepsRuns):
        return ""
    home, found = platform.runs_folder.resolve(), folder.resolve()
    return found.relative_to(home).as_posix() if found.is_relative_to(home) else ""


# Gives the cluster for a run: one that is up already, or one that is brought up and taken down with the run.
ClusterSource = Callable[[ClusterSpec], AbstractAsyncContextManager[Platform]]
