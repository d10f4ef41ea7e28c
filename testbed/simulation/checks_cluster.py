"""Invariants of rollouts, nodes, faults, bounds and secrets: I4, I5, I8, I13, I16."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator
from typing import Any

from faults.kinds import POD_CHAOS
from testbed.api.resources import DEPLOYMENTS, EVENTS, PODS
from testbed.server.registry import MAX_EVENTS
from testbed.simulation.invariants import Watch
from testbed.simulation.world import World, is_true, terminal

Json = dict[str, Any]

_REMEMBERED_S = 30.0
_SETTLING_S = 1.0
_YOUNG_S = 6.0
_UNDO_GRACE_S = 3.0
_AGAIN_S = 10.0  # how long an undo may wait before it is tried again
_COUNT_S = 0.5
_NOTICED_S = 0.75  # a look at the nodes each 0.25 s, and the agent's own word that it is Ready


class RolloutsKeepTheirBounds(Watch):
    """I4: never more pods than desired + maxSurge, and no available pod is given up below desired − maxUnavailable.

    What is desired may change twice between two looks. It is noted whenever a ReplicaSet is written too, for that is
    when a Deployment acts on it: a pod that was given up is judged by what was desired then.
    """

    name = "I4"

    def __init__(self, world: World) -> None:
        self._desired: dict[str, list[tuple[int, float]]] = {}  # replicas asked for and until when, in order
        self._looked_s = 0.0
        self._available: dict[str, dict[str, Json]] = {}
        self._lost_s: dict[str, float] = {}
        self._born_s: dict[str, float] = {}  # Deployments by uid: one that is made anew first loses what another had
        world.trace.listeners.append(lambda text: self._listen(world, text))

    def _listen(self, world: World, text: str) -> None:
        if text.startswith(("update replicasets ", "create replicasets ")):
            self._note_desired(world)

    def _note_desired(self, world: World) -> None:
        now_s = world.loop.time()
        for deployment in world.objects(DEPLOYMENTS):
            name, wanted = deployment["metadata"]["name"], int(deployment["spec"]["replicas"])
            noted = [item for item in self._desired.get(name, ()) if now_s - item[1] < _REMEMBERED_S]
            if noted and noted[-1][0] == wanted:
                noted.pop()
            self._desired[name] = [*noted, (wanted, now_s)]

    def step(self, world: World) -> Iterator[str]:
        now_s = world.loop.time()
        self._note_desired(world)
        for deployment in world.objects(DEPLOYMENTS):
            name, wanted = deployment["metadata"]["name"], int(deployment["spec"]["replicas"])
            surge, _ = bounds(deployment, wanted)
            pods = world.pods(app=name)
            active = [pod for pod in pods if not terminal(pod) and not pod["metadata"].get("deletionTimestamp")]
            most = max(count for count, _ in self._desired[name])
            young = now_s - self._born_s.setdefault(deployment["metadata"]["uid"], now_s) < _YOUNG_S
            if len(active) > most + surge and not young:
                yield f"{name} has {len(active)} pods, at most {most}+{surge} are allowed"
            if young:
                self._available.pop(name, None)
            else:
                yield from self._floor(world, deployment, active)
        self._looked_s = now_s

    def _floor(self, world: World, deployment: Json, active: list[Json]) -> Iterator[str]:
        now_s, name = world.loop.time(), deployment["metadata"]["name"]
        available = {pod["metadata"]["uid"]: pod for pod in active if is_true(pod, "Ready")}
        before, self._available[name] = self._available.get(name, {}), available
        present = {pod["metadata"]["uid"]: pod for pod in world.pods(app=name)}
        given_up = [uid for uid in before if present.get(uid, {}).get("metadata", {}).get("deletionTimestamp")]
        if set(before) - set(available) - set(given_up):
            self._lost_s[name] = now_s  # something else took pods away: what the controller saw may be a moment old
        excused = (
            world.objects(POD_CHAOS) or now_s - self._lost_s.get(name, -100.0) < _SETTLING_S
            or any(is_true(present[uid], "DisruptionTarget") for uid in given_up)
        )
        if given_up and not excused and not self._rightly(deployment, len(available)):
            wanted = int(deployment["spec"]["replicas"])
            _, unavailable = bounds(deployment, wanted)
            yield f"{name} gave up available pods: {len(available)} are left of {wanted}, {unavailable} may be missing"

    def _rightly(self, deployment: Json, available: int) -> bool:
        """Whether so few may be left by what was asked for at some moment since the last look. After it became fewer
        they go by other rules."""
        noted = self._desired[deployment["metadata"]["name"]]
        for place, (wanted, until_s) in enumerate(noted):
            if until_s <= self._looked_s and place < len(noted) - 1:
                continue
            _, unavailable = bounds(deployment, wanted)
            if available >= wanted - unavailable or any(count > wanted for count, _ in noted[:place]):
                return True
        return False


def bounds(deployment: Json, wanted: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods: surge rounds up, unavailable down, and both may not be 0 (kubernetes:
    pkg/controller/deployment/util ResolveFenceposts)."""
    strategy = deployment["spec"].get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0, wanted
    rolling = strategy.get("rollingUpdate") or {}
    surge = _resolved(rolling.get("maxSurge", "25%"), wanted, up=True)
    unavailable = _resolved(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    return surge, unavailable or (0 if surge else 1)


def _resolved(value: int | str, wanted: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * wanted / 100
    return math.ceil(share) if up else math.floor(share)


class UnknownIsNotDead(Watch):
    """I5: nobody is evicted from a node that was not silent for the whole grace period, or is heard again."""

    name = "I5"

    def __init__(self, world: World) -> None:
        self._heard_s: dict[str, float] = {}
        self._back_s: dict[str, float] = {}  # since when it has been heard without a gap
        self._judged: set[str] = set()
        world.trace.listeners.append(lambda text: self._listen(world, text))

    def _listen(self, world: World, text: str) -> None:
        if not text.startswith(("patch leases ", "create leases ")):
            return
        node, now_s = text.split(" ")[2], world.loop.time()
        if now_s - self._heard_s.get(node, 0.0) > world.profile.node_monitor_grace_s or node not in self._back_s:
            self._back_s[node] = now_s
        self._heard_s[node] = now_s

    def step(self, world: World) -> Iterator[str]:
        for pod in world.pods():
            uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName", "")
            if uid in self._judged or not evicted(pod):
                continue
            self._judged.add(uid)
            now_s = world.loop.time()
            silent_s, back_s = now_s - self._heard_s.get(node, 0.0), now_s - self._back_s.get(node, 0.0)
            if silent_s < world.profile.node_monitor_grace_s and back_s > _NOTICED_S:
                yield f"{pod['metadata']['name']} was evicted from {node}, which has been heard for {back_s:.2f} s"


def evicted(pod: Json) -> bool:
    return any(
        item["type"] == "DisruptionTarget" and item.get("reason") == "DeletionByTaintManager"
        for item in (pod.get("status") or {}).get("conditions") or ()
    )


class FaultsAreLeases(Watch):
    """I8: whatever is frozen, cut or off is in the ledger, and not beyond its deadline."""

    name = "I8"

    def __init__(self) -> None:
        self._trouble_s = 0.0  # when the engine last gave no or late answers: a node is not switched on unswept

    def step(self, world: World) -> Iterator[str]:
        hiccups = world.machine.hiccups
        if hiccups.down or hiccups.silent or hiccups.stuck_removals or hiccups.slow > 1:
            self._trouble_s = world.loop.time()
        entries = world.chaos.ledger.active()
        covered = {
            "frozen": {str(entry.plan.get("cgroup")) for entry in entries},
            "node": {str(entry.plan.get("node")) for entry in entries},
        }
        known = {entry.id for entry in entries}
        for injection in world.effects.in_force:
            if injection not in known:
                yield f"{injection} is in force in a pod and the ledger does not know why"
        for cgroup in world.machine.frozen:
            if cgroup not in covered["frozen"] and not self._paused(world, cgroup):
                yield f"{cgroup} is frozen and the ledger does not know why"
        for node in world.room.nodes.values():
            wanted = node.name in covered["node"] or node.name in world.room.leaving
            if (not node.powered or node.cable.cut) and not wanted:
                yield f"{node.name} is {'cut off' if node.powered else 'off'} and the ledger does not know why"
        for entry in entries:
            late_s = world.loop.time() - max(entry.deadline_ns / 1e9, self._trouble_s + _AGAIN_S)
            if entry.deadline_ns and late_s > _UNDO_GRACE_S and self._in_effect(world, entry.plan):
                yield f"{entry.id} is in effect {late_s:.0f} s beyond its deadline"

    @staticmethod
    def _paused(world: World, cgroup: str) -> bool:
        return any(item.cgroup == cgroup and item.status == "paused" for item in world.machine.containers.values())

    @staticmethod
    def _in_effect(world: World, plan: Json) -> bool:
        if (plan.get("hold") or {}).get("entry_id") in world.effects.in_force:
            return True
        node = world.room.nodes.get(str(plan.get("node")))
        return plan.get("cgroup") in world.machine.frozen or (
            "cgroup" not in plan and node is not None and (not node.powered or node.cable.cut)
        )


class EverythingIsBounded(Watch):
    """I13: tasks, connections, starts, events."""

    name = "I13"

    def __init__(self) -> None:
        self._due_s = 0.0

    def step(self, world: World) -> Iterator[str]:
        if world.loop.time() < self._due_s:
            return
        self._due_s = world.loop.time() + _COUNT_S
        containers = len(world.machine.containers)
        tasks = len(asyncio.all_tasks())
        for what, count, bound in (
            ("tasks", tasks, 600 + 40 * containers),
            ("connections", world.network.open_connections, 200 + 10 * containers),
            ("starts at once", world.machine.starting, 4 * (len(world.room.nodes) + 2)),
            ("events", len(world.objects(EVENTS)), MAX_EVENTS),
            ("containers", containers, 60 + 8 * (len(world.pods()) + 10)),
        ):
            if count > bound:
                yield f"{count} {what}, the bound is {bound}"


class SecretsStaySecret(Watch):
    """I16: the value of a Secret appears in no log, event or status. Reads the process's own logging."""

    name = "I16"

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._read = 0
        self._heard = _Ear(secret)
        logging.getLogger().addHandler(self._heard)

    def step(self, world: World) -> Iterator[str]:
        yield from (f"the log says: {line}" for line in self._heard.caught)
        for resource in (EVENTS, PODS):
            for item in world.stored(resource):
                if item.revision <= self._read:
                    continue
                if self._secret in item.text:
                    yield f"{resource.plural} {item.name} has the secret"
        self._read = world.stored_revision

    def close(self) -> None:
        logging.getLogger().removeHandler(self._heard)


class _Ear(logging.Handler):
    def __init__(self, secret: str) -> None:
        super().__init__()
        self._secret = secret
        self.caught: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if self._secret in record.getMessage():
            self.caught.append(f"{record.name} {record.levelname}")
