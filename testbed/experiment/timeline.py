"""From evidence to recovery timelines: one `Disruption` for each thing that the cluster suffered. Pure.

What each mark is stands in `fault_marks` and `rollout_marks`, what each gap cost in `causes`; here they are joined with
what the clients met (`clients`), and what nobody here injected is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from testbed.core.profile import Profile
from testbed.experiment.causes import FaultCauses
from testbed.experiment.clients import Clients
from testbed.experiment.fault_marks import Story, Victims, fault_story, victims_of
from testbed.experiment.observations import Evidence, InjectionSeen
from testbed.experiment.result import Disruption, Gap, Marks
from testbed.experiment.rollout_marks import chain, rollout_marks
from testbed.experiment.scene import first, last, state_at

ISOLATION = ("injected", "detected", "isolated")
REPAIR = ("injected", "detected", "acted", "running", "ready", "in_rotation", "restored")
UNINVITED_SLACK_S = 2.0


@dataclass(frozen=True)
class Act:
    """What the runner did in one step, and when the API took it.

    Attributes:
        what: in words. deployment: key of the Deployment that was changed; "" for faults, and where nothing rolls out.
        generation: of that Deployment after the change.
        ended: when its marks are no longer looked for: the next change of the same Deployment.
    """

    name: str
    kind: Literal["fault", "rollout", "scale", "apply", "patch"]
    what: str
    started: float
    jitter_s: float = 0.0
    deployment: str = ""
    generation: int = 0
    by_deletion: bool = False
    injections: tuple[InjectionSeen, ...] = ()
    ended: float | None = None


def disruption_of(
    act: Act, evidence: Evidence, profile: Profile, *, until: float, clients: Clients | None = None,
    next_started: float | None = None,
) -> Disruption:
    """The timeline of one step.

    Args:
        until: the end of what was watched. next_started: when the next step began; failures from then on are its.
    """
    if act.kind == "fault":
        found = _of_fault(act, evidence, profile, until)
    else:
        found = _of_change(act, evidence, min(until, act.ended or until))
    return _with_clients(found, clients, next_started, until)


def _of_fault(act: Act, evidence: Evidence, profile: Profile, until: float) -> Disruption:
    injected = first(item.began for item in act.injections)
    undone = last(item.recovered for item in act.injections)
    targets = tuple(item.target for item in act.injections)
    failures = tuple(dict.fromkeys(item.failure for item in act.injections if item.failure))
    base = Disruption(
        name=act.name, kind="fault", what=act.what, targets=targets, jitter_s=act.jitter_s, notes=failures,
        verified=bool(act.injections) and all(item.verified is not None for item in act.injections),
    )
    if injected is None:
        return base
    victims = victims_of(evidence, act.injections, injected, by_deletion=act.by_deletion)
    story = fault_story(evidence, victims, injected=injected, undone=undone, until=until)
    end = _in_force_until(story, undone, until)
    restarts = _restarts(evidence, victims, injected, until)
    return _filled(base, story, profile, restarts).model_copy(
        update={"window_s": (injected, max(injected, end))})


def _in_force_until(story: Story, undone: float | None, until: float) -> float:
    """A fault of a node lasts until it is undone, one of a pod ends with what it had hit: with its replacement."""
    replaced = None if story.victims.nodes else story.marks.running
    found = first([undone, replaced])
    return until if found is None else found


def _filled(base: Disruption, story: Story, profile: Profile, restarts: int) -> Disruption:
    notes = list(base.notes)
    if story.marks.detected is None:
        notes.append("the cluster did not notice it")
    elif story.marks.acted is None and story.marks.restored is not None:
        notes.append("nothing was restarted or replaced: it ended with the fault")
    if story.marks.detected is not None and story.marks.isolated is None and \
            story.scene.in_rotation_before(story.victims.keys):
        notes.append("the victim was never taken out of rotation")
    return base.model_copy(update={
        "marks": story.marks, "gaps": fault_gaps(story, profile), "restarts": restarts, "notes": tuple(notes),
    })


def fault_gaps(story: Story, profile: Profile) -> tuple[Gap, ...]:
    """Both paths of a fault, each gap with its cause."""
    causes, marks = FaultCauses(story, profile), story.marks

    def of_repair(name: str, seconds: float) -> str:
        if name == "restored" and marks.detected is None:
            return "the fault ended; the cluster did not notice it"
        if name == "running":
            return causes.running(marks.acted or 0.0, marks.running or 0.0)
        return causes.named(name, seconds, ran=marks.running is not None)

    return _isolation_gaps(story, causes) + chain(marks, "repair", REPAIR, of_repair)


def _isolation_gaps(story: Story, causes: FaultCauses) -> tuple[Gap, ...]:
    marks = story.marks
    gaps = list(chain(marks, "isolation", ISOLATION,
                      lambda name, seconds: causes.detected() if name == "detected" else causes.isolated(seconds)))
    if len(gaps) == 2 and story.unready is not None:
        last_gap = gaps.pop()
        middle = min(max(story.unready, last_gap.start_s), last_gap.end_s)
        if middle > last_gap.start_s:
            gaps.append(last_gap.model_copy(update={"end_mark": "unready", "end_s": middle, "cause": causes.unready()}))
        gaps.append(last_gap.model_copy(update={"start_mark": gaps[-1].end_mark, "start_s": middle,
                                                "cause": causes.isolated(last_gap.end_s - middle)}))
    return tuple(gaps)


def _restarts(evidence: Evidence, victims: Victims, since: float, until: float) -> int:
    """Container restarts of the victims after the fault."""
    before = {pod.uid: pod.restarts for pod in victims.pods}
    after = state_at(evidence.pods, until)
    return sum(max(0, after[uid].restarts - count) for uid, count in before.items() if uid in after)


def _of_change(act: Act, evidence: Evidence, until: float) -> Disruption:
    if not act.deployment:  # a Service, an Ingress: done with the write
        return Disruption(name=act.name, kind=act.kind, what=act.what, window_s=(act.started, act.started),
                          marks=Marks(injected=act.started, restored=act.started))
    base = Disruption(name=act.name, kind=act.kind, what=act.what, targets=(f"deployment {act.deployment}",))
    marks, gaps = rollout_marks(evidence, act.deployment, act.generation, injected=act.started, until=until,
                                scaled=act.kind == "scale")
    notes = []
    if marks.stalled is not None:
        notes.append("the rollout stalled: its new pods did not become ready")
    end = marks.restored if marks.restored is not None else until
    return base.model_copy(update={"marks": marks, "gaps": gaps, "window_s": (act.started, end),
                                   "notes": tuple(notes)})


def _with_clients(
    found: Disruption, clients: Clients | None, next_started: float | None, until: float
) -> Disruption:
    """Adds what users met from its injection to the next disruption's."""
    injected = found.marks.injected
    if clients is None or injected is None:
        return found
    end = until if next_started is None else max(injected, next_started)
    marks = clients.marks(injected, end)
    return found.model_copy(update={
        "marks": found.marks.model_copy(update=marks), "outages": clients.outages(injected, end),
        "requests": clients.requests(injected, end),
    })


# --- what nobody here injected


def uninvited(
    evidence: Evidence, known: Sequence[Disruption], profile: Profile, *, until: float,
    clients: Clients | None = None, number_from: int = 1, since: float = 0.0,
) -> tuple[Disruption, ...]:
    """Deaths and lost nodes that no step explains, each with a timeline counted from the moment it was seen."""
    found: list[Disruption] = []
    for at, victims, what, target in _unexplained(evidence, known, since):
        injection = InjectionSeen(target, began=at, verified=at)
        if any(other.window_s and other.window_s[0] <= at <= other.window_s[1] for other in found):
            continue
        story = fault_story(evidence, victims, injected=at, undone=None, until=until)
        restored = story.marks.restored
        base = Disruption(name=f"uninvited-{number_from + len(found)}", kind="uninvited", what=what,
                          targets=(injection.target,), window_s=(at, restored if restored is not None else until))
        filled = _filled(base, story, profile, _restarts(evidence, victims, at, until))
        end = last([restored, at + UNINVITED_SLACK_S])
        found.append(_with_clients(filled, clients, min(until, end if end is not None else until), until))
    return tuple(found)


def _unexplained(
    evidence: Evidence, known: Sequence[Disruption], since: float
) -> Iterable[tuple[float, Victims, str, str]]:
    for event in sorted(evidence.events, key=lambda item: item.at):
        kind, _, key = event.about.partition("/")
        if event.at < since or event.reason not in ("ContainerDied", "NodeNotReady"):
            continue
        if event.reason == "NodeNotReady":
            node = key.rpartition("/")[2]
            if kind == "Node" and not _explained(event.at, node, known):
                pods = tuple(pod for pod in state_at(evidence.pods, event.at).values() if pod.node == node)
                yield event.at, Victims(pods, (node,)), "a node was lost", node
            continue
        pod = next((item for item in state_at(evidence.pods, event.at).values() if item.key == key), None)
        if pod is None or pod.deleting or not evidence.deployment_of(pod.uid) or _explained(event.at, key, known):
            continue
        if _stopped_by_cluster(evidence, event.about, event.at):
            continue
        yield event.at, Victims((pod,)), "a container died", key


def _stopped_by_cluster(evidence: Evidence, about: str, at: float) -> bool:
    """Whether the agent itself had ordered this death (liveness, deletion)."""
    orders = [event.at for event in evidence.events
              if event.about == about and event.reason == "Killing" and event.at <= at]
    starts = [event.at for event in evidence.events
              if event.about == about and event.reason == "Started" and event.at <= at]
    return bool(orders) and (not starts or max(orders) > max(starts))


def _explained(at: float, key: str, known: Sequence[Disruption]) -> bool:
    for item in known:
        injected = item.marks.injected
        if injected is None or at < injected - 0.05:
            continue
        end = last([item.marks.restored, item.marks.undone, item.window_s[1] if item.window_s else None])
        if end is not None and at > end + UNINVITED_SLACK_S:
            continue
        targets = {"/".join(target.split("/")[:2]) for target in item.targets}
        if item.kind != "fault" or key in targets or not any("/" in target for target in targets):
            return True
    return False


def settled(marks: Marks) -> bool:
    """Whether nothing more is to be waited for."""
    return marks.restored is not None or marks.stalled is not None
