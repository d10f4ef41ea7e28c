"""Reads the logs of many containers at once, and is done: the newest lines of all, and what could not be read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

from testbed.api.resources import PODS
from testbed.cli.log_choice import Wanted, options, sources_of
from testbed.cli.log_merging import Newest, stamped
from testbed.cli.log_prefixes import Source
from testbed.client.protocol import Client
from testbed.errors import ApiError, BadRequest, NotFound

Json = dict[str, Any]
AT_ONCE = 8  # logs that are read at the same time
Told = tuple[Source, int, str]  # whose, when (nanoseconds since 1970), what


class LogClient(Client, Protocol):
    """What is asked of a ``client.aio.HttpClient``."""

    def log_lines(self, name: str, namespace: str, options: Mapping[str, str]) -> AsyncGenerator[bytes, None]: ...


async def pods_of(client: LogClient, wanted: Wanted) -> list[Json]:
    """Raises: NotFound for a name that there is not; ApiError."""
    if wanted.pod:
        return [await client.get(PODS, wanted.pod, wanted.namespace)]
    return list((await client.list(PODS, wanted.namespace, label_selector=wanted.selector)).items)


async def read_all(
    client: LogClient, pods: list[Json], wanted: Wanted, max_lines: int,
) -> tuple[Newest[Told], list[str]]:
    """The newest ``max_lines`` of all that are wanted, and for each log that could not be read a sentence."""
    newest: Newest[Told] = Newest(max_lines)
    problems: list[str] = []
    places = asyncio.Semaphore(AT_ONCE)
    tail = max_lines if wanted.tail is None else min(wanted.tail, max_lines)

    async def read(source: Source, previous: bool) -> None:
        query = options(source, since_ns=wanted.since_ns, tail=tail, previous=previous)
        at_ns = 0
        async with places:
            try:
                async with contextlib.aclosing(client.log_lines(source.pod, source.namespace, query)) as lines:
                    async for line in lines:
                        at_ns, text = stamped(line, at_ns)
                        newest.add(at_ns, (source, at_ns, text))
            except (BadRequest, NotFound) as error:
                if not _nothing_yet(error, previous):
                    problems.append(f"{source.pod} {source.container}: {error.message}")
            except ApiError as error:
                problems.append(f"{source.pod} {source.container}: {error.message}")

    await asyncio.gather(*(
        read(source, previous) for pod in pods for source in sources_of(pod, wanted)
        for previous in ((True, False) if wanted.every else (False,))))
    return newest, problems


def _nothing_yet(error: ApiError, previous: bool) -> bool:
    """A container that has not begun or had no life before has written nothing: that is no problem."""
    return previous or isinstance(error, NotFound) or "waiting to start" in error.message \
        or "does not have a host assigned" in error.message
