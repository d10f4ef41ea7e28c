"""Shows a run as an object of kind Experiment in its cluster, so that ``kubectl get experiments``, the live views and
``/metrics`` tell of it while it goes on.

Only a picture: the runner never reads it back, never waits for it while it measures, and a cluster that will not have
it, is slow or is gone is no problem. It is written once a second, and soon when the run comes to another phase or step;
what changes meanwhile goes with the next. At the end it is tried properly. What it says is `run_picture.py`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from testbed.api.experiment_status import EVERY_S, goes_on
from testbed.api.resources import CUSTOM_RESOURCE_DEFINITIONS
from testbed.client.protocol import Client
from testbed.errors import (
    AlreadyExists,
    BadRequest,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    TestbedError,
    Unauthorized,
    UnsupportedMediaType,
)
from testbed.experiment.kind import API_VERSION, KIND, Experiment
from testbed.experiment.objectives import Objective
from testbed.experiment.published_status import Heading, changed, finished
from testbed.experiment.result import ObjectiveResult, RunResult
from testbed.experiment.run_picture import RunPicture
from testbed.experiment.schema import EXPERIMENTS, experiment_definition

if TYPE_CHECKING:
    from testbed.experiment.phases import RepetitionRunner

Json = dict[str, Any]
SOONEST_S = 0.2  # between two writes, however fast the phases change
FINAL_S = 5.0  # that the last one may take
AGAIN_S = 0.5
# Refusals that are the same however often one asks; to a run that is shown already, they may be passing all the same.
FOR_GOOD = (BadRequest, Forbidden, Invalid, MethodNotAllowed, Unauthorized, UnsupportedMediaType)
KEPT = 50  # objects of runs that are over, or silent; older ones are removed


class PublishedRun:
    """One run's object, from ``begin`` to ``end``. ``wanted``: how many repetitions. ``now``: wall time. ``note``: told
    of a bug of ours.

    No call raises, and none but ``end`` waits for anything.
    """

    def __init__(
        self, client: Client, experiment: Experiment, run_id: str, heading: Heading, *, wanted: int,
        objectives: Sequence[Objective], now: datetime, note: Callable[..., None],
    ) -> None:
        self._client, self._experiment, self._run_id = client, experiment, run_id
        self._note = note
        self._picture = RunPicture(heading, wanted, objectives)
        self._loop = asyncio.get_running_loop()
        self._zero = now - timedelta(seconds=self._loop.time())
        self._told_of_bug = self._there = self._tidied = False
        self._status: Json = {}  # the last one that could be made
        self._acknowledged: Json = {}  # that the API has
        self._final: Json | None = None
        self._wake, self._ending = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # --- what the run says

    def begin(self) -> None:
        """The object is made by and by."""
        self._task = asyncio.create_task(self._publish(), name="published run")

    def follow(self, runner: RepetitionRunner) -> None:
        """A repetition begins."""
        with self._harmless():
            runner.repetition.entered = self._wake.set
            self._picture.follow(runner)
            self._wake.set()

    def measured(self, run: RunResult, runs: Sequence[RunResult]) -> None:
        """A repetition is over. ``runs``: all so far."""
        with self._harmless():
            self._picture.measured(run, runs)
            self._wake.set()

    async def end(
        self, verdict: str, reason: str, exit_code: int, objectives: Sequence[ObjectiveResult] | None = None,
    ) -> None:
        """Writes how it ended, and waits for that, but not for long. ``objectives``: as they were judged."""
        if self._task is None or self._final is not None:
            return
        self._compose()
        self._final = finished(self._status, verdict=verdict, reason=reason, exit_code=exit_code, at=self._now(),
                               objectives=objectives)
        self._ending.set()
        self._wake.set()
        await asyncio.wait({self._task}, timeout=FINAL_S)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # --- making it

    def _now(self) -> datetime:
        return self._zero + timedelta(seconds=self._loop.time())

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        """A bug of ours in a picture must not cost what it is of; records that cannot be read are told by whoever
        measures with them."""
        try:
            yield
        except TestbedError:
            return
        except Exception as error:
            if not self._told_of_bug:
                self._told_of_bug = True
                self._note("a bug of ours: the run is not shown as it is", error=repr(error))

    def _compose(self) -> None:
        with self._harmless():
            self._status = self._picture.status(self._now(), int(self._loop.time() * 1e9))

    # --- writing it

    async def _publish(self) -> None:
        """Until the last one is written, or it is clear that this cluster will not have any."""
        while True:
            self._wake.clear()
            final = self._final
            if final is None:
                with self._harmless():
                    await self._picture.read()
                self._compose()
            try:
                await self._write(final or self._status)
            except NotFound:  # somebody removed it, or the kind
                self._there = False
            except FOR_GOOD:
                if not self._there or final is not None:
                    return
            except TestbedError:
                pass  # it may be taken another time: what changes meanwhile goes with the next
            else:
                if final is not None:
                    return
                await self._tidy()
            await self._pause()

    async def _pause(self) -> None:
        if self._final is not None:
            await asyncio.sleep(AGAIN_S)
        elif not await _came(self._ending, SOONEST_S):
            await _came(self._wake, EVERY_S - SOONEST_S)

    async def _write(self, status: Json) -> None:
        """Raises: ApiError."""
        if not self._there:
            await self._register()
            self._there, self._acknowledged = True, {}
        await self._client.patch(EXPERIMENTS, self._run_id, {"status": changed(self._acknowledged, status)},
                                 self._experiment.spec.namespace, subresource="status")
        self._acknowledged = status

    async def _register(self) -> None:
        """Registers the kind where it is not served yet, and creates the object. Raises: ApiError."""
        spec = self._experiment.spec
        with contextlib.suppress(AlreadyExists):
            await self._client.create(CUSTOM_RESOURCE_DEFINITIONS, experiment_definition())
        with contextlib.suppress(AlreadyExists):
            await self._client.create(EXPERIMENTS, {
                "apiVersion": API_VERSION, "kind": KIND,
                "metadata": {"name": self._run_id, "namespace": spec.namespace},
                "spec": spec.model_dump(mode="json", by_alias=True, exclude_unset=True)}, spec.namespace)

    async def _tidy(self) -> None:
        """Removes, once, the oldest objects of runs that are over or have lost their runner: a cluster that stays up
        must not collect them. One of those that goes on all the same makes its own again."""
        namespace = self._experiment.spec.namespace
        if self._tidied:
            return
        self._tidied = True
        with contextlib.suppress(TestbedError):
            over = [item for item in (await self._client.list(EXPERIMENTS, namespace)).items
                    if item["metadata"]["name"] != self._run_id and _is_over(item.get("status") or {}, self._now())]
            over.sort(key=lambda item: str(item["metadata"].get("creationTimestamp")), reverse=True)
            for item in over[KEPT:]:
                await self._client.delete(EXPERIMENTS, item["metadata"]["name"], namespace,
                                          uid=str(item["metadata"].get("uid", "")))


def _is_over(status: Json, now: datetime) -> bool:
    """One without a phase was just made, or is somebody's own: it is left alone."""
    return bool(status.get("phase")) and not goes_on(status, now)


async def _came(event: asyncio.Event, within_s: float) -> bool:
    """Whether it was set within so long."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), within_s)
    return event.is_set()
