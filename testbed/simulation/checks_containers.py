"""Invariants of containers and probes: I1, I2, I3, I6, I7, I9, I11."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from testbed.api import labels
from testbed.runtime.simulated_machine import SimulatedContainer
from testbed.simulation.invariants import SIGKILL, SIGTERM, STEP_S, Patience, Watch, disturbed, key_of, pod_of
from testbed.simulation.world import World

Json = dict[str, Any]

_ORPHAN_S = 20.0
_ROW_S = 3.0  # of failures: period times threshold
_STILL_S = 1.9  # the least that a row takes of it: two probes that time out, where a third failed while it started
_ROTATION_S = 1.5
_UNSEEN_S = 0.01  # a death is seen by its agent within a millisecond; what it asks for takes a call or two


class NoOrphans(Watch):
    """I1: every container of ours belongs to a pod that exists, or is on its way out."""

    name = "I1"

    def __init__(self) -> None:
        self._patience = Patience(_ORPHAN_S)

    def step(self, world: World) -> Iterator[str]:
        uids = {pod["metadata"]["uid"] for pod in world.pods()}
        seen = set()
        for container in world.machine.containers.values():
            own = container.spec.labels
            uid, node = own.get(labels.POD_UID, ""), own.get(labels.NODE, "")
            if own.get(labels.INSTANCE) != world.instance_id or not uid or uid in uids:
                continue
            seen.add(container.id)
            excused = disturbed(world, node) or container.removing or container.id in world.machine.hiccups.hung
            if self._patience.exceeded(world.loop.time(), container.id, excused=excused):
                yield f"{container.spec.name} has been an orphan for more than {_ORPHAN_S:g} s"
        self._patience.keep_only(seen)


class OneOfEach(Watch):
    """I2: at most one live container for each container of each pod."""

    name = "I2"

    def step(self, world: World) -> Iterator[str]:
        live: dict[tuple[str, str], str] = {}
        for container in world.machine.containers.values():
            key = key_of(container)
            if not container.running or not key[0]:
                continue
            if key in live:
                yield f"{container.spec.name} runs beside {live[key]}"
            live[key] = container.spec.name


class HealthyIsLeftAlone(Watch):
    """I3: an agent ends a container only when its pod goes, or when the container is sick.

    Or when the one before it was: failures in a row are counted across restarts of a container, and only a verdict
    begins anew (kubernetes: pkg/kubelet/prober/worker.go, resultRun).

    What stands still fails its probes, and what is not of the image that its pod wants is exchanged. That is looked
    at while it is so: a fault that is held up hits a container that was not there when the fault was asked for, and it
    may be over when what was asked to end has ended.
    """

    name = "I3"

    def __init__(self) -> None:
        self._sick: dict[tuple[str, str], int] = {}  # attempt of the last one that was sick
        self._still: dict[str, tuple[float, float]] = {}  # container id: from when until when it stood still
        self._unwanted_s: dict[str, float] = {}  # container id: when its pod wanted another image last

    def step(self, world: World) -> Iterator[str]:
        now_s, known = world.loop.time(), world.machine.containers
        images = {(pod["metadata"]["uid"], item["name"]): item["image"]
                  for pod in world.pods() for item in pod["spec"]["containers"]}
        self._still = {key: value for key, value in self._still.items() if key in known}
        self._unwanted_s = {key: value for key, value in self._unwanted_s.items() if key in known}
        for container in known.values():
            if not container.running or now_s - _asked_s(container, now_s) > STEP_S:
                continue  # what comes after it was asked to end is no reason for that
            if world.machine.is_frozen(container.cgroup):
                from_s, until_s = self._still.get(container.id, (now_s, now_s))
                self._still[container.id] = (from_s if now_s - until_s < 2 * STEP_S else now_s, now_s)
            if images.get(key_of(container), container.spec.image) != container.spec.image:
                self._unwanted_s[container.id] = now_s
        yield from ()

    def died(self, world: World, container: SimulatedContainer, code: int) -> Iterator[str]:
        ends = [(number, by) for _, number, by in container.signals if number in (SIGTERM, SIGKILL)]
        culprits = [by for _, by in ends if by.startswith("agent")]
        uid, name = key_of(container)
        if not culprits or not uid or not name:
            return
        if not self._explained(world, container, uid, name):
            yield f"{culprits[0]} ended {container.spec.name}, which was healthy"

    def _explained(self, world: World, container: SimulatedContainer, uid: str, name: str) -> bool:
        pod = pod_of(world, uid)
        if pod is None or pod["metadata"].get("deletionTimestamp") or container.id in world.excuses.containers:
            return True
        application = container.application
        wanted = next((item["image"] for item in pod["spec"]["containers"] if item["name"] == name), "")
        sick = application is not None and (
            application.hung or application.unhealthy or not application.behaviour.ports
            or wanted != container.spec.image
        )
        asked_s = _asked_s(container, world.loop.time())
        sick = sick or self._was_hurt(container.id, asked_s)
        attempt = int(container.spec.labels.get(labels.ATTEMPT, "0"))
        if sick:
            self._sick[uid, name] = attempt
        young = asked_s - container.started_s < _ROW_S  # one failure can complete a row that another container began
        sick = sick or (young and self._sick.get((uid, name)) == attempt - 1)
        phase = (pod.get("status") or {}).get("phase")
        others = [item for item in world.machine.containers.values() if key_of(item) == (uid, "") and item.running]
        return sick or phase in ("Failed", "Succeeded") or not others

    def _was_hurt(self, container: str, asked_s: float) -> bool:
        from_s, until_s = self._still.get(container, (0.0, 0.0))
        stood = until_s - from_s > _STILL_S and asked_s - until_s < _ROW_S
        return stood or asked_s - self._unwanted_s.get(container, asked_s - _ROW_S) < _ROW_S


def _asked_s(container: SimulatedContainer, otherwise_s: float) -> float:
    """When an agent first asked it to end."""
    return min((at for at, _, by in container.signals if by.startswith("agent")), default=otherwise_s)


class ProbesMeanThisContainer(Watch):
    """I6: a container is called ready only after it has itself answered its readiness probe well."""

    name = "I6"

    def step(self, world: World) -> Iterator[str]:
        by_id = {container.id: container for container in world.machine.containers.values()}
        for pod in world.pods():
            paths = {
                item["name"]: item["readinessProbe"]["httpGet"].get("path", "/")
                for item in pod["spec"]["containers"] if "httpGet" in (item.get("readinessProbe") or {})
            }
            for status in (pod.get("status") or {}).get("containerStatuses") or ():
                container = by_id.get(str(status.get("containerID", "")).rsplit("/", 1)[-1])
                path = paths.get(status["name"])
                if not status.get("ready") or container is None or container.application is None or path is None:
                    continue
                if path not in container.application.proven:
                    yield f"{container.spec.name} is called ready and never answered {path}"


class RestartsOnlyGrow(Watch):
    """I7: restart counts never fall, and consecutive crashes wait at least their back-off.

    What its agent ends waits for nothing, also where the container crashed before the agent's signal came: one that
    hangs may be killed by somebody else, and the probe that this cuts off completes the row. Upstream too starts it by
    the status from before. Only an agent that cannot have seen the death yet is excused by what it asked for.
    """

    name = "I7"

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._crashes: dict[tuple[str, str], tuple[int, float, str]] = {}  # consecutive, last death, image
        self._ended: set[tuple[str, str]] = set()  # whose last death was the agent's own act
        self._asked: dict[tuple[str, str], list[tuple[float, str]]] = {}  # of who died last; it may grow yet
        self._judged: set[tuple[str, float]] = set()

    def step(self, world: World) -> Iterator[str]:
        for pod in world.pods():
            for status in (pod.get("status") or {}).get("containerStatuses") or ():
                key, count = (pod["metadata"]["uid"], status["name"]), int(status.get("restartCount", 0))
                if count < self._counts.get(key, 0):
                    yield f"restart count of {pod['metadata']['name']} fell from {self._counts[key]} to {count}"
                self._counts[key] = max(count, self._counts.get(key, 0))
        yield from self._waits(world)

    def _waits(self, world: World) -> Iterator[str]:
        for container in world.machine.containers.values():
            key = key_of(container)
            if not container.running or key not in self._crashes:
                continue
            consecutive, died_s, image = self._crashes[key]
            if image != container.spec.image:
                continue  # a changed container begins anew (kubernetes: GetStableKey, with the container's hash)
            mark = (container.id, container.started_s)
            if container.started_s < died_s or mark in self._judged:
                continue
            self._judged.add(mark)
            needed_s = self._needed_s(world, consecutive)
            if key in self._ended or any(by.startswith("agent") and at_s - died_s < _UNSEEN_S
                                         for at_s, by in self._asked[key]):
                continue  # killed to be started again: kubelet does both in one go, by the status from before
            if container.started_s - died_s < needed_s - 0.1 and not disturbed_lately(world, container):
                yield (f"{container.spec.name} started {container.started_s - died_s:.2f} s after crash {consecutive}, "
                       f"back-off is {needed_s:g} s")

    def _needed_s(self, world: World, consecutive: int) -> float:
        profile = world.profile
        if consecutive < 2:
            return 0.0
        return min(profile.crash_backoff_max_s, profile.crash_backoff_initial_s * 2.0 ** (consecutive - 2))

    def died(self, world: World, container: SimulatedContainer, code: int) -> Iterator[str]:
        uid, name = key_of(container)
        if uid and name:
            image = container.spec.image
            before, last_s, last_image = self._crashes.get((uid, name), (0, 0.0, image))
            reset = world.loop.time() - last_s > world.profile.crash_backoff_reset_s - 1.0 or image != last_image
            self._crashes[(uid, name)] = (1 if reset else before + 1, world.loop.time(), image)
            by_agent = any(by.startswith("agent") for _, _, by in container.signals)
            (self._ended.add if by_agent else self._ended.discard)((uid, name))
            self._asked[uid, name] = container.asked
        yield from ()


def disturbed_lately(world: World, container: SimulatedContainer) -> bool:
    """A node that was switched off and on forgets back-offs, as a machine that boots does."""
    node = world.room.nodes.get(container.spec.labels.get(labels.NODE, ""))
    return node is None or node.boots > 1


class StrangersAreLeftAlone(Watch):
    """I9: containers without our label stay exactly as they are."""

    name = "I9"

    def __init__(self) -> None:
        self._before: dict[str, tuple[object, ...]] = {}

    def step(self, world: World) -> Iterator[str]:
        now = {
            item.id: (item.status, item.process.pid if item.process else 0, item.link_up, item.limits,
                      world.machine.is_frozen(item.cgroup), tuple(item.signals))
            for item in world.machine.containers.values() if item.spec.labels.get(labels.INSTANCE) != world.instance_id
        }
        for container, state in self._before.items():
            if now.get(container) != state:
                yield f"foreign container {container[:12]} was changed: {state} to {now.get(container)}"
        self._before = {**now, **self._before}


class StoppedInOrder(Watch):
    """I11: a pod that is deleted leaves rotation, and SIGKILL comes no sooner than its grace after SIGTERM."""

    name = "I11"

    def __init__(self) -> None:
        self._patience = Patience(_ROTATION_S)

    def step(self, world: World) -> Iterator[str]:
        inside = {address for endpoints in world.gateway.services.values() for address, _ in endpoints}
        # Where all endpoints are terminating, those still serve (kubernetes: ProxyTerminatingEndpoints).
        lasting = any(
            (pod.get("status") or {}).get("podIP") in inside and not pod["metadata"].get("deletionTimestamp")
            and pod["metadata"]["labels"].get("app") == "web" for pod in world.pods()
        )
        seen = set()
        for pod in world.pods():
            address = (pod.get("status") or {}).get("podIP", "")
            if not pod["metadata"].get("deletionTimestamp") or address not in inside:
                continue
            uid = pod["metadata"]["uid"]
            seen.add(uid)
            shared = any(
                (other.get("status") or {}).get("podIP") == address and other is not pod for other in world.pods()
            )
            if self._patience.exceeded(world.loop.time(), uid, excused=not world.api.up or shared or not lasting):
                yield f"{pod['metadata']['name']} is being deleted and still in rotation"
        self._patience.keep_only(seen)

    def died(self, world: World, container: SimulatedContainer, code: int) -> Iterator[str]:
        uid, name = key_of(container)
        pod = pod_of(world, uid) if uid and name else None
        kills = [at for at, number, by in container.signals if number == SIGKILL and by.startswith("agent")]
        stood = container.process is not None and container.process.pending_kill  # frozen: it can heed no SIGTERM
        if pod is None or not kills or stood or not pod["metadata"].get("deletionTimestamp"):
            return
        grace_s = float(pod["metadata"].get("deletionGracePeriodSeconds", 30))
        asked = [at for at, number, by in container.signals if number == SIGTERM and by.startswith("agent")]
        if grace_s > 0 and (not asked or kills[0] - asked[0] < min(grace_s, 2.0) - 0.1):
            yield f"{container.spec.name} got SIGKILL without its grace of {grace_s:g} s"
