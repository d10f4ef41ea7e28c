"""Keeps the logs of what was disrupted, before the workload goes: a bad run is studied later, elsewhere.

Whoever was hit or died: of each container the current and the previous attempt, the last part of it. What cannot be
read any more (a deleted pod's, say) is said in the journal; a run never fails for a log.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from testbed.api.resources import PODS
from testbed.errors import NotFound, TestbedError
from testbed.experiment.platforms.protocol import Platform
from testbed.experiment.result import RunResult

MOST_PODS: Final = 12
LINES: Final = 5000
MOST_BYTES: Final = 256 << 10
WITHIN_S: Final = 10.0  # for all logs of a run
_SUFFERED: Final = frozenset({"ContainerDied", "Unhealthy", "Killing", "BackOff", "Evicted", "TaintManagerEviction",
                              "ContainerUnready"})
_TARGET = re.compile(r"(?:pod )?([a-z0-9.-]+)/([a-z0-9.-]+)(?:/[a-z0-9.-]+)?")
Pod = tuple[str, str]  # namespace, name


class ContainerLogs(Protocol):
    """The part of a client that reads one container's log."""

    async def logs(
        self, name: str, namespace: str, *, tail_lines: int | None = None, container: str = "", previous: bool = False
    ) -> str: ...


def victims(run: RunResult) -> tuple[Pod, ...]:
    """Pods that were hit, then those that something happened to; at most a dozen."""
    found: dict[Pod, None] = {}
    for item in run.disruptions:
        found |= dict.fromkeys(pod for target in item.targets if (pod := _pod(target)))
    for event in run.events:
        pod = _pod(event.object) if event.kind in _SUFFERED and event.object.startswith("pod ") else None
        if pod:
            found[pod] = None
    return tuple(found)[:MOST_PODS]


def _pod(text: str) -> Pod | None:
    match = _TARGET.fullmatch(text)
    return (match[1], match[2]) if match else None


async def keep_logs(platform: Platform, run: RunResult, folder: Path) -> tuple[str, ...]:
    """Writes ``logs/run-<number>-<pod>-<container>[.previous].log``. Returns: what could not be kept."""
    pods = victims(run)
    if not pods:
        return ()
    reading = [asyncio.create_task(_of_pod(platform, *pod)) for pod in pods]
    done, late = await asyncio.wait(reading, timeout=WITHIN_S)
    for task in late:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    missing = []
    for pod, task in zip(pods, reading, strict=True):
        if task not in done or task.cancelled():
            missing.append(f"{pod[1]}: not read within {WITHIN_S:g} s")
        elif (error := task.exception()) is not None:
            missing.append(f"{pod[1]}: {error.message if isinstance(error, TestbedError) else repr(error)}")
        else:
            try:
                _write(folder / "logs", run.number, pod, task.result())
            except OSError as full:
                missing.append(f"{pod[1]}: cannot be written: {full.strerror}")
    return tuple(missing)


async def _of_pod(platform: Platform, namespace: str, name: str) -> dict[str, str]:
    """Texts by ``container`` and ``container.previous``. Raises: ApiError."""
    reader: Any = platform.client
    if not hasattr(reader, "logs"):
        return {"all": await platform.logs(namespace, name, LINES)}
    logs: ContainerLogs = reader
    try:
        pod = await platform.client.get(PODS, name, namespace)
    except NotFound:
        raise NotFound("is gone, and its logs with it") from None
    restarts = {str(item["name"]): int(item.get("restartCount") or 0)
                for item in (pod.get("status") or {}).get("containerStatuses") or ()}
    found: dict[str, str] = {}
    for container in _containers(pod):
        found[container] = await logs.logs(name, namespace, tail_lines=LINES, container=container)
        if restarts.get(container):
            try:
                found[f"{container}.previous"] = await logs.logs(
                    name, namespace, tail_lines=LINES, container=container, previous=True)
            except TestbedError as error:
                found[f"{container}.previous"] = f"(could not be read: {error.message})\n"
    return found


def _containers(pod: dict[str, Any]) -> Sequence[str]:
    return [str(item["name"]) for item in (pod.get("spec") or {}).get("containers") or ()]


def _write(folder: Path, number: int, pod: Pod, texts: dict[str, str]) -> None:
    for name, text in _kept(texts.items()):
        folder.mkdir(exist_ok=True)
        (folder / f"run-{number}-{pod[1]}-{name}.log").write_bytes(text)


def _kept(texts: Iterable[tuple[str, str]]) -> Iterable[tuple[str, bytes]]:
    for name, text in texts:
        data = text.encode("utf-8", "replace")
        if data:
            yield name, data if len(data) <= MOST_BYTES else b"(the beginning was left out)\n" + data[-MOST_BYTES:]
