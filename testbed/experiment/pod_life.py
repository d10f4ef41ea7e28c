"""What became of one pod, as segments: stopped, held back, scheduled, image fetched, started, come up, put in. Pure.

It reads what agents and schedulers tell of a pod, in order; each word begins something that lasts until the next. Where
a platform tells fewer Events, what the engine and the watch saw stands in, and stretches get coarser, not wrong. Which
pod's life a path waits for is decided in `attribution` and `rollout_path`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from testbed.core.profile import Profile
from testbed.experiment.durations import say_setting
from testbed.experiment.exactness import SAME_S, SAME_THING, Exactness
from testbed.experiment.observations import ENGINE_LAG_S
from testbed.experiment.pod_probes import (
    ProbeRule,
    back_off_step_s,
    grace_of,
    has_pre_stop,
    probe_in,
    probe_of,
    say_grace,
    stopping_s,
)
from testbed.experiment.result.timeline import Kind
from testbed.experiment.scene import Scene, first, last
from testbed.experiment.segments import Segment, Track

CONTROL_S = 1.0  # a loop's turn: told by a watch, decided, written; hundreds of milliseconds on a busy machine
ENDPOINTS_S = 1.0  # slice written, gateway programmed: milliseconds here, up to a second with kube-proxy
PREPARE_S = 1.0  # between the end of a wait and the order to start: container made, volumes written
RESTART_S = 2.0  # from an end to the start of what follows, where nothing is told in between; 0.3 s on a calm machine
KILL_S = 1.0  # from SIGKILL to the end of the last process, as the agent tells it

IMAGE_REFUSED = ("failed to pull image", "error: errimagepull", "error: imagepullbackoff", "back-off pulling image",
                 "error: errimageneverpull")
_DELAY = re.compile(r"delay (\d+(?:\.\d+)?) s")
HELD_UP = ("FailedMount", "FailedCreatePodSandBox", "FailedPostStartHook", "InspectFailed")
GOES_ON = ("Pulling", "Pulled", "Created", "Started")


@dataclass(frozen=True)
class Told:
    """One word about a pod. ``u``: how exact its moment is."""

    at: float
    reason: str
    message: str = ""
    u: float = 0.0


@dataclass(frozen=True)
class Stretch:
    """What lasts from one word on. ``up``: the container runs, and its application comes up."""

    kind: Kind
    words: str
    limit_s: float = math.inf
    up: bool = False


class PodLife:
    """Of one pod of a scene, by its key."""

    def __init__(self, scene: Scene, key: str, profile: Profile, exactness: Exactness) -> None:
        self.scene, self.key, self.profile, self.exactness = scene, key, profile, exactness
        self.evidence = scene.evidence
        self.spec = self.evidence.pod_spec(key)
        self.words = self._all_words()

    def _all_words(self) -> list[Told]:
        """Events, and where none was told of a death, a start or readiness, the engine's and the watch's."""
        words = [Told(event.at, event.reason, event.message, self.exactness.of(event.at))
                 for event in self.scene.pod_events([self.key])]
        for seen in self.evidence.engine:
            reason = SAME_THING.get(seen.action)
            if reason and seen.pod == self.key and self.scene.since <= seen.at <= self.scene.until:
                _stand_in(words, Told(seen.at, reason, "as the engine tells", ENGINE_LAG_S))
        was_ready = any(pod.key == self.key and pod.ready for pod in self.scene.before.values())
        for pod in self.scene.after(self.scene.since):
            if pod.key == self.key:
                if pod.ready and not was_ready:
                    _stand_in(words, Told(pod.at, "ContainerReady", "", self.evidence.watch_lag_s + pod.late_s))
                was_ready = pod.ready
        return sorted(words, key=lambda word: word.at)

    def segments(self, start: float, end: float) -> list[Segment]:
        """From ``start`` to ``end``, in a row."""
        track = Track(start)
        current = self._unknown(start)
        for word in self.words:
            following = self._stretch(word, end) if word.at <= end else None
            if following is None:
                continue
            if word.at > start:
                self._pass(track, current, word.at, word.u, word.reason)
            current = following
        self._pass(track, current, end, self.evidence.watch_lag_s)
        return track.segments

    def _pass(self, track: Track, current: Stretch, until: float, u: float, ends_with: str = "") -> None:
        """Notes what lasted until now."""
        if current.up and ends_with in ("ContainerDied", "Killing"):
            track.to(until, "application-start", "it ran, and ended before it was ready", u=u)
        elif current.up:
            self._coming_up(track, until, u)
        elif current.kind == "back-off":
            # What follows the wait is the making of the container, told only when it is done.
            track.to(min(track.at + current.limit_s, until), "back-off", current.words, u=u)
            track.to(until, "container-start", "container made", limit_s=PREPARE_S, u=u)
        else:
            track.to(until, current.kind, current.words, limit_s=current.limit_s, u=u)

    # --- what each word begins

    def _stretch(self, word: Told, end: float) -> Stretch | None:
        """None for a word that begins nothing."""
        reason, message = word.reason, word.message.lower()
        if reason == "Killing":
            return self._stopping(word.message)
        if reason in ("Failed", "BackOff") and message.startswith(IMAGE_REFUSED):
            return self._image_refused(word, end)
        if reason in ("ContainerDied", "BackOff"):
            return self._restart(word, end)
        if reason == "RestartDelay" and (told := _DELAY.search(word.message)):  # another orchestrator's own rule
            return Stretch("back-off", word.message, float(told.group(1)))
        if reason == "FailedScheduling":
            return Stretch("scheduling", f"not scheduled: {word.message[:120]}")
        if reason == "Scheduled":
            return Stretch("container-start", "sandbox and volumes made")
        if reason == "Pulling":
            return Stretch("image", word.message[:120] or "image pulled")
        if reason == "Failed" or reason in HELD_UP:
            return Stretch("retries", f"{reason}: {word.message[:100]}; tried again")
        if reason in ("Pulled", "Created"):
            return Stretch("container-start", "container made and started")
        if reason == "Started":
            return Stretch("readiness", "", up=True)
        if reason == "ContainerReady":
            return Stretch("endpoints", "EndpointSlice written and gateway programmed", ENDPOINTS_S)
        return None

    def _unknown(self, start: float) -> Stretch:
        """Before the first word: a new pod waits for the scheduler; what else it does is not told here."""
        words = [word.reason for word in self.words if word.at > start]
        if "Scheduled" in words or "FailedScheduling" in words:
            return Stretch("scheduling", "waiting for the scheduler", CONTROL_S)
        told = any(reason in ("Pulling", "Pulled", "Created") for reason in words)
        return Stretch("container-start", "container made and started" if told else
                       "image and container start (this platform tells no more)")

    def _stopping(self, message: str) -> Stretch:
        grace_s = grace_of(self.spec, message)
        hook = " with its preStop hook" if has_pre_stop(self.spec) else ""
        words = f"stopping{hook} ({say_grace(self.spec, message)})"
        return Stretch("draining", words, stopping_s(grace_s) + KILL_S)

    def _restart(self, word: Told, end: float) -> Stretch:
        """After a death: the agent starts it again at once, or holds it back."""
        again = next((item for item in self.words if word.at < item.at <= end and item.reason in GOES_ON), None)
        until = end if again is None else again.at
        died = last(item.at for item in self.words if item.reason == "ContainerDied" and item.at <= word.at) or word.at
        waited_s, initial_s = until - died, self.profile.crash_backoff_initial_s
        told = any(item.reason == "BackOff" and died <= item.at <= until for item in self.words)
        if told and waited_s > 0.5 * initial_s:
            step_s = back_off_step_s(initial_s, self.profile.crash_backoff_max_s, waited_s)
            return Stretch("back-off", f"crash back-off {say_setting(step_s)}", max(0.0, died + step_s - word.at))
        started = again is not None and again.reason == "Started"  # nothing was told in between
        return Stretch("container-start", "restarted: container made and started",
                       RESTART_S if started else PREPARE_S)

    def _image_refused(self, word: Told, end: float) -> Stretch:
        """Counted from the first refusal since the last pull."""
        pulls = [item.at for item in self.words if item.reason == "Pulling"]
        since = last(at for at in pulls if at <= word.at) or self.scene.since
        refused = first(item.at for item in self.words if item.at >= since and item.reason == "Failed") or word.at
        again = first(at for at in pulls if word.at < at <= end)
        step_s = back_off_step_s(self.profile.image_backoff_initial_s, self.profile.image_backoff_max_s,
                                 (end if again is None else again) - refused)
        return Stretch("back-off", f"back-off of an image that could not be pulled, {say_setting(step_s)}",
                       max(0.0, refused + step_s - word.at))

    # --- from running to ready

    def _coming_up(self, track: Track, until: float, u: float) -> None:
        """A probe that fails says that the application is not up; after the last one that did, it came up at a moment
        that nobody saw, within the period: that stretch is the probe's, which a shorter period would shorten."""
        probes = [probe for name in ("startup", "readiness") if (probe := probe_of(self.spec, name)) is not None]
        if not probes:
            track.to(until, "control", "no readiness probe: ready when it runs", limit_s=CONTROL_S, u=u)
            return
        failed = [word for word in self.words if word.reason == "Unhealthy" and track.at < word.at < until
                  and (probe := probe_in(word.message, self.spec)) is not None and probe.name != "liveness"]
        delay_s = max(probe.delay_s for probe in probes)
        blur_s = 0.0
        if failed:
            blur_s = min(until - failed[-1].at, max(probe.period_s for probe in probes))
            track.to(failed[-1].at, "application-start", "not up yet: its probe failed until then", u=failed[-1].u,
                     blur_s=blur_s)
        elif delay_s:
            track.to(min(track.at + delay_s, until), "readiness", f"initialDelaySeconds {delay_s:g}")
        track.to(until, "readiness", _waiting_for(probes), limit_s=sum(probe.passing_s for probe in probes), u=u,
                 blur_s=blur_s)


def _stand_in(words: list[Told], word: Told) -> None:
    """Adds what another witness saw, where nothing like it was told at that time."""
    if not any(item.reason == word.reason and abs(item.at - word.at) <= SAME_S for item in words):
        words.append(word)


def _waiting_for(probes: Iterable[ProbeRule]) -> str:
    return "waiting for the next " + " and ".join(
        f"{probe.title}: {probe.period}"
        + (f", successThreshold {probe.successes}" if probe.successes > 1 else "") for probe in probes)
