"""Where the seconds went from a fault's act until somebody noticed it: by a probe, by a silence, by an end. Pure.

The first part of both paths of `attribution`; for one victim, or for whichever was noticed first.
"""

from __future__ import annotations

from testbed.core.profile import Profile
from testbed.experiment.durations import say_setting
from testbed.experiment.exactness import Exactness
from testbed.experiment.fault_marks import Story, Victims, first_sign
from testbed.experiment.observations import PodSeen
from testbed.experiment.pod_probes import probe_in, probe_of
from testbed.experiment.result.timeline import Kind
from testbed.experiment.scene import last
from testbed.experiment.segments import Track

NOTICE_S = 0.25  # from an end to the agent's word of it: a millisecond by pidfd, more on a machine that is busy
RELIST_S = 1.0  # how often an agent looks that has nothing better (kubernetes: pleg relist)


class Noticing:
    """``effect_s``: how long it took at most until the fault was in force."""

    def __init__(self, story: Story, profile: Profile, exactness: Exactness, effect_s: float) -> None:
        self._story, self._profile, self._exactness, self._effect_s = story, profile, exactness, effect_s
        self._scene, self._marks = story.scene, story.marks

    def of(self, pod: PodSeen | None) -> tuple[Track, str]:
        """From the injection to the first sign: of one victim, or of any."""
        victims = self._story.victims if pod is None else Victims((pod,), self._story.victims.nodes,
                                                                 self._story.victims.by_deletion)
        at, sign = first_sign(self._scene, victims)
        track = Track(self._scene.since)
        if at is None:
            at, sign = self._marks.detected, self._story.first_sign
        if at is None:
            return track, ""
        spec = self._scene.evidence.pod_spec((pod or next(iter(victims.pods))).key) if victims.pods else {}
        u, message = self._exactness.of(at), sign.partition(": ")[2]
        if self._story.supervisor and victims.nodes and not sign.startswith(("ContainerDied", "Unhealthy", "deleted")):
            track.to(at, "eviction-timeout", self._story.node_given_up, u=u)
        elif sign.startswith(("NodeNotReady", "node not ready")):
            profile = self._profile
            words = (f"node monitor grace {say_setting(profile.node_monitor_grace_s)}, looked at every "
                     f"{say_setting(profile.node_monitor_period_s)}")
            self._waited(track, at, "eviction-timeout", words,
                         profile.node_monitor_grace_s + profile.node_monitor_period_s, u)
        elif sign.startswith("Unhealthy") and (probe := probe_in(message, spec)) is not None:
            words = f"next {probe.title}: {probe.period}, timeoutSeconds {probe.timeout_s:g}"
            self._waited(track, at, "probe", words, probe.first_failure_s, u)
        elif sign == "status" and (readiness := probe_of(spec, "readiness")) is not None and \
                pod is not None and not self._died(pod, at):
            self._waited(track, at, "probe", f"{readiness.title}: {readiness.threshold}", readiness.failing_s(), u)
        else:
            self._seen_to_end(track, at, sign, pod, u)
        return track, sign

    def _seen_to_end(self, track: Track, at: float, sign: str, pod: PodSeen | None, u: float) -> None:
        """A death or a deletion: the fault's own act, and the moment until somebody saw it."""
        track.to(min(at, self._scene.since + self._effect_s), "fault", "until the fault had taken effect", u=u)
        evidence = self._scene.evidence
        out_of_memory = last(seen.at for seen in evidence.engine if seen.action == "oom" and seen.at <= at + 0.1
                             and seen.at >= self._scene.since and (pod is None or seen.pod == pod.key))
        if out_of_memory is not None:
            track.to(min(out_of_memory, at), "fault", "until its memory was used up")
        who = "the engine" if self._story.supervisor else "the agent"
        told = f"{who} saw the process end" if sign.startswith("ContainerDied") else \
            "the deletion was seen" if sign == "deleted" else f"{who} noticed it"
        exact = sign.startswith("ContainerDied")
        track.to(at, "noticing", told, limit_s=NOTICE_S if exact else RELIST_S, u=u)

    def _waited(self, track: Track, until: float, kind: Kind, words: str, limit_s: float, u: float) -> None:
        """Arithmetic; what is over it may have gone before the fault was in force."""
        over_s = until - track.at - limit_s
        if over_s > u:
            track.to(track.at + min(over_s, self._effect_s), "fault", "until the fault was in force")
        track.to(until, kind, words, limit_s=limit_s, u=u)

    def _died(self, pod: PodSeen, at: float) -> bool:
        after = next((item for item in self._scene.after(at) if item.uid == pod.uid), None)
        return after is not None and (after.restarts > pod.restarts or not after.running)
