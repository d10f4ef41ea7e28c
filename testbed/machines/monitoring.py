"""Starts what watches a cluster, looks at it, and takes it away: ``testbed monitor``.

What there is to be is decided in ``monitoring_plan``, and lies where ``monitoring_site`` says; this carries it out
through the engine, and asks the programs over HTTP whether they are ready and what they see.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from testbed.api import labels
from testbed.api.instance import Instance
from testbed.errors import EnvironmentProblem, InvalidInput, NoSuchContainer, NoSuchImage, NotFound, TestbedError
from testbed.machines import monitoring_plan as plan
from testbed.machines.addresses import choose_ports, is_free
from testbed.machines.cleanup import remove_tree
from testbed.machines.monitoring_plan import PARTS, PROMETHEUS, Order, Site
from testbed.machines.monitoring_seen import ALERTS, TARGETS, Alert, ScrapeTarget, alerts, mistakes, targets, telling
from testbed.machines.monitoring_site import identities, identity_of, read_boards, read_rules, write
from testbed.runtime.containers import ContainerSpec, ContainerState
from testbed.runtime.protocol import Engine

Ask = Callable[[str], Awaitable[Any]]
"""GET of a URL: JSON, or text. Raises: EnvironmentProblem when there is no answer, or one that is not 200."""
Say = Callable[[str], None]

READY_WITHIN_S = 120.0  # Grafana's first start makes its database
TARGETS_WITHIN_S = 20.0
STOPPED_WITHIN_S = 10.0
_POLL_S = 0.2
_ANSWER_S = 5.0
_LOG_LINES = 60


@dataclass(frozen=True)
class Running:
    """One part as the engine has it. ``address``: host and port."""

    part: str
    address: str
    state: ContainerState

    @property
    def made_of(self) -> str:
        return self.state.labels.get(labels.SPEC_HASH, "")


@dataclass(frozen=True)
class Seen:
    """``problem``: why Prometheus was not asked; "" when it was."""

    parts: tuple[Running, ...]
    targets: tuple[ScrapeTarget, ...] = ()
    alerts: tuple[Alert, ...] = ()
    problem: str = ""


async def http_ask(url: str) -> Any:
    """``Ask`` by aiohttp. Programs on 127.0.0.1 are asked without a proxy."""
    import aiohttp

    try:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session, session.get(url) as answer:
            if answer.status != 200:
                raise EnvironmentProblem(f"{url} answers {answer.status}")
            return await (answer.json() if answer.content_type == "application/json" else answer.text())
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise EnvironmentProblem(f"{url} does not answer: {error}") from error


async def find(engine: Engine, site: Site) -> dict[str, Running]:
    """Raises: EngineUnavailable, EngineError."""
    found = {}
    for identity in identities(site):
        for state in await engine.list({labels.INSTANCE: identity, labels.ROLE: labels.ROLE_MONITORING}):
            part = state.labels.get(labels.MONITORING, "")
            found[part] = Running(part, state.labels.get(labels.ADDRESS, ""), state)
    return {part.name: found[part.name] for part in PARTS if part.name in found}


# --- starting


async def start(engine: Engine, order: Order, ask: Ask, say: Say) -> Seen:
    """Makes what is missing or has changed, leaves the rest alone, and waits until all is ready and scraped.

    Raises: EnvironmentProblem (port taken, image gone, a program that does not start), InvalidInput (a rule file),
        EngineError, EngineUnavailable. What was made is taken away again then.
    """
    try:
        return await _start(engine, order, ask, say)
    except _PortTaken as error:
        say(f"{error.message.splitlines()[0]} somebody took its port; once more")
        return await _start(engine, order, ask, say)


class _PortTaken(EnvironmentProblem):
    """Somebody took a port after it was looked at and before it was listened on."""


async def _start(engine: Engine, order: Order, ask: Ask, say: Say) -> Seen:
    site, instance = order.site, order.instance
    runbooks = plan.runbooks(instance)
    texts, known = read_rules(order.wishes.rules, runbooks) if instance else ({}, {})
    found = await find(engine, site)
    ports = plan.settle_ports(order.parts, order.wishes.ports, _ports_of(found.values()), is_free,
                              _another_port(instance))
    for note in ports.notes:
        say(note)
    written = plan.files(instance, ports.chosen, texts, read_boards(runbooks))
    identity = identity_of(site, instance)
    wanted = plan.specs(order, identity, ports.chosen, written)
    current = {each.part for each in found.values() if each.state.running and each.made_of in _made_of(wanted)}
    await _remove(engine, [each for each in found.values() if each.part not in current])
    write(site, written, ports.chosen, identity)
    made: list[str] = []
    try:
        for spec in wanted:
            if spec.labels[labels.MONITORING] not in current:
                say(f"starting {spec.labels[labels.MONITORING]} ({spec.image})")
                made.append(await _create(engine, spec))
                await engine.start(made[-1])
        await asyncio.gather(*(_ready(engine, spec, ask, known) for spec in wanted))
    except BaseException:
        await asyncio.shield(asyncio.gather(*(engine.remove(container) for container in made)))
        raise
    return await _scraped(engine, site, ask, wait=instance is not None)


def _ports_of(running: Iterable[Running]) -> dict[str, int]:
    return {each.part: int(each.address.rpartition(":")[2]) for each in running if each.state.running}


def _another_port(instance: Instance | None) -> Callable[[set[int]], int]:
    own = {instance.api_port, *instance.node_ports, *instance.ingress_ports} if instance else set()
    return lambda taken: choose_ports(1, taken | own, random.Random())[0]


def _made_of(specs: Iterable[ContainerSpec]) -> set[str]:
    return {spec.labels[labels.SPEC_HASH] for spec in specs}


async def _create(engine: Engine, spec: ContainerSpec) -> str:
    try:
        return await engine.create(spec)
    except NoSuchImage as error:
        raise EnvironmentProblem(f"image {spec.image} is gone", hint="repeat the command") from error


async def _ready(engine: Engine, spec: ContainerSpec, ask: Ask, known: Mapping[str, str]) -> None:
    """Raises: EnvironmentProblem with what its log says; InvalidInput when it is a rule file."""
    part = next(part for part in PARTS if part.name == spec.labels[labels.MONITORING])
    deadline_s = asyncio.get_running_loop().time() + READY_WITHIN_S
    problem = ""
    while asyncio.get_running_loop().time() < deadline_s:
        try:
            await ask(f"http://{spec.labels[labels.ADDRESS]}{part.ready}")
            return
        except EnvironmentProblem as error:
            problem = error.message
        state = await engine.inspect(spec.name)
        if not state.running:
            raise await _why(engine, state.id, part.title, known)
        await asyncio.sleep(_POLL_S)
    raise EnvironmentProblem(f"{part.title} did not get ready within {READY_WITHIN_S:g} s: {problem}")


async def _why(engine: Engine, container: str, title: str, known: Mapping[str, str]) -> TestbedError:
    said = b"".join([chunk async for chunk in engine.logs(container, tail=_LOG_LINES)]).decode(errors="replace")
    wrong = mistakes(said, known)
    if wrong:
        return InvalidInput(wrong)
    kind = _PortTaken if "address already in use" in said else EnvironmentProblem
    return kind(f"{title} does not start:\n{telling(said.splitlines())}")


async def _scraped(engine: Engine, site: Site, ask: Ask, *, wait: bool) -> Seen:
    """Waits until every target is up: not for ever, for a node may be down and is not ours to mend."""
    deadline_s = asyncio.get_running_loop().time() + TARGETS_WITHIN_S
    while True:
        seen = await look(engine, site, ask)
        all_up = bool(seen.targets) and all(target.up for target in seen.targets)
        if not wait or all_up or asyncio.get_running_loop().time() > deadline_s:
            return seen
        await asyncio.sleep(_POLL_S)


# --- looking, and taking away


async def look(engine: Engine, site: Site, ask: Ask) -> Seen:
    """Raises: EngineUnavailable, EngineError."""
    parts = tuple((await find(engine, site)).values())
    prometheus = next((each for each in parts if each.part == PROMETHEUS and each.state.running), None)
    if prometheus is None:
        return Seen(parts, problem="Prometheus does not run")
    try:
        url = f"http://{prometheus.address}"
        return Seen(parts, targets(await ask(url + TARGETS)), alerts(await ask(url + ALERTS)))
    except EnvironmentProblem as error:
        return Seen(parts, problem=error.message)


async def stop(engine: Engine, site: Site, *, keep_data: bool) -> tuple[str, ...]:
    """Removes the containers, and what they recorded unless ``keep_data``; returns the parts that there were.

    Raises: NotFound when there is nothing, EngineUnavailable, EngineError, EnvironmentProblem.
    """
    found = await find(engine, site)
    if not found and (keep_data or not site.root.exists()):
        raise NotFound(f"cluster {site.name!r} is not monitored", hint=f"testbed monitor up --name {site.name}")
    await _remove(engine, found.values())
    if not keep_data:
        await remove_tree(engine, site.root, identity_of(site, None))
        with suppress(OSError):
            site.directory.rmdir()  # nothing else is left of a cluster that is gone
    return tuple(found)


async def _remove(engine: Engine, running: Iterable[Running]) -> None:
    """Lets each end by itself first: what it holds in memory is written then."""
    async def remove(each: Running) -> None:
        with suppress(NoSuchContainer):
            await engine.signal(each.state.id, "SIGTERM")
            deadline_s = asyncio.get_running_loop().time() + STOPPED_WITHIN_S
            while (await engine.inspect(each.state.id)).running:
                if asyncio.get_running_loop().time() > deadline_s:
                    break
                await asyncio.sleep(_POLL_S)
            await engine.remove(each.state.id)

    await asyncio.gather(*(remove(each) for each in running))
