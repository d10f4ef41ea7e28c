"""What shipping costs: pods beyond the usual number, and who met which version."""

from __future__ import annotations

from evidence_builder import START_NS, World
from hypothesis import given
from hypothesis import strategies as st

from testbed.experiment.shipping import shipping
from testbed.load.records import Outcome, Record


def answer(pod: str, outcome: Outcome = Outcome.OK, at_s: float = 2.0) -> Record:
    at_ns = START_NS + int(at_s * 1e9)
    return Record(0, "fresh", at_ns, at_ns, at_ns + 1_000_000, outcome, 200, pod)


def surge() -> World:
    """Three pods; a fourth comes at 2 s and runs from 3 s, the first goes at 5 s."""
    world = World(replicas=3)
    world.pod(2.0, "web-4", node="node-1", ready=False, running=False)
    world.pod(3.0, "web-4", ready=True)
    world.pod(4.0, "web-1", deleting=True)
    world.pod(5.0, "web-1", gone=True)
    return world


def test_pods_beyond_the_usual_are_counted_while_they_run() -> None:
    found = shipping(surge().evidence, (), start_ns=START_NS, began=1.0, until=10.0)
    assert (found.usual_pods, found.peak_pods) == (3, 4)
    assert found.extra_container_s == 2.0  # four run from 3 s to 5 s
    assert found.container_s == 3 * 9.0 + 2.0


def test_answers_are_counted_by_the_image_that_gave_them() -> None:
    world = surge()
    world.evidence.pod_json["uid-web-4"]["spec"]["containers"][0]["image"] = "sample:v2"
    records = [answer("web-1"), answer("web-4"), answer("web-4", Outcome.STATUS), answer("", Outcome.REFUSED),
               answer("stranger"), answer("web-1", at_s=0.5)]  # the last one before anything was shipped
    found = shipping(world.evidence, records, start_ns=START_NS, began=1.0, until=10.0)
    assert found.answers == {"sample:v1": 1, "sample:v2": 2}
    assert found.wrong_answers == {"sample:v2": 1}
    assert found.last_answer_s == {"sample:v1": 2.001, "sample:v2": 2.001}


@given(st.floats(0, 9), st.floats(0, 9))
def test_container_seconds_are_never_fewer_than_the_extra_ones_and_never_negative(one: float, other: float) -> None:
    began, until = min(one, other), max(one, other)
    found = shipping(surge().evidence, (), start_ns=START_NS, began=began, until=until)
    assert 0 <= found.extra_container_s <= found.container_s + 1e-9
    assert found.container_s <= 4 * (until - began) + 1e-3
