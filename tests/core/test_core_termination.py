"""Graces (kubernetes: kuberuntime_container.go setTerminationGracePeriod, container_lifecycle_test.go)."""

from __future__ import annotations

import pytest

from testbed.api.core_v1 import PodSpec
from testbed.core.termination import StopCause, after_hook_s, grace_s

SPEC = PodSpec.of({"terminationGracePeriodSeconds": 30, "containers": [{
    "name": "app", "livenessProbe": {"terminationGracePeriodSeconds": 7}, "startupProbe": {},
}]})
APP = SPEC.containers[0]


@pytest.mark.parametrize(("cause", "deletion_s", "wanted_s"), [
    (StopCause.DELETED, 12, 12), (StopCause.DELETED, 0, 1), (StopCause.LIVENESS, None, 7), (StopCause.LIVENESS, 12, 12),
    (StopCause.STARTUP, None, 30), (StopCause.CHANGED, None, 30), (StopCause.SANDBOX, None, 30),
])
def test_precedence(cause: StopCause, deletion_s: int | None, wanted_s: float) -> None:
    assert grace_s(SPEC, APP, cause, deletion_s) == wanted_s


def test_the_hook_spends_the_grace_down_to_two_seconds() -> None:
    assert after_hook_s(30, 10) == 20
    assert after_hook_s(30, 30) == 2
    assert after_hook_s(1, 0) == 2
