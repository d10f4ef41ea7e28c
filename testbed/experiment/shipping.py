"""What shipping costs: pods beyond the usual number, and which version users met. Pure.

It counts what the watch saw of pods that Deployments own, and whom the pulse's answers name as their pod.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from testbed.experiment.observations import Evidence, PodSeen
from testbed.experiment.result import Shipping
from testbed.load.records import Outcome, Record


def shipping(
    evidence: Evidence, records: Sequence[Record], *, start_ns: int, began: float, until: float,
) -> Shipping:
    """Args: records: of the pulse. start_ns: CLOCK_MONOTONIC at the start of the run. began, until: moments of it.
    Answers to requests due before ``began`` do not count."""
    steps = list(_counts([pod for pod in evidence.pods if evidence.deployment_of(pod.uid)], began, until))
    usual = steps[0][1] if steps else 0
    usual_running = steps[0][2] if steps else 0
    running_s = extra_s = 0.0
    for (at, _, running), (following, _, _) in zip(steps, [*steps[1:], (until, 0, 0)], strict=True):
        running_s += running * (following - at)
        extra_s += max(0, running - usual_running) * (following - at)
    images = _images(evidence)
    answered, wrong = Counter[str](), Counter[str]()
    latest: dict[str, float] = {}
    for record in records:
        image = images.get(record.backend, "")
        if image and record.outcome in (Outcome.OK, Outcome.STATUS) and record.due_ns >= start_ns + began * 1e9:
            answered[image] += 1
            latest[image] = max(latest.get(image, 0.0), round((record.done_ns - start_ns) / 1e9, 4))
            wrong[image] += record.outcome is Outcome.STATUS
    return Shipping(peak_pods=max((pods for _, pods, _ in steps), default=0), usual_pods=usual,
                    container_s=round(running_s, 3), extra_container_s=round(extra_s, 3), answers=dict(answered),
                    wrong_answers={image: count for image, count in wrong.items() if count}, last_answer_s=latest)


def _counts(pods: Sequence[PodSeen], began: float, until: float) -> Iterator[tuple[float, int, int]]:
    """(moment, pods that exist, pods that run) from ``began`` on, at each change."""
    there: dict[str, bool] = {}
    begun = False
    for pod in pods:
        if pod.at > until:
            break
        if pod.at > began and not begun:
            begun = True
            yield began, len(there), sum(there.values())
        if pod.gone:
            there.pop(pod.uid, None)
        else:
            there[pod.uid] = pod.running
        if begun:
            yield pod.at, len(there), sum(there.values())
    if not begun:
        yield began, len(there), sum(there.values())


def _images(evidence: Evidence) -> dict[str, str]:
    """The image of each pod's first container, by the pod's name, which is what answers carry."""
    return {str(pod["metadata"]["name"]): str(pod["spec"]["containers"][0].get("image", ""))
            for pod in evidence.pod_json.values() if (pod.get("spec") or {}).get("containers")}
