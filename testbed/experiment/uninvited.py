"""Finds what nobody here injected: deaths and lost nodes that no step explains. Pure.

A person's ``docker kill``, an application that crashes, a node that goes away: each gets a timeline of its own, counted
from the earliest witness. What the agent itself ordered (a liveness restart, a deletion) is not uninvited.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.core.profile import Profile
from testbed.experiment.clients import Clients
from testbed.experiment.exactness import Exactness
from testbed.experiment.fault_marks import Victims, fault_story
from testbed.experiment.observations import ENGINE_LAG_S, Evidence, PodSeen
from testbed.experiment.result import Disruption
from testbed.experiment.result.timeline import Sighting
from testbed.experiment.scene import first, last, state_at
from testbed.experiment.timeline import filled, with_clients

SLACK_S = 2.0
SAME_S = 1.0  # two witnesses of a death this close saw the same one


@dataclass(frozen=True)
class Loss:
    """``at``: by the earliest witness, ``witness``."""

    at: float
    victims: Victims
    what: str
    target: str
    witness: Sighting


def uninvited(
    evidence: Evidence, known: Sequence[Disruption], profile: Profile, *, until: float,
    clients: Clients | None = None, number_from: int = 1, since: float = 0.0,
) -> tuple[Disruption, ...]:
    """One disruption for each loss from ``since`` on that no ``known`` one explains."""
    found: list[Disruption] = []
    exactness = Exactness(evidence)
    for loss in _losses(evidence, known, since, until):
        if any(other.window_s and other.window_s[0] <= loss.at <= other.window_s[1] for other in found):
            continue
        story = fault_story(evidence, loss.victims, injected=loss.at, undone=None, until=until)
        restored = story.marks.restored
        base = Disruption(
            name=f"uninvited-{number_from + len(found)}", kind="uninvited", what=loss.what, targets=(loss.target,),
            window_s=(loss.at, restored if restored is not None else until))
        told = filled(base, story, profile, exactness, effect_s=ENGINE_LAG_S)
        told = told.model_copy(update={"disrupted": True, "sightings": (loss.witness, *told.sightings)})
        end = last([restored, loss.at + SLACK_S])
        found.append(with_clients(told, clients, min(until, end if end is not None else until), until))
    return tuple(found)


def _losses(evidence: Evidence, known: Sequence[Disruption], since: float, until: float) -> list[Loss]:
    found = [*_lost_nodes(evidence, known), *_deaths(evidence, known, until)]
    return sorted((loss for loss in found if loss.at >= since), key=lambda loss: loss.at)


def _lost_nodes(evidence: Evidence, known: Sequence[Disruption]) -> Iterable[Loss]:
    for event in evidence.events:
        kind, _, key = event.about.partition("/")
        node = key.rpartition("/")[2]
        if event.reason == "NodeNotReady" and kind == "Node" and not _explained(event.at, node, known):
            pods = tuple(pod for pod in state_at(evidence.pods, event.at).values() if pod.node == node)
            witness = Sighting(mark="injected", witness="api", at_s=event.at, what=event.reason)
            yield Loss(event.at, Victims(pods, (node,)), "a node was lost", node, witness)


def _deaths(evidence: Evidence, known: Sequence[Disruption], until: float) -> Iterable[Loss]:
    told = [(event.at, event.about.partition("/")[2], "ContainerDied") for event in evidence.events
            if event.reason == "ContainerDied"]
    # Where no agent tells of deaths, the engine does; a restart that only the watch counted is the last resort.
    told += [(seen.at, seen.pod, f"engine: {seen.action}") for seen in evidence.engine if seen.action == "die"]
    told += [(pod.at, pod.key, "restart counted") for pod in _more_restarts(evidence)]
    done: list[tuple[float, str]] = []
    for at, key, witness in sorted(told):
        if at > until or any(key == other and at - earlier <= SAME_S for earlier, other in done):
            continue
        done.append((at, key))
        pod = next((item for item in state_at(evidence.pods, at).values() if item.key == key), None)
        if pod is None or pod.deleting or not evidence.deployment_of(pod.uid) or _explained(at, key, known):
            continue
        if not _stopped_by_cluster(evidence, key, at):
            yield _death(evidence, pod, at, witness)


def _more_restarts(evidence: Evidence) -> Iterable[PodSeen]:
    if any(event.reason == "ContainerDied" for event in evidence.events) or evidence.engine:
        return
    before: dict[str, int] = {}
    for pod in evidence.pods:
        if pod.restarts > before.get(pod.uid, pod.restarts):
            yield pod
        before[pod.uid] = pod.restarts


def _death(evidence: Evidence, pod: PodSeen, at: float, witness: str) -> Loss:
    """Counted from the earliest witness: the engine's ``kill`` is a person's order to it, before the end itself."""
    orders = [seen for seen in evidence.engine
              if seen.pod == pod.key and seen.action in ("kill", "die", "oom") and at - SAME_S <= seen.at <= at]
    earliest = first([at, *(seen.at for seen in orders)]) or at
    by_engine = next((seen for seen in orders if seen.at == earliest), None)
    sighting = Sighting(
        mark="injected", witness="api" if by_engine is None and not witness.startswith("engine") else "engine",
        at_s=earliest, uncertainty_s=0.001 if witness == "ContainerDied" and by_engine is None else ENGINE_LAG_S,
        what=witness if by_engine is None else f"{by_engine.action} {by_engine.container}")
    killed = any(seen.pod == pod.key and seen.action == "kill" and abs(seen.at - at) <= SAME_S
                 for seen in evidence.engine)
    return Loss(earliest, Victims((pod,)), "a container was killed through the engine" if killed else
                "a container died", pod.key, sighting)


def _stopped_by_cluster(evidence: Evidence, key: str, at: float) -> bool:
    """Whether the agent itself had ordered this death (liveness, deletion)."""
    about = f"Pod/{key}"
    orders = [event.at for event in evidence.events
              if event.about == about and event.reason == "Killing" and event.at <= at + ENGINE_LAG_S]
    starts = [event.at for event in evidence.events
              if event.about == about and event.reason == "Started" and event.at <= at]
    return bool(orders) and (not starts or max(orders) > max(starts))


def _explained(at: float, key: str, known: Sequence[Disruption]) -> bool:
    for item in known:
        injected = item.marks.injected
        if injected is None or at < injected - 0.05:
            continue
        end = last([item.marks.restored, item.marks.undone, item.window_s[1] if item.window_s else None])
        if end is not None and at > end + SLACK_S:
            continue
        targets = item.target_keys
        if item.kind != "fault" or key in targets or not any("/" in target for target in targets):
            return True
    return False
