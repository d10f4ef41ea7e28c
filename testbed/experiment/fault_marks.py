"""The marks of a disruption by a fault (or by nobody here), found in the evidence. Pure.

Two paths are kept apart: with more than one replica the users' pain ends (*isolated*) long before the damage is mended
(*restored*). Running, ready and in rotation are those of the first replacement that got there; restored is all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from testbed.experiment.observations import Evidence, InjectionSeen, PodSeen
from testbed.experiment.result import Marks
from testbed.experiment.result.timeline import target_key
from testbed.experiment.scene import Group, Scene, first, last, state_at

# Events that tell that something is wrong with a pod or its node.
ALARMS = (
    "ContainerDied", "Unhealthy", "ContainerUnready", "BackOff", "Evicted", "TaintManagerEviction", "NodeNotReady",
)
SAME_BREATH_S = 0.005
# Events of acts that heal.
ACTS = ("Killing", "Created", "Pulling", "Started", "TaintManagerEviction", "Scheduled")


@dataclass(frozen=True)
class Victims:
    """Pods (by uid) and nodes that were hit. ``by_deletion``: the fault itself deleted the pods."""

    pods: tuple[PodSeen, ...]
    nodes: tuple[str, ...] = ()
    by_deletion: bool = False

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(pod.key for pod in self.pods)


@dataclass(frozen=True)
class Story:
    """The marks and what led to them; causes are named from it."""

    scene: Scene
    victims: Victims
    marks: Marks
    first_sign: str = ""  # what the cluster noticed first: the reason and message of the Event, or how the watch told
    unready: float | None = None  # the first victim stopped counting as ready
    replacement: str = ""  # the pod whose running, ready and in rotation are the marks
    last_out: PodSeen | None = None  # the victim that was taken out of rotation last

    @property
    def supervisor(self) -> str:
        """Who looked after the victims, if it was not a cluster's own agents; then none of our settings speaks of
        it."""
        return next((name for key in sorted(self.victims.keys) if (name := self.scene.evidence.supervisor_of(key))), "")

    @property
    def node_given_up(self) -> str:
        """How another supervisor finds a node lost: in its own words, as far as it has said any."""
        kind, _, words = self.first_sign.partition(": ")
        told = words if kind == "node not ready" and words else "it found the node lost"
        return f"{self.supervisor}: {told} (by its own timers)"

    def unready_at(self, pod: PodSeen) -> float | None:
        """When this victim stopped counting as ready."""
        told = (event.at for event in self.scene.pod_events([pod.key], "ContainerUnready"))
        return first([*told, self.scene.lost_at(pod.uid)])


def victims_of(evidence: Evidence, injections: Sequence[InjectionSeen], since: float, *, by_deletion: bool) -> Victims:
    """Whom the records name: pods by ``namespace/pod``, nodes by name (then all pods that were on it)."""
    current = state_at(evidence.pods, since)
    nodes = {item.name for item in evidence.nodes}
    targets = {target_key(item.target) for item in injections}
    hit_nodes = tuple(sorted(target for target in targets if target in nodes))
    pods = tuple(pod for pod in current.values() if pod.key in targets or (pod.node and pod.node in hit_nodes))
    return Victims(pods, hit_nodes, by_deletion)


def group_of(evidence: Evidence, victims: Victims) -> Group:
    """All pods of the Deployments that lost something."""
    owners = {evidence.deployment_of(pod.uid) for pod in victims.pods}
    return Group(evidence, tuple(sorted(owner for owner in owners if owner)), victims.keys)


def fault_story(
    evidence: Evidence, victims: Victims, *, injected: float, undone: float | None, until: float
) -> Story:
    """Finds all marks from ``injected`` to ``until``."""
    scene = Scene(group_of(evidence, victims), injected, until)
    detected, sign = first_sign(scene, victims)
    told = (event.at for event in scene.pod_events(victims.keys, "ContainerUnready"))
    unready = first([*told, *(scene.lost_at(pod.uid) for pod in victims.pods)])
    base = Marks(injected=injected, detected=detected, undone=undone)
    if detected is None:
        restored = undone if undone is not None and undone <= until else None
        return Story(scene, victims, base.model_copy(update={"restored": restored}))
    acted = _acted(scene, victims, detected)
    isolated, last_out = _isolated(scene, victims, detected)
    replacement, running, ready = _replacement(scene, victims, acted, detected, unready)
    rotation = scene.put_in(replacement, ready - 0.5) if replacement and ready is not None else None
    if rotation is not None and ready is not None:
        rotation = max(rotation, ready)
    marks = base.model_copy(update={
        "acted": acted, "isolated": isolated, "running": running, "ready": ready, "in_rotation": rotation,
        "restored": _restored(scene, victims, detected, running, ready, rotation),
    })
    return Story(scene, victims, marks, sign, unready, replacement, last_out)


def first_sign(scene: Scene, victims: Victims) -> tuple[float | None, str]:
    """The first evidence in the cluster's own view, and what it was: an Event, or what the watch told."""
    evidence = scene.evidence
    signs: list[tuple[float, str]] = []
    for event in scene.pod_events(victims.keys, *ALARMS):
        signs.append((event.at, f"{event.reason}: {event.message}"))
    for event in evidence.events:
        if event.reason == "NodeNotReady" and event.at >= scene.since and event.about.split("/")[-1] in victims.nodes:
            signs.append((event.at, f"NodeNotReady: {event.message}"))
    for node in evidence.nodes:
        if node.name in victims.nodes and node.at >= scene.since and not node.ready:
            signs.append((node.at, f"node not ready: {node.why}"))
            break
    uids = {pod.uid: pod for pod in victims.pods}
    for pod in scene.after(scene.since):
        known = uids.get(pod.uid)
        if known is None:
            continue
        if pod.deleting or pod.gone:
            signs.append((pod.at, "deleted"))
            break
        if pod.restarts > known.restarts or (known.ready and not pod.ready):
            signs.append((pod.at, "status"))
            break
    found = sorted(sign for sign in signs if sign[0] <= scene.until)
    # What an agent tells in one breath (unready, held back) is told of the death that it follows from.
    death = next((sign for sign in found if sign[1].startswith("ContainerDied")), None)
    if death is not None and death[0] <= found[0][0] + SAME_BREATH_S:
        return found[0][0], death[1]
    return found[0] if found else (None, "")


def _acted(scene: Scene, victims: Victims, detected: float) -> float | None:
    """The first healing action. Deleting is one when the cluster does it, not when the fault does."""
    acts = [event for event in scene.pod_events(victims.keys, *ACTS) if event.at >= detected]
    if victims.by_deletion:
        acts = [event for event in acts if event.reason not in ("Killing", "TaintManagerEviction")]
    moments: list[float | None] = [event.at for event in acts]
    uids = {pod.uid for pod in victims.pods}
    if victims.nodes:
        gone = scene.first_sighting(lambda pod: pod.uid in uids and (pod.deleting or pod.gone), detected)
        moments.append(gone.at if gone else None)
    moments += [pod.at for pod in scene.new_pods() if pod.at >= detected]
    # Where Events carry no moments, a status may tell of a restart before the Event that says so arrives.
    before = {pod.uid: pod.restarts for pod in victims.pods}
    restarted = scene.first_sighting(lambda pod: pod.restarts > before.get(pod.uid, pod.restarts), detected)
    moments.append(restarted.at if restarted else None)
    return first(moments)


def _isolated(scene: Scene, victims: Victims, detected: float) -> tuple[float | None, PodSeen | None]:
    """When the last victim that got requests was out of rotation (and the gateway knew), and which it was."""
    serving = scene.in_rotation_before(victims.keys)
    moments = [(scene.taken_out(pod.key), pod) for pod in victims.pods if pod.key in serving]
    known = [(moment, pod) for moment, pod in moments if moment is not None]
    if not known or len(known) < len(moments):
        return None, None
    moment, pod = max(known, key=lambda item: item[0])
    return max(moment, detected), pod


def _replacement(
    scene: Scene, victims: Victims, acted: float | None, detected: float, unready: float | None
) -> tuple[str, float | None, float | None]:
    """(pod, running, ready) of the first replacement that became ready; a victim that came back by itself has no
    running mark."""
    candidates: list[tuple[float, float, str]] = []
    halfway: list[tuple[float, str]] = []
    if acted is not None:
        fresh = {pod.key for pod in scene.new_pods()}
        for key in fresh | victims.keys:
            told = first(event.at for event in scene.pod_events([key], "Started") if event.at >= acted)
            started = first([told, _running_by_watch(scene, key, acted, victims)])
            if started is None:
                continue
            ready = scene.ready_at(key, started)
            if ready is None:
                halfway.append((started, key))
            else:
                candidates.append((ready, started, key))
    if candidates:
        ready, started, key = min(candidates)
        return key, started, ready
    if halfway:
        started, key = min(halfway)
        return key, started, None
    if acted is None and unready is not None:
        back = [(moment, key) for key in victims.keys if (moment := scene.ready_at(key, unready)) is not None]
        if back:
            return min(back)[1], None, min(back)[0]
    return "", None, None


def _running_by_watch(scene: Scene, key: str, acted: float, victims: Victims) -> float | None:
    """By the watch, which may be before an Event that tells no moment: a new pod that runs, or a victim with more
    restarts that runs."""
    before = {pod.uid: pod.restarts for pod in victims.pods}
    found = scene.first_sighting(
        lambda pod: pod.key == key and pod.running and not pod.deleting
        and (pod.uid not in before or pod.restarts > before[pod.uid]), acted)
    return found.at if found else None


def _restored(
    scene: Scene, victims: Victims, detected: float, running: float | None, ready: float | None,
    rotation: float | None,
) -> float | None:
    """As many ready pods as desired, after the last victim stopped counting, and the replacement in rotation."""
    lost = last(scene.lost_at(pod.uid) for pod in victims.pods if pod.ready)
    if lost is None:  # restarted faster than anyone could tell, or never lost readiness
        return last([ready, rotation]) if ready is not None else None
    enough = scene.enough_ready(max(lost, detected))
    if enough is None or (running is not None and ready is None):
        return None
    return last([enough, ready, rotation])
