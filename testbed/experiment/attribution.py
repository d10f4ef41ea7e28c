"""Where the seconds of a fault's two paths went: what each gap is cut from. Pure.

A path is what one pod waited for: isolation, the victim that was taken out last; repair, the replacement that got there
first, and from then on the pod that made the whole complete. Its stretches come from three rules: how it was noticed
(`noticing`), what was waited for before anything was done, and the pod's own life from then on (`pod_life`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from testbed.core.profile import Profile
from testbed.experiment.exactness import SAME_S, Exactness
from testbed.experiment.fault_marks import Story
from testbed.experiment.noticing import Noticing
from testbed.experiment.observations import PodSeen
from testbed.experiment.pod_life import CONTROL_S, ENDPOINTS_S, PodLife, Told
from testbed.experiment.pod_probes import probe_in, probe_of, toleration_s
from testbed.experiment.result.timeline import Gap
from testbed.experiment.scene import first, last
from testbed.experiment.segments import Segment, Track, cut, explained

_LOOKS = re.compile(r"every (\d+(?:\.\d+)?) s")  # in an order to stop: how often who gave it looks


class FaultPaths:
    """Both paths of one fault. ``effect_s``: how long it took at most until it was in force."""

    def __init__(self, story: Story, profile: Profile, exactness: Exactness, *, effect_s: float = 0.0) -> None:
        self.story, self.profile, self.exactness = story, profile, exactness
        self.scene, self.marks = story.scene, story.marks
        self._pods = {pod.key: pod for pod in story.victims.pods}
        self._noticing = Noticing(story, profile, exactness, effect_s)

    def filled(self, gaps: Sequence[Gap]) -> tuple[Gap, ...]:
        """The gaps with their parts and uncertainties."""
        away = self.scene.evidence.away
        isolation, repair, rest = (explained(track, away) for track in (self._isolation(), *self._repair()))
        border = last([self.marks.in_rotation, self.marks.ready])
        found = []
        for gap in gaps:
            late = gap.path == "repair" and border is not None and gap.start_s >= border - 1e-9
            segments = isolation if gap.path == "isolation" else rest if late else repair
            found.append(divided(gap, segments, self.exactness))
        return tuple(found)

    # --- isolation

    def _isolation(self) -> list[Segment]:
        pod = self.story.last_out or next(iter(self._pods.values()), None)
        if pod is None or self.marks.detected is None:
            return []
        track, sign = self._noticing.of(pod)
        end = self.marks.isolated if self.marks.isolated is not None else self.scene.until
        unready = self.story.unready_at(pod)
        if unready is not None:
            self._taken_out(track, pod, sign, min(unready, end))
        if self.story.supervisor:
            self._served_until_its_end(track, pod, sign, end)
        track.to(end, "endpoints", "EndpointSlice written and gateway programmed", limit_s=ENDPOINTS_S,
                 u=self.exactness.of(end))
        return track.segments

    def _served_until_its_end(self, track: Track, pod: PodSeen, sign: str, until: float) -> None:
        """Another supervisor's routing may ask nobody whether a container is ready: then only its end takes it out."""
        life = PodLife(self.scene, pod.key, self.profile, self.exactness)
        died = first(word.at for word in life.words if word.reason == "ContainerDied" and track.at < word.at <= until)
        if died is None:
            return
        order = next((word for word in life.words if word.reason == "Killing" and track.at <= word.at <= died), None)
        if order is not None:
            self._waited_for_stop(track, life, sign, order)
            track.follow(life.segments(order.at, died))

    def _taken_out(self, track: Track, pod: PodSeen, sign: str, until: float) -> None:
        """From the first sign until the pod no longer counts as ready."""
        life, u = PodLife(self.scene, pod.key, self.profile, self.exactness), self.exactness.of(until)
        readiness = probe_of(life.spec, "readiness")
        died = first(word.at for word in life.words if word.reason == "ContainerDied"
                     and track.at - 1e-6 <= word.at <= until + u)
        # One that is being stopped may still be ready: only its end takes it out.
        ended = self._ended(life, track.at, until) if died is not None else None
        if ended is not None and died is not None:
            self._waited_for_stop(track, life, sign, ended)
            track.follow(life.segments(ended.at, min(died, until)))
            track.to(until, "control", "no longer counted as ready", limit_s=CONTROL_S, u=u)
        elif sign.startswith(("Unhealthy", "status")) and readiness is not None:
            failed = probe_in(sign.partition(": ")[2], life.spec)
            seen = 1 if failed is not None and failed.name == "readiness" else 0
            track.to(until, "probe", f"{readiness.title}: {readiness.threshold}", limit_s=readiness.failing_s(seen),
                     u=u)
        elif self.story.victims.nodes:
            track.to(until, "control", "pods of a node that is not ready are taken out", limit_s=CONTROL_S, u=u)
        else:
            track.to(until, "control", "no longer counted as ready", limit_s=CONTROL_S, u=u)

    # --- repair

    def _repair(self) -> tuple[list[Segment], list[Segment]]:
        """(until the first replacement was in rotation, from then on)."""
        end = last([self.marks.restored, self.marks.in_rotation, self.marks.ready, self.marks.running,
                    self.marks.acted]) or self.scene.until
        main = self._path(self.story.replacement, end)
        critical = self._completing(end)
        return main, (self._path(critical, end) if critical and critical != self.story.replacement else main)

    def _completing(self, end: float) -> str:
        """The pod that became ready last before the end: all waited for it."""
        edges: list[tuple[float, str]] = []
        ready = {pod.key for pod in self.scene.before.values() if pod.ready}
        for pod in self.scene.after(self.scene.since):
            if pod.at > end + 1e-9:
                break
            if pod.ready and pod.key not in ready:
                edges.append((pod.at, pod.key))
            (ready.add if pod.ready else ready.discard)(pod.key)
        return max(edges)[1] if edges else ""

    def _path(self, key: str, end: float) -> list[Segment]:
        """All that a pod waited for from the injection on."""
        victim = self._pods.get(key)
        if victim is not None and not self._replaced(key):
            return self._of_victim(victim, end)
        return self._of_new_pod(key, end)

    def _replaced(self, key: str) -> bool:
        """A new pod of a victim's name (a StatefulSet's)."""
        return any(pod.key == key for pod in self.scene.new_pods())

    def _of_victim(self, pod: PodSeen, end: float) -> list[Segment]:
        """One that stays: restarted in its place, or well again when the fault was over."""
        if self.marks.detected is None:
            return self._unnoticed(end)
        track, sign = self._noticing.of(pod)
        life = PodLife(self.scene, pod.key, self.profile, self.exactness)
        stopped = self._ended(life, track.at, end)
        if stopped is not None:
            self._waited_for_stop(track, life, sign, stopped)
            track.follow(life.segments(stopped.at, end))
            return track.segments
        undone = self.marks.undone
        if undone is not None and undone < end:
            track.to(undone, "fault", "the fault lasted until it was undone")
        ready = self.scene.ready_at(pod.key, track.at)
        probe = probe_of(life.spec, "readiness")
        if ready is not None:
            words = f"waiting for the next {probe.title}: {probe.period}" if probe else "waiting for readiness"
            track.to(ready, "readiness", words, u=self.exactness.of(ready),
                     limit_s=probe.passing_s if probe else CONTROL_S)
        track.to(end, "endpoints", "EndpointSlice written and gateway programmed", limit_s=ENDPOINTS_S,
                 u=self.exactness.of(end))
        return track.segments

    def _of_new_pod(self, key: str, end: float) -> list[Segment]:
        """One that was made in a victim's stead."""
        if self.marks.detected is None:
            return self._unnoticed(end)
        track, sign = self._noticing.of(None)
        acted = self.marks.acted
        if acted is None or not key:
            return track.segments
        self._waited_for_replacement(track, sign, acted)
        made = first(pod.at for pod in self.scene.new_pods() if pod.key == key)
        self._waited_for_end(track, acted, made)
        track.to(made, "control", "its pod made by the controller", limit_s=CONTROL_S,
                 u=self.exactness.of(made or acted))
        track.follow(PodLife(self.scene, key, self.profile, self.exactness).segments(track.at, end))
        return track.segments

    def _unnoticed(self, end: float) -> list[Segment]:
        track = Track(self.scene.since)
        if self.marks.undone is not None:
            track.to(min(self.marks.undone, end), "fault", "the fault lasted until it was undone; nobody noticed it")
        return track.segments

    # --- what was waited for before anything was done

    def _ended(self, life: PodLife, since: float, until: float) -> Told | None:
        """The order to stop a victim, or its end, whichever was told first from the first sign on."""
        return next((word for word in life.words if word.reason in ("Killing", "ContainerDied")
                     and since - 1e-6 <= word.at <= until), None)

    def _waited_for_stop(self, track: Track, life: PodLife, sign: str, stopped: Told) -> None:
        if stopped.reason == "Killing":
            name = next((name for name in ("liveness", "startup") if f"{name} probe" in stopped.message), "liveness")
            probe = probe_of(life.spec, name)
            if probe is not None:
                failed = probe_in(sign.partition(": ")[2], life.spec)
                seen = 1 if failed is not None and failed.name == name else 0
                judged, pause = stopped.at, _LOOKS.search(stopped.message)
                if probe.by_engine:  # the check has judged; who stops it is another, and may ask only now and then
                    judged = first(word.at for word in life.words if word.reason == "ContainerUnready"
                                   and track.at - SAME_S <= word.at <= stopped.at) or stopped.at
                track.to(judged, "probe", f"{probe.title}: {probe.threshold}", limit_s=probe.failing_s(seen),
                         u=stopped.u)
                if pause is not None:
                    track.to(stopped.at, "probe", f"until it was looked at again: every {pause.group(1)} s",
                             limit_s=float(pause.group(1)) + CONTROL_S, u=stopped.u)
                track.to(stopped.at, "control", "until it was stopped", limit_s=CONTROL_S, u=stopped.u)
                return
            if self.story.victims.nodes:
                self._evicted(track, stopped.at)
                return
        track.to(stopped.at, "control", "until it was stopped", limit_s=CONTROL_S, u=stopped.u)

    def _waited_for_replacement(self, track: Track, sign: str, acted: float) -> None:
        stopped = self._stopped_at(acted) if self.story.supervisor else None
        if stopped is not None and sign.startswith(("Unhealthy", "status", "ContainerUnready")):
            life, order = stopped
            self._waited_for_stop(track, life, sign, order)
        elif self.story.victims.by_deletion or sign == "deleted":
            track.to(acted, "control", "the controller made a replacement", limit_s=CONTROL_S,
                     u=self.exactness.of(acted))
        elif self.story.victims.nodes:
            self._evicted(track, acted)
        else:
            track.to(acted, "control", "until something was done", limit_s=CONTROL_S, u=self.exactness.of(acted))

    def _stopped_at(self, moment: float) -> tuple[PodLife, Told] | None:
        """The victim that was ordered to stop at that moment, and the order."""
        for pod in self.story.victims.pods:
            life = PodLife(self.scene, pod.key, self.profile, self.exactness)
            order = next((word for word in life.words if word.reason == "Killing" and abs(word.at - moment) < SAME_S),
                         None)
            if order is not None:
                return life, order
        return None

    def _waited_for_end(self, track: Track, acted: float, made: float | None) -> None:
        """Another supervisor makes a replacement when the victim has ended: with the grace that it was given."""
        stopped = self._stopped_at(acted) if self.story.supervisor else None
        if stopped is None or made is None:
            return
        life, order = stopped
        ended = first(word.at for word in life.words if word.reason == "ContainerDied" and order.at <= word.at <= made)
        if ended is not None:
            track.follow(life.segments(order.at, ended))

    def _evicted(self, track: Track, until: float) -> None:
        if self.story.supervisor:
            track.to(until, "eviction-timeout", f"{self.story.supervisor} made a replacement, by its own rules",
                     u=self.exactness.of(until))
            return
        specs = [self.scene.evidence.pod_spec(pod.key) for pod in self.story.victims.pods]
        stay_s = min((seconds for spec in specs if (seconds := toleration_s(spec, self.profile)) is not None),
                     default=None)
        if stay_s is None:
            return  # tolerated for ever: whatever replaced it, no rule of eviction did
        slack_s = self.profile.node_monitor_period_s + 1 / self.profile.node_eviction_rate_per_s
        track.to(until, "eviction-timeout",
                 f"toleration {stay_s:g} s of node.kubernetes.io/unreachable, then evicted",
                 limit_s=stay_s + slack_s, u=self.exactness.of(until))


def divided(gap: Gap, segments: Sequence[Segment], exactness: Exactness) -> Gap:
    """``gap`` with its parts, and with how exact its length is."""
    start_u, end_u = exactness.of(gap.start_s), exactness.of(gap.end_s)
    return gap.model_copy(update={
        "parts": cut(segments, gap.start_s, gap.end_s, start_u, end_u), "uncertainty_s": start_u + end_u})
