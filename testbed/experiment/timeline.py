"""From evidence to recovery timelines: one `Disruption` for each thing that the cluster suffered. Pure.

What each mark is stands in `fault_marks` and `rollout_marks`, where each gap's seconds went in `attribution` and
`rollout_path`, who saw it in `witnesses`; here they are joined with what the clients met (`clients`). What nobody here
injected is found in `uninvited`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from testbed.core.profile import Profile
from testbed.experiment.attribution import FaultPaths
from testbed.experiment.causes import FaultCauses
from testbed.experiment.clients import Clients
from testbed.experiment.exactness import Exactness
from testbed.experiment.fault_marks import Story, Victims, fault_story, victims_of
from testbed.experiment.observations import Evidence, InjectionSeen
from testbed.experiment.result import Disruption, Gap, Marks, Outage
from testbed.experiment.rollout_marks import chain, rollout_marks
from testbed.experiment.scene import first, last, state_at
from testbed.experiment.witnesses import mark_uncertainties, seen_by_clients, witnessed

ISOLATION = ("injected", "detected", "isolated")
REPAIR = ("injected", "detected", "acted", "running", "ready", "in_rotation", "restored")


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
    next_started: float | None = None, attributed: bool = True,
) -> Disruption:
    """The timeline of one step.

    Args:
        until: the end of what was watched. next_started: when the next step began; failures from then on are its.
        attributed: False leaves the gaps whole, for who asks for the marks alone, and often.
    """
    exactness = Exactness(evidence) if attributed else None
    if act.kind == "fault":
        found = _of_fault(act, evidence, profile, until, exactness)
    else:
        found = _of_change(act, evidence, profile, min(until, act.ended or until), exactness)
    return with_clients(found, clients, next_started, until)


def _of_fault(
    act: Act, evidence: Evidence, profile: Profile, until: float, exactness: Exactness | None
) -> Disruption:
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
    window = (injected, max(injected, _in_force_until(story, undone, until)))
    in_force = last(item.verified for item in act.injections)
    return filled(base.model_copy(update={"window_s": window}), story, profile, exactness,
                  effect_s=max(0.0, (in_force or injected) - injected))


def _in_force_until(story: Story, undone: float | None, until: float) -> float:
    """A fault of a node lasts until it is undone, one of a pod ends with what it had hit: with its replacement."""
    replaced = None if story.victims.nodes else story.marks.running
    found = first([undone, replaced])
    return until if found is None else found


def filled(
    base: Disruption, story: Story, profile: Profile, exactness: Exactness | None, *, effect_s: float = 0.0
) -> Disruption:
    """``base`` with all that its story tells. ``effect_s``: until the fault was in force, at most."""
    notes = list(base.notes)
    if story.marks.detected is None:
        notes.append("the cluster did not notice it")
    elif story.marks.acted is None and story.marks.restored is not None:
        notes.append("nothing was restarted or replaced: it ended with the fault")
    if story.marks.detected is not None and story.marks.isolated is None and \
            story.scene.in_rotation_before(story.victims.keys):
        notes.append("the victim was never taken out of rotation")
    restarts = restarts_of(story.scene.evidence, story.victims, story.scene.since, story.scene.until)
    gaps = fault_gaps(story, profile)
    found = base.model_copy(update={
        "marks": story.marks, "gaps": gaps, "restarts": restarts, "notes": tuple(notes),
        "disrupted": story.marks.detected is not None or restarts > 0,
    })
    if exactness is None:
        return found
    gaps = FaultPaths(story, profile, exactness, effect_s=effect_s).filled(gaps)
    return witnessed(found.model_copy(update={"gaps": gaps}), story, exactness)


def fault_gaps(story: Story, profile: Profile) -> tuple[Gap, ...]:
    """Both paths of a fault, each gap with the setting or act that it is made of."""
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
                      lambda name, _: causes.detected() if name == "detected" else causes.isolated()))
    unready = story.unready if story.last_out is None else story.unready_at(story.last_out)
    if len(gaps) == 2 and unready is not None:
        last_gap = gaps.pop()
        middle = min(max(unready, last_gap.start_s), last_gap.end_s)
        if middle > last_gap.start_s:
            gaps.append(last_gap.model_copy(update={"end_mark": "unready", "end_s": middle, "cause": causes.unready()}))
        gaps.append(last_gap.model_copy(update={"start_mark": gaps[-1].end_mark, "start_s": middle,
                                                "cause": causes.isolated()}))
    return tuple(gaps)


def restarts_of(evidence: Evidence, victims: Victims, since: float, until: float) -> int:
    """Container restarts of the victims after the fault."""
    before = {pod.uid: pod.restarts for pod in victims.pods}
    after = state_at(evidence.pods, until)
    return sum(max(0, after[uid].restarts - count) for uid, count in before.items() if uid in after)


def _of_change(
    act: Act, evidence: Evidence, profile: Profile, until: float, exactness: Exactness | None
) -> Disruption:
    if not act.deployment:  # a Service, an Ingress: done with the write
        return Disruption(name=act.name, kind=act.kind, what=act.what, window_s=(act.started, act.started),
                          marks=Marks(injected=act.started, restored=act.started))
    base = Disruption(name=act.name, kind=act.kind, what=act.what, targets=(f"deployment {act.deployment}",))
    marks, gaps = rollout_marks(evidence, act.deployment, act.generation, injected=act.started, until=until,
                                scaled=act.kind == "scale",
                                attribution=(profile, exactness) if exactness is not None else None)
    notes = []
    if marks.stalled is not None:
        notes.append("the rollout stalled: its new pods did not become ready")
    end = marks.restored if marks.restored is not None else until
    found = base.model_copy(update={"marks": marks, "gaps": gaps, "window_s": (act.started, end),
                                    "notes": tuple(notes)})
    return found if exactness is None else found.model_copy(update={
        "mark_uncertainties": mark_uncertainties(marks, exactness)})


def with_clients(
    found: Disruption, clients: Clients | None, next_started: float | None, until: float
) -> Disruption:
    """Adds what users met from its injection to the next disruption's."""
    injected = found.marks.injected
    if clients is None or injected is None:
        return found
    end = until if next_started is None else max(injected, next_started)
    marks = found.marks.model_copy(update=clients.marks(injected, end))
    outages, requests = clients.outages(injected, end), clients.requests(injected, end)
    hurt = requests.failed > 0 or _felt(outages, found)
    met = found.model_copy(update={
        "marks": marks, "outages": outages, "requests": requests, "disrupted": found.disrupted or hurt,
    })
    return seen_by_clients(met, clients)


def _felt(outages: Sequence[Outage], found: Disruption) -> bool:
    """Slowness without a failed request is felt when it fills a tenth of the time: less is a busy machine's noise."""
    if found.window_s is None:
        return False
    begin, end = found.window_s
    inside_s = sum(max(0.0, min(outage.end_s, end) - max(outage.start_s, begin)) for outage in outages)
    return inside_s > 0.1 * max(end - begin, 1.0)


def settled(marks: Marks) -> bool:
    """Whether nothing more is to be waited for."""
    return marks.restored is not None or marks.stalled is not None
