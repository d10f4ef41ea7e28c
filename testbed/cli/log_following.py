"""Follows the logs of many containers: of pods that are there and that come, through their restarts and the API's.

Each container's log is read by a task of its own. What breaks off goes on where it was left (``log_position``); when a
container has a next life, what its last one said is read to the end first. Lines are told in the order of their times,
as far as holding them back a moment brings that about (``log_merging``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from testbed.api.repeats import Repeats
from testbed.api.resources import PODS
from testbed.cli.log_choice import Wanted, life_of, options, sources_of
from testbed.cli.log_merging import InOrder, stamped
from testbed.cli.log_position import Position
from testbed.cli.log_prefixes import Source
from testbed.cli.log_reading import LogClient, Told
from testbed.client.informer import Informer
from testbed.errors import ApiError, BadRequest, Forbidden, NotFound, Unauthorized

Json = dict[str, Any]
MAX_FOLLOWED = 50  # containers: each is a connection here, at the API and at its node
HOLD_S = 0.25
_LOOK_S = 0.1
_AGAIN_S = 0.5  # after an answer that stayed away or broke off
_STILL_RUNNING_S = 2.0  # a log that ended although its container runs is opened again
_SAY_AGAIN_S = 30.0


class Following:
    """``tell``: a line. ``say``: what a person should know of it."""

    def __init__(
        self, client: LogClient, wanted: Wanted, tell: Callable[[Told], None], say: Callable[[str], None],
    ) -> None:
        self._client, self._wanted, self._tell, self._say = client, wanted, tell, say
        self._held: InOrder[Told] = InOrder(HOLD_S)
        self._pods = Informer(
            client, PODS, wanted.namespace, label_selector=wanted.selector,
            field_selector=f"metadata.name={wanted.pod}" if wanted.pod else "", on_change=self._on_pod)
        self._followed: dict[tuple[str, str], asyncio.Task[None]] = {}  # by the pod's uid and the container
        self._news = asyncio.Event()
        self._said = Repeats(_SAY_AGAIN_S)
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Until cancelled; of one pod until it is gone. Raises: Unauthorized, Forbidden."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                informer = group.create_task(self._pods.run())
                await self._tell_all()
                informer.cancel()
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from several
        for line in self._held.rest():
            self._tell(line)

    async def _tell_all(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._over():
            await asyncio.sleep(_LOOK_S)
            for line in self._held.due(loop.time()):
                self._tell(line)

    def _over(self) -> bool:
        gone = self._pods.synced.is_set() and not self._pods.items
        return bool(self._wanted.pod) and gone and not self._followed

    # --- pods

    def _on_pod(self, old: Json | None, new: Json | None) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
        if new is None or self._group is None:
            return
        uid = new["metadata"]["uid"]
        for source in sources_of(new, self._wanted):
            key = (uid, source.container)
            if key in self._followed or not life_of(new, source.container)[0]:
                continue
            if len(self._followed) >= MAX_FOLLOWED:
                self._note(f"{MAX_FOLLOWED} containers are followed and no more: narrow the selector")
                continue
            task = self._group.create_task(self._follow(uid, source, known_before=not self._pods.synced.is_set()))
            self._followed[key] = task
            task.add_done_callback(lambda done, key=key: self._followed.pop(key, None))  # type: ignore[misc]

    def _pod(self, uid: str, source: Source) -> Json | None:
        pod = self._pods.get(f"{source.namespace}/{source.pod}")
        return pod if pod is not None and pod["metadata"]["uid"] == uid else None

    # --- one container

    async def _follow(self, uid: str, source: Source, *, known_before: bool) -> None:
        """``known_before``: the pod was there when we came; of others all lines are new."""
        wanted = self._wanted
        position, read_life = Position(wanted.since_ns), ""
        tail = wanted.tail if known_before else None
        previous = wanted.every and known_before
        while (pod := self._pod(uid, source)) is not None:
            life = life_of(pod, source.container)[0]
            previous = previous or bool(read_life) and life != read_life
            try:
                if previous:
                    await self._read(source, position, tail, previous=True)
                    previous = False
                read_life = life
                await self._read(source, position, tail, follow=True)
            except (Unauthorized, Forbidden):
                raise
            except ApiError as error:
                self._note(f"{error.message}; going on when that is over")
                await asyncio.sleep(_AGAIN_S)
                continue
            await self._next_life(uid, source, read_life)

    async def _read(
        self, source: Source, position: Position, tail: int | None, *, follow: bool = False, previous: bool = False,
    ) -> None:
        """To its end; only what was not read before. Raises: ApiError."""
        loop, at_ns = asyncio.get_running_loop(), position.since_ns
        query = options(source, since_ns=position.since_ns, tail=None if position.begun else tail, follow=follow,
                        previous=previous)
        position.open()
        try:
            async with contextlib.aclosing(self._client.log_lines(source.pod, source.namespace, query)) as lines:
                async for line in lines:
                    at_ns, text = stamped(line, at_ns)
                    if position.is_new(at_ns):
                        self._held.add(at_ns, (source, at_ns, text), loop.time())
        except (BadRequest, NotFound):
            return  # it has not begun yet, has had no life before, or is gone: its pod tells

    async def _next_life(self, uid: str, source: Source, life: str) -> None:
        """Waits until the container is another one, or its pod is gone, or the log ended before the container."""
        while (pod := self._pod(uid, source)) is not None:
            now, running = life_of(pod, source.container)
            if now != life:
                return
            try:
                async with asyncio.timeout(_STILL_RUNNING_S):
                    await self._news.wait()
            except TimeoutError:
                if running:
                    return

    def _note(self, text: str) -> None:
        if self._said.due(text, asyncio.get_running_loop().time()) is not None:
            self._say(text)
