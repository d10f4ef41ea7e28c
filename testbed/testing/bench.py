"""The testbed as a test sees it: apply, inject, load, and what came of it. Blocking calls around `experiment.held`.

A ``with`` block is a repetition with a timeline of its own; blocks inside of one belong to its timeline.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.client.manifests import read_manifests
from testbed.errors import EnvironmentProblem, TestbedError, UsageError
from testbed.experiment.aimed import aimed_fault
from testbed.experiment.applying import Created, apply, deployments_in, remove
from testbed.experiment.durations import parse_duration
from testbed.experiment.held import HeldRun, fault_step
from testbed.experiment.inject import named_fault
from testbed.experiment.kind_steady import Condition
from testbed.experiment.platforms.protocol import Platform
from testbed.experiment.result import EXIT_CODES, Requests, Result, Verdict
from testbed.experiment.runner import new_run_id
from testbed.experiment.steady_state import SteadyState
from testbed.experiment.stopping import RunStopped
from testbed.testing.loop import LoopThread
from testbed.testing.recovery import Recovery

if TYPE_CHECKING:
    from testbed.client.sync import Cluster

Json = dict[str, Any]
HELD_FOR = "60s"  # at most: a fault is taken back when its block ends
READY_S = 120.0


class FaultFailed(TestbedError):
    """A fault did not take effect, could not be taken back, or could not be begun."""

    exit_code = EXIT_CODES[Verdict.NO_EFFECT]


class NotTrusted(FaultFailed):
    """What was measured in a block cannot be trusted: no number of it says anything about the system."""

    exit_code = EXIT_CODES[Verdict.INCONCLUSIVE]


@dataclass
class Load:
    """The requests of one ``load`` block; what became of them is known when it is over."""

    service: str
    result: Result | None = None

    @property
    def requests(self) -> Requests:
        """Raises: UsageError while the block runs."""
        if self.result is None:
            raise UsageError("what became of the requests is known when the block is over")
        return self.result.runs[0].requests


@dataclass(repr=False)
class Testbed:
    """One test's view of a cluster.

    Attributes:
        folder: where relative files are looked for. runs_folder: where results go.
        pulse: requests for every fault that is not inside a ``load`` block, as in an experiment.
        results: of every block that is over, with its folder.
    """

    __test__ = False

    platform: Platform
    loop: LoopThread
    folder: Path
    runs_folder: Path
    name: str = "test"
    namespace: str = "default"
    pulse: Json | None = None
    connect: Callable[[], Cluster] | None = None
    tell: Callable[[str], None] = lambda words: None
    results: list[tuple[Result, Path]] = field(default_factory=list)
    _created: list[Created] = field(default_factory=list)
    _client: Cluster | None = None
    _open: HeldRun | None = None
    _faults: int = 0
    _last: Recovery | None = None

    # --- workload

    @property
    def client(self) -> Cluster:
        """A client with blocking calls (``get``, ``list``, ``apply``, ``scale``, ``exec``, ``wait`` ...)."""
        if self._client is None:
            if self.connect is None:
                raise UsageError("this platform has no client for blocking calls")
            self._client = self.connect()
            self._client.namespace = self.namespace
        return self._client

    def apply(self, *files: str | Path, timeout_s: float = READY_S) -> None:
        """Creates or changes what the manifests say, and waits until every Deployment among it is rolled out.

        Relative files are beside the test. All of it is removed when the test is over.

        Raises: InvalidInput; ApiError; EnvironmentProblem when it is not ready in time.
        """
        manifests = [item for file in files for item in read_manifests(self.folder / file)]
        self.loop.run(self._apply(manifests, timeout_s))

    async def _apply(self, manifests: list[Json], timeout_s: float) -> None:
        await apply(self.platform.client, manifests, self.namespace, self._created.append)
        steady = SteadyState(self.platform, self.namespace)
        began = asyncio.get_running_loop().time()
        for key in deployments_in(manifests, self.namespace):
            condition = Condition.model_validate({"ready": {"deployment": key.partition("/")[2]}, "within": timeout_s})
            held = await steady.hold(condition, "before", lambda: asyncio.get_running_loop().time() - began)
            if not held.met:
                raise EnvironmentProblem(f"{held.what}: not within {timeout_s:g} s: {held.message}",
                                         hint="see: testbed describe deployment " + key.partition("/")[2])

    # --- load and faults

    @contextlib.contextmanager
    def load(self, service: str, *, rate: float = 100.0, **more: Any) -> Iterator[Load]:
        """Requests at a fixed rate, whatever happens, while the block runs; faults inside are measured by them.

        Args: more: further fields of an experiment's ``load.pulse``: path, port, deadline, method ...

        Raises: InvalidInput, EnvironmentProblem.
        """
        found = Load(service)
        with self._held({"service": service, "rate": rate, **_camel(more)}, f"load-{service}"):
            yield found
        found.result = self.results[-1][0]

    @contextlib.contextmanager
    def fault(
        self, fault: str, target: str = "", *, duration: str = HELD_FOR, timeout: str = "60s", mode: str = "one",
        value: str = "", settings: Mapping[str, Any] | None = None, **more: Any,
    ) -> Iterator[None]:
        """Injects one fault, verifies it, and takes it back when the block ends; then waits for the recovery.

        Args:
            fault: a short name: container-kill, network-delay, freeze ... (``testbed faults``).
            target: deployment/web, pod/NAME, node/NAME, or labels (app=web).
            duration: when it ends by itself, should the block run longer. timeout: for the recovery.
            settings: fields of the fault by their path ("delay.latency"); as keywords: ``delay__latency="100ms"``.

        Raises: FaultFailed; UsageError, InvalidInput for what is wrong with it.
        """
        chosen = {**(settings or {}), **{key.replace("__", "."): item for key, item in more.items()}}
        pairs = tuple(f"{key}={item}" for key, item in chosen.items())
        timeout_s = parse_duration(timeout)
        obj = self.loop.run(aimed_fault(
            self.platform.client, fault, target, namespace=self.namespace, duration=duration, mode=mode, value=value,
            settings=pairs))
        self._faults += 1
        step = fault_step(fault if self._faults == 1 else f"{fault}-{self._faults}", obj, timeout_s)
        with self._held(self.pulse, fault) as run:
            self._guarded(run.runner.method.inject(step))
            recovered = False
            try:
                yield
                recovered = True
            finally:
                self._guarded(run.runner.method.take_back(step, recover=recovered))
                self._last = Recovery(step.name, run.runner.method.measured(step.name), run.measures_clients)
        if self.results and self._open is None:  # with what came after the fault too
            disruption = self.results[-1][0].runs[0].disruption(step.name)
            self._last = Recovery(step.name, disruption, run.measures_clients)

    @staticmethod
    def lasts(fault: str) -> bool:
        """Whether a fault goes on until it is taken back (a delay), or is done when it is begun (a kill)."""
        return named_fault(fault).reversible

    @property
    def in_force(self) -> list[Json]:
        """Fault objects of the block that is open; those that were taken back may be among them."""
        return list(self._open.runner.doer.faults.values()) if self._open is not None else []

    @property
    def recovery(self) -> Recovery:
        """How the cluster got over the last fault whose block is over. Raises: UsageError when there was none."""
        if self._last is None:
            raise UsageError("nothing to recover from: no fault's block is over")
        return self._last

    @contextlib.contextmanager
    def _held(self, pulse: Json | None, what: str) -> Iterator[HeldRun]:
        """The repetition that is open, or a new one for this block."""
        if self._open is not None:
            yield self._open
            return
        folder = self.runs_folder / new_run_id(f"{_slug(self.name)}-{what}"[:30], datetime.now(UTC))
        run = HeldRun(self.platform, folder, self.tell, name=_slug(f"{self.name}-{what}"), namespace=self.namespace,
                      pulse=pulse)
        self._guarded(run.begin())
        self._open = run
        try:
            yield run
        finally:
            self._open = None
            result = self.loop.run(run.end())
            self.results.append((result, folder))
        if result.verdict is not Verdict.PASSED:
            raise _failed(result.verdict, result.reason)
        if void := "; ".join(run.void_reason for run in result.runs if run.void_reason):
            raise NotTrusted(f"the measurement cannot be trusted: {void}",
                             hint="it is no verdict on the system: run the test again on a calmer machine")

    def _guarded(self, work: Any) -> None:
        try:
            self.loop.run(work)
        except RunStopped as stop:
            raise _failed(stop.verdict, stop.reason) from None

    # --- the end

    def close(self) -> list[str]:
        """Removes what was applied. Returns what could not be removed."""
        if self._client is not None:
            self._client.close()
        created, self._created = self._created, []
        return self.loop.run(remove(self.platform.client, created)) if created else []


def _failed(verdict: Verdict, reason: str) -> FaultFailed:
    kind = NotTrusted if verdict is Verdict.INCONCLUSIVE else FaultFailed
    return kind(f"{verdict.value}: {reason}")


def _slug(text: str) -> str:
    """A name that a run may have."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "test"


def _camel(fields: Mapping[str, Any]) -> Json:
    """``keep_alive`` as ``keepAlive``: the experiment's own spelling is taken too."""
    return {re.sub(r"_([a-z])", lambda found: found[1].upper(), key): value for key, value in fields.items()}
