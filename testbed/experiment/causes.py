"""Names, for each gap between two marks, the setting or the act that it is made of. Pure.

From the manifest ("periodSeconds 10 x failureThreshold 3"), the profile ("node monitor grace 1.5 s") and the Events
("image pulled"). A cause names what the gap *is*, with the settings that it hangs on; how long it took stands beside
it, and where its seconds went is `attribution`'s.
"""

from __future__ import annotations

from testbed.core.profile import Profile
from testbed.experiment.durations import say_setting
from testbed.experiment.fault_marks import Story
from testbed.experiment.pod_probes import Json, back_off_step_s, probe_in, probe_of, say_grace, toleration_s
from testbed.experiment.scene import first

AT_ONCE_S = 0.5
SCHEDULED_S = 0.02  # scheduling that took less is not worth a word
PROGRAMMED = "EndpointSlice written and gateway programmed"
NEW_POD = "new pod: scheduled, sandbox and image start"
COMPOSE = "compose"  # as pods' labels name that supervisor


class FaultCauses:
    """Causes of the gaps of one fault."""

    def __init__(self, story: Story, profile: Profile) -> None:
        self.story, self.profile = story, profile
        keys = sorted(story.victims.keys)
        self.spec = story.scene.evidence.pod_spec(keys[0]) if keys else {}

    def named(self, mark: str, seconds: float, *, ran: bool) -> str:
        """The cause of the gap that ends with ``mark``. ``ran``: something was started or replaced."""
        if mark == "detected":
            return self.detected()
        if mark == "acted":
            return self.acted(seconds)
        if mark == "ready":
            return self.ready(ran)
        return PROGRAMMED if mark == "in_rotation" else self.restored(seconds)

    def detected(self) -> str:
        sign = self.story.first_sign
        if sign.startswith("ContainerDied"):
            return "the engine saw the process end" if self.story.supervisor else "the agent saw the process end"
        if sign.startswith(("NodeNotReady", "node not ready")) or self.story.victims.nodes:
            if self.story.supervisor:
                return self.story.node_given_up
            return (f"node monitor grace {say_setting(self.profile.node_monitor_grace_s)}, looked at every "
                    f"{say_setting(self.profile.node_monitor_period_s)} (lease renewed every "
                    f"{say_setting(self.profile.lease_renew_interval_s)})")
        if sign.startswith("Unhealthy"):
            return self._first_failed_probe(sign)
        if sign == "deleted":
            return "the pod was deleted through the API"
        return "pod status changed"

    def _first_failed_probe(self, sign: str) -> str:
        probe = probe_in(sign.partition(": ")[2], self.spec)
        return f"next {probe.title}: {probe.period}, timeoutSeconds {probe.timeout_s:g}" if probe else "next probe"

    def unready(self) -> str:
        sign = self.story.first_sign
        readiness = probe_of(self.spec, "readiness")
        if sign.startswith("Unhealthy") and readiness:
            return f"{readiness.title}: {readiness.threshold}"
        if self.story.victims.nodes:
            return "pods of a node that is not ready are taken out"
        if sign == "deleted":
            return "a pod that is being deleted no longer counts"
        return "its container does not run: unready at once"

    def isolated(self) -> str:
        if self._served_until_its_end():
            return "requests reached it until its container ended: routing there does not ask whether it is ready"
        return PROGRAMMED

    def _served_until_its_end(self) -> bool:
        story = self.story
        pod, isolated = story.last_out, story.marks.isolated
        if not story.supervisor or pod is None or isolated is None:
            return False
        unready = story.unready_at(pod)
        died = first(event.at for event in story.scene.pod_events([pod.key], "ContainerDied"))
        return unready is not None and died is not None and unready + AT_ONCE_S < died <= isolated

    def acted(self, seconds: float) -> str:
        sign, victims = self.story.first_sign, self.story.victims
        if self.story.supervisor and (victims.by_deletion or victims.nodes or sign == "deleted"):
            return f"{self.story.supervisor} made a replacement, by its own rules"
        if victims.by_deletion or sign == "deleted":
            return "the ReplicaSet controller made a replacement"
        if victims.nodes:
            stay_s = toleration_s(self.spec, self.profile)
            return (f"toleration {stay_s:g} s of node.kubernetes.io/unreachable, then evicted" if stay_s is not None
                    else "tolerated for ever: replaced for another reason")
        if sign.startswith("Unhealthy"):
            liveness = probe_of(self.spec, "liveness")
            return f"{liveness.title}: {liveness.threshold}" if liveness else "no liveness probe"
        if self._waited_out(seconds):
            return f"crash back-off {say_setting(self._backoff(seconds))}"
        how = "restarted at once" if seconds < AT_ONCE_S else "restarted, and nobody says what it waited for"
        if self.story.marks.acted == self.story.marks.running:
            return f"{how}: image start"
        return how

    def _waited_out(self, seconds: float) -> bool:
        """Whether the agent held the restart back: then it says so."""
        scene = self.story.scene
        told = any(event.at - scene.since <= seconds + 1.0
                   for event in scene.pod_events(self.story.victims.keys, "BackOff"))
        initial_s = self.profile.crash_backoff_initial_s
        return told and seconds > 0.5 * initial_s

    def _backoff(self, seconds: float) -> float:
        return back_off_step_s(self.profile.crash_backoff_initial_s, self.profile.crash_backoff_max_s, seconds)

    def running(self, acted: float, running: float) -> str:
        scene, key = self.story.scene, self.story.replacement
        if key in self.story.victims.keys:
            died = first(event.at for event in scene.pod_events([key], "ContainerDied")
                         if acted <= event.at <= running)
            killed = next((event for event in scene.pod_events([key], "Killing") if event.at <= running), None)
            if killed is not None and died is not None and died - acted > 0.05:
                return f"stopped ({say_grace(self.spec, killed.message)}), then image start"
            return "image start"
        if self.story.supervisor:
            return f"{self.story.supervisor} made and started another one"
        scheduled = first(event.at for event in scene.pod_events([key], "Scheduled"))
        if scheduled is None or not acted <= scheduled <= running:
            return NEW_POD
        return NEW_POD if scheduled - acted > SCHEDULED_S else "new pod: sandbox and image start"

    def ready(self, ran: bool) -> str:
        if not ran:
            return "the fault ended, and the next probe passed"
        spec = self.story.scene.evidence.pod_spec(self.story.replacement) or self.spec
        return readiness_cause(spec)

    def restored(self, seconds: float) -> str:
        more = len(self.story.victims.pods) - 1
        if more > 0 and seconds > 0.001:
            return f"{more} more replica{'s' if more > 1 else ''} to mend"
        return "as many ready as desired"


def readiness_cause(spec: Json) -> str:
    """What must pass between a container that runs and a pod that is ready."""
    parts = ["application start"]
    startup, readiness = probe_of(spec, "startup"), probe_of(spec, "readiness")
    if startup:
        parts.append(f"startup probe {startup.period}")
    if readiness:
        parts.append(f"{readiness.title} {readiness.period}"
                     + (f", initialDelaySeconds {readiness.delay_s:g}" if readiness.delay_s else "")
                     + (f", successThreshold {readiness.successes}" if readiness.successes > 1 else ""))
    if not startup and not readiness:
        return "no readiness probe: ready when it runs"
    return " + ".join(parts)


def rollout_cause(deployment: Json, *, scaled: bool, supervisor: str = "") -> str:
    """What sets the pace of a rolling update, or of a change of the number alone. ``supervisor``: another one's name;
    Swarm has words for maxSurge and minReadySeconds, Compose has none for any of it."""
    spec = deployment.get("spec") or {}
    replicas = spec.get("replicas", 1)
    if scaled:
        return f"{replicas} replica{'' if replicas == 1 else 's'} desired"
    if supervisor == COMPOSE:
        return (f"{replicas} replicas recreated at the same time: all old ones end before the new ones "
                "start, one after the other")
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return "strategy Recreate: all old pods end before new ones start"
    rolling = strategy.get("rollingUpdate") or {}
    text = (f"{replicas} replicas, maxSurge {rolling.get('maxSurge', '25%')}, "
            f"maxUnavailable {rolling.get('maxUnavailable', '25%')}")
    wait = spec.get("minReadySeconds") or 0
    return text + (f", minReadySeconds {wait}" if wait else "")
