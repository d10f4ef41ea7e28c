"""A Docker engine, behind ``Engine``: the docker SDK's low-level client in a few threads.

Decides how calls are kept apart and bounded (a bulkhead per container, few starts at once, a deadline on each), how a
call is repeated without doing its work twice (look by name first), and what is asked with the fewest round trips.
Connection, images and networks are ``docker_assets``, translation of values is ``docker_translate``, waiting is
``docker_threads``, long answers are ``docker_streams`` and ``docker_exec``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from testbed.errors import (
    EngineError,
    EngineUnavailable,
    NameConflict,
    NoSuchContainer,
    NoSuchImage,
)
from testbed.runtime import docker_translate as translate
from testbed.runtime.containers import ContainerSpec, ContainerState, ExecResult, Limits
from testbed.runtime.docker_assets import Deadlines, label_filter
from testbed.runtime.docker_client import APIError, DockerClient
from testbed.runtime.docker_exec import DockerExec
from testbed.runtime.docker_streams import EventReader, LogReader, Stream
from testbed.runtime.docker_threads import translated
from testbed.runtime.docker_volumes import DockerVolumes
from testbed.runtime.protocol import EngineEvent
from testbed.runtime.usage import ContainerUsage

Result = TypeVar("Result")

_STARTS_AT_ONCE = 4
_FRESH_S = 10.0  # how long an inspected state may stand for an unchanged line of the list
_SUSPECT_S = 10.0
_POLL_S = 0.02


class DockerEngine(DockerVolumes):
    """``url``: ``unix://...`` or ``tcp://...``; empty is DOCKER_HOST or the default socket."""

    def __init__(self, url: str = "", deadlines: Deadlines | None = None) -> None:
        super().__init__(url, deadlines)
        self._starts = asyncio.Semaphore(_STARTS_AT_ONCE)
        self._known: dict[str, tuple[str, float, ContainerState]] = {}  # id: listed as, at, state
        self._suspects: dict[str, float] = {}  # containers whose inspect hung: until when they are not asked
        self._unanswered: set[str] = set()  # names whose create had no answer

    # --- what there is

    async def list(self, labels: Mapping[str, str], *, running_only: bool = False) -> tuple[ContainerState, ...]:
        filters: dict[str, Any] = {"label": label_filter(labels)}
        if running_only:
            filters["status"] = ["running", "paused"]
        params = {"all": 1, "filters": json.dumps(filters)}
        summaries: list[dict[str, Any]] = await self._ask(
            lambda client: client.get("/containers/json", params=params),
            again=True,
        )
        found = await asyncio.gather(*(self._listed(summary) for summary in summaries))
        self._forget_all_but({summary["Id"] for summary in summaries}, labels)
        return tuple(state for state in found if state is not None)

    async def _listed(self, summary: Mapping[str, Any]) -> ContainerState | None:
        """The full state of one line of a list. A container that hangs must not hide the others, so its last known
        state stands for it (moby/moby#33870, kubernetes/kubernetes#94829)."""
        container, status, now = str(summary["Id"]), str(summary["State"]), asyncio.get_running_loop().time()
        known = self._known.get(container)
        if known is not None and known[0] == status and now - known[1] < _FRESH_S:
            return known[2]
        try:
            if self._suspects.get(container, 0.0) > now:
                raise EngineUnavailable("this container did not answer a moment ago")
            return await self._inspect(container, timeout_s=self._deadlines.inspect_s)
        except NoSuchContainer:
            return None
        except EngineUnavailable:
            if self._suspects.get(container, 0.0) <= now:
                self._suspects[container] = now + _SUSPECT_S
            return known[2] if known is not None else translate.summary_state(summary)

    def _forget_all_but(self, listed: set[str], labels: Mapping[str, str]) -> None:
        gone = [
            container for container, (_, _, state) in self._known.items()
            if container not in listed and all(state.labels.get(key) == value for key, value in labels.items())
        ]
        for container in gone:
            self._known.pop(container, None)
            self._suspects.pop(container, None)

    async def inspect(self, container: str) -> ContainerState:
        return await self._inspect(container, timeout_s=self._deadlines.call_s)

    async def _inspect(self, container: str, *, timeout_s: float) -> ContainerState:
        state = await self._ask(
            lambda client: translate.state_of(client.get("/containers/{0}/json", container)), key=container,
            timeout_s=timeout_s, again=True,
        )
        self._suspects.pop(state.id, None)
        self._known[state.id] = (state.status, asyncio.get_running_loop().time(), state)
        return state

    def _changed(self, container: str) -> None:
        self._known.pop(container, None)

    # --- a container's life

    async def create(self, spec: ContainerSpec) -> str:
        if not self._driver:
            await self.version()
        body = translate.create_body(spec, self._driver)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._deadlines.conflict_s
        while True:
            try:
                return await self._create_once(spec.name, body)
            except EngineUnavailable:
                self._unanswered.add(spec.name)
                return await self._found_after_silence(spec)
            except NameConflict as conflict:
                found = await self._holder_of_name(spec, conflict)
                if found:
                    return found
                if loop.time() > deadline:
                    raise
            await asyncio.sleep(_POLL_S)

    async def _create_once(self, name: str, body: dict[str, Any]) -> str:
        def work(client: DockerClient) -> str:
            try:
                return str(client.post("/containers/create", params={"name": name}, body=body)["Id"])
            except APIError as error:
                if error.status_code == 409:
                    raise NameConflict(str(error.explanation or error)) from error
                if error.status_code == 404 and "container" not in str(error.explanation).lower():
                    raise NoSuchImage(
                        f"image {body['Image']} is not on this engine: {error.explanation}",
                        hint="testbed setup builds ours; testbed image load FILE brings in yours",
                    ) from error
                raise
        return await self._ask(work, key=name)

    async def _found_after_silence(self, spec: ContainerSpec) -> str:
        """The create had no answer: it may have worked, now or in a moment."""
        try:
            state = await self._inspect(spec.name, timeout_s=self._deadlines.inspect_s)
        except NoSuchContainer:
            raise EngineUnavailable(f"the engine did not say whether it created {spec.name}") from None
        if _same(state, spec):
            self._unanswered.discard(spec.name)
            return state.id
        raise NameConflict(f"the name {spec.name} is taken by {state.id[:12]}")

    async def _holder_of_name(self, spec: ContainerSpec, conflict: NameConflict) -> str:
        """The id when the name is held by our own create that had no answer; empty when it will be free soon.

        Raises: NameConflict when another container holds it.
        """
        try:
            state = await self._inspect(spec.name, timeout_s=self._deadlines.inspect_s)
        except NoSuchContainer:
            return ""  # gone in between, or its name is freed last (moby/moby#15311)
        if spec.name in self._unanswered and state.status == "created" and _same(state, spec):
            self._unanswered.discard(spec.name)
            return state.id
        if state.status in ("removing", "dead"):
            return ""
        raise conflict

    async def start(self, container: str) -> ContainerState:
        """The engine may fail a start that has worked (hashicorp/nomad#6762): what runs decides."""
        self._changed(container)
        async with self._starts:
            try:
                state = await self._ask(_started(container), key=container, timeout_s=self._deadlines.start_s)
            except (EngineUnavailable, EngineError) as error:
                if isinstance(error, NoSuchContainer):
                    raise
                with contextlib.suppress(EngineError, EngineUnavailable):
                    found = await self._inspect(container, timeout_s=self._deadlines.inspect_s)
                    if found.running:
                        return found
                raise
        self._known[state.id] = (state.status, asyncio.get_running_loop().time(), state)
        return state

    async def signal(self, container: str, signal: str) -> None:
        self._changed(container)
        params = {"signal": signal}
        await self._post(container, "kill", params=params, ignore=(404, 409))

    async def pause(self, container: str) -> None:
        self._changed(container)
        await self._post(container, "pause", harmless="already paused")

    async def unpause(self, container: str) -> None:
        self._changed(container)
        await self._post(container, "unpause", harmless="not paused")

    async def _post(
        self, container: str, action: str, *, params: dict[str, str] | None = None, ignore: tuple[int, ...] = (),
        harmless: str = "",
    ) -> None:
        def work(client: DockerClient) -> None:
            try:
                client.post("/containers/{0}/" + action, container, params=params)
            except APIError as error:
                if error.status_code in ignore or (harmless and harmless in str(error.explanation)):
                    return
                raise
        await self._ask(work, key=container)

    async def remove(self, container: str) -> None:
        """The engine answers 409 while another removal runs, and may still list what it has removed: both end by
        looking (moby/moby#37698)."""
        self._changed(container)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._deadlines.remove_s
        while True:
            try:
                await self._ask(_removed(container), key=container, timeout_s=self._deadlines.remove_s)
                await self.inspect(container)
            except NoSuchContainer:
                self._changed(container)
                return
            if loop.time() > deadline:
                raise EngineUnavailable(f"{container} is being removed for more than {self._deadlines.remove_s:g} s")
            await asyncio.sleep(_POLL_S)

    # --- inside a container

    async def exec(
        self, container: str, argv: tuple[str, ...], *, timeout_s: float, limit_bytes: int = 10240
    ) -> ExecResult:
        running = DockerExec(self._threads, self._client, container, argv, stdin=False, tty=False)
        output = bytearray()
        try:
            async with asyncio.timeout(timeout_s), running:
                async for _, data in running.output():
                    output += data[: limit_bytes - len(output)]
        except TimeoutError:
            await running.kill()
            raise TimeoutError(f"{argv[0]} did not end within {timeout_s:g} s") from None
        code = await running.exit_code()
        if code in (126, 127) and b"OCI runtime exec failed" in output:
            raise EngineError(f"{argv[0]} could not be run: {output.decode(errors='replace').strip()}")
        return ExecResult(exit_code=code, output=bytes(output))

    def exec_stream(self, container: str, argv: tuple[str, ...], *, stdin: bool, tty: bool) -> DockerExec:
        return DockerExec(self._threads, self._client, container, argv, stdin=stdin, tty=tty)

    async def logs(
        self, container: str, *, follow: bool = False, tail: int | None = None, since: datetime | None = None,
        timestamps: bool = False,
    ) -> AsyncIterator[bytes]:
        params: dict[str, Any] = {
            "stdout": 1, "stderr": 1, "follow": int(follow), "timestamps": int(timestamps),
            "tail": "all" if tail is None else str(tail),
        }
        if since is not None:
            params["since"] = f"{since.timestamp():.6f}"
        reader = LogReader(self._client, container, params, None if follow else self._deadlines.call_s)
        items = Stream().items(reader.produce)
        async with contextlib.aclosing(items):  # type: ignore[type-var]
            async for chunk in items:
                yield chunk

    async def events(self, labels: Mapping[str, str]) -> AsyncIterator[EngineEvent]:
        items = Stream().items(EventReader(self._client, labels).produce)
        async with contextlib.aclosing(items):  # type: ignore[type-var]
            async for event in items:
                if event.action in ("start", "die", "restart", "destroy", "rename", "pause", "unpause", "update"):
                    self._changed(event.container_id)
                yield event

    async def usage(self, container: str) -> ContainerUsage:
        def work(client: DockerClient) -> ContainerUsage:
            answer = client.get("/containers/{0}/stats", container, params={"stream": 0, "one-shot": 1})
            return translate.usage_of(answer)

        return await self._ask(work, key=container, again=True)

    async def written_bytes(self, container: str) -> int:
        def work(client: DockerClient) -> int:
            return int(client.get("/containers/{0}/json", container, params={"size": 1}).get("SizeRw") or 0)

        return await self._ask(work, key=container, again=True)

    async def update_limits(self, container: str, limits: Limits) -> None:
        def work(client: DockerClient) -> None:
            client.post("/containers/{0}/update", container, body=translate.update_body(limits))

        await self._ask(work, key=container)


def _started(container: str) -> Callable[[DockerClient], ContainerState]:
    """Start and look, in one turn of one thread."""
    def work(client: DockerClient) -> ContainerState:
        client.post("/containers/{0}/start", container)
        return translate.state_of(client.get("/containers/{0}/json", container))
    return work


def _removed(container: str) -> Callable[[DockerClient], None]:
    def work(client: DockerClient) -> None:
        try:
            client.delete("/containers/{0}", container, params={"force": 1, "v": 1})
        except APIError as error:
            if error.status_code != 409:  # somebody else removes it already
                raise translated(error) from error
    return work


def _same(state: ContainerState, spec: ContainerSpec) -> bool:
    """Whether a container is what ``spec`` asks for: every label of ours is its identity."""
    return state.name == spec.name and all(state.labels.get(key) == value for key, value in spec.labels.items())
