"""Keeps the logs of what was disrupted: a bad run is studied later, elsewhere.

Whoever was hit or died: of each container the current and the previous attempt, the last part of it. They are read when
the run is over, and before that when a step that hit them is settled and when one comes that may take pods away: a pod
that is gone has no log any more. What could not be kept is said in the result; a run never fails for a log, nor waits
for one while it measures.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from testbed.api.resources import PODS
from testbed.errors import NotFound, TestbedError
from testbed.experiment.platforms.protocol import Platform
from testbed.experiment.result import KeptLog, RunResult

MOST_PODS: Final = 12
LINES: Final = 5000
MOST_BYTES: Final = 256 << 10
WITHIN_S: Final = 10.0  # for all logs of a run
_ORDERED: Final = "Killing"
_SUFFERED: Final = frozenset({"ContainerDied", "Unhealthy", _ORDERED, "BackOff", "Evicted", "TaintManagerEviction",
                              "ContainerUnready"})
_TARGET = re.compile(r"(?:pod )?([a-z0-9.-]+)/([a-z0-9.-]+)(?:/[a-z0-9.-]+)?")
Pod = tuple[str, str]  # namespace, name
Of = Literal["current", "previous"]
Texts = Mapping[tuple[str, Of], str]  # by container


class ContainerLogs(Protocol):
    """The part of a client that reads one container's log."""

    async def logs(
        self, name: str, namespace: str, *, tail_lines: int | None = None, container: str = "", previous: bool = False
    ) -> str: ...


@dataclass(frozen=True)
class Copy:
    """``read_at_s``: moment of the run."""

    read_at_s: float
    texts: Texts


@dataclass(frozen=True)
class Kept:
    """``missing``: what could not be kept, and why."""

    logs: tuple[KeptLog, ...] = ()
    missing: tuple[str, ...] = ()


def victims(run: RunResult) -> tuple[Pod, ...]:
    """Pods that were hit, then those that something happened to; at most a dozen. That a rollout stops a pod is
    nothing that happens to it."""
    hit = dict.fromkeys(pod for item in run.disruptions for pod in pods_of(item.targets))
    signs: dict[Pod, str] = {}  # the first one of each
    for event in sorted(run.events, key=lambda event: event.at_s):
        if event.kind in _SUFFERED and event.object.startswith("pod "):
            for pod in pods_of([event.object]):
                signs.setdefault(pod, event.kind)
    return tuple({**hit, **dict.fromkeys(pod for pod, sign in signs.items() if sign != _ORDERED)})[:MOST_PODS]


def pods_of(targets: Iterable[str]) -> tuple[Pod, ...]:
    """The pods among what was hit: ``default/web-1/web``, ``pod default/web-1``."""
    return tuple((match[1], match[2]) for target in targets if (match := _TARGET.fullmatch(target)))


def takes_pods_away(fault: Mapping[str, Any]) -> bool:
    """Whether those that it hits may be gone when it is over."""
    action = (fault.get("spec") or {}).get("action")
    return fault.get("kind") == "NodeChaos" or (fault.get("kind") == "PodChaos" and action == "pod-kill")


class LogKeeper:
    """Of one repetition."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._copies: dict[Pod, Copy] = {}
        self._reading: set[asyncio.Task[None]] = set()

    def take(self, pods: Sequence[Pod], at_s: float) -> None:
        """Begins to read their logs, and returns at once. ``at_s``: the moment of the run."""
        known = {*self._copies, *pods[:MOST_PODS]}
        if not pods or len(known) > 2 * MOST_PODS:
            return
        task = asyncio.create_task(self._take(pods[:MOST_PODS], at_s), name="logs")
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _take(self, pods: Sequence[Pod], at_s: float) -> None:
        for pod, found in zip(pods, await self._read(pods), strict=True):
            if not isinstance(found, str):
                self._copies[pod] = Copy(at_s, found)

    async def drained(self) -> None:
        """Returns when nothing is being read."""
        if self._reading:
            await asyncio.wait(self._reading, timeout=WITHIN_S)

    async def keep(self, run: RunResult, folder: Path) -> Kept:
        """Writes ``logs/run-<number>-<pod>-<container>[.previous].log`` of all victims."""
        await self.drained()
        pods = victims(run)
        logs: list[KeptLog] = []
        missing: list[str] = []
        for pod, found in zip(pods, await self._read(pods), strict=True):
            copy = self._copies.get(pod) if isinstance(found, str) else Copy(run.duration_s, found)
            if copy is None:
                missing.append(f"{pod[1]}: {found}")
                continue
            try:
                written = _write(folder, run.number, pod, copy)
            except OSError as full:
                missing.append(f"{pod[1]}: cannot be written: {full.strerror}")
            else:
                logs += written
                missing += [] if written else [f"{pod[1]}: it had logged nothing"]
        return Kept(tuple(logs), tuple(missing))

    async def _read(self, pods: Sequence[Pod]) -> list[Texts | str]:
        """The logs of each, or why there are none."""
        if not pods:
            return []
        reading = [asyncio.create_task(_of_pod(self._platform, *pod)) for pod in pods]
        try:
            done, late = await asyncio.wait(reading, timeout=WITHIN_S)
        finally:
            for task in reading:
                task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        return [f"not read within {WITHIN_S:g} s" if task not in done else _outcome(task) for task in reading]


def _outcome(task: asyncio.Task[Texts]) -> Texts | str:
    error = task.exception()
    if error is None:
        return task.result()
    return error.message if isinstance(error, TestbedError) else repr(error)


async def _of_pod(platform: Platform, namespace: str, name: str) -> Texts:
    """Raises: ApiError."""
    reader: Any = platform.client
    if not hasattr(reader, "logs"):
        return {("all", "current"): await platform.logs(namespace, name, LINES)}
    logs: ContainerLogs = reader
    try:
        pod = await platform.client.get(PODS, name, namespace)
    except NotFound:
        raise NotFound("is gone, and its logs with it") from None
    restarts = {str(item["name"]): int(item.get("restartCount") or 0)
                for item in (pod.get("status") or {}).get("containerStatuses") or ()}
    found: dict[tuple[str, Of], str] = {}
    for container in _containers(pod):
        found[container, "current"] = await logs.logs(name, namespace, tail_lines=LINES, container=container)
        if restarts.get(container):
            try:
                found[container, "previous"] = await logs.logs(
                    name, namespace, tail_lines=LINES, container=container, previous=True)
            except TestbedError as error:
                found[container, "previous"] = f"(could not be read: {error.message})\n"
    return found


def _containers(pod: dict[str, Any]) -> Sequence[str]:
    return [str(item["name"]) for item in (pod.get("spec") or {}).get("containers") or ()]


def _write(folder: Path, number: int, pod: Pod, copy: Copy) -> list[KeptLog]:
    """Raises: OSError."""
    kept = []
    for (container, of), text in copy.texts.items():
        data = text.encode("utf-8", "replace")
        if not data:
            continue
        if len(data) > MOST_BYTES:
            data = b"(the beginning was left out)\n" + data[-MOST_BYTES:]
        file = f"logs/run-{number}-{pod[1]}-{container}{'.previous' if of == 'previous' else ''}.log"
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        kept.append(KeptLog(pod="/".join(pod), container=container, of=of, read_at_s=round(copy.read_at_s, 3),
                            file=file))
    return kept
