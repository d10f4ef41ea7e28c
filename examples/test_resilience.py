"""Resilience tests of web.yaml, as pytest runs them:  pytest test_resilience.py

The fixture ``testbed`` and its cluster come with the package (docs/pytest.md). Where there is no container engine, the
tests are skipped and say so.
"""

import datetime

import pytest

pytestmark = pytest.mark.testbed(workload="web.yaml", nodes=2, pulse={"service": "web", "rate": 100})


def test_one_dead_container_is_hardly_noticed(testbed):
    with testbed.fault("container-kill", "deployment/web"):
        assert testbed.client.get("service", "web")  # what is done here is done while the fault is in force
    assert testbed.recovery.isolation < 2
    assert testbed.recovery.repair < 10
    assert testbed.recovery.requests.failed_ratio < 0.1


def test_a_restart_of_everything_loses_no_request(testbed):
    with testbed.load("web", rate=50) as load:
        now = {"kubectl.kubernetes.io/restartedAt": datetime.datetime.now(datetime.UTC).isoformat()}
        testbed.client.patch("deployment", "web", {"spec": {"template": {"metadata": {"annotations": now}}}})
        testbed.client.wait("deployment", "web", until="rolled-out", timeout_s=90)
    assert load.requests.failed == 0
