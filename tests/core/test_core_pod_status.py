"""Phases, conditions, container statuses and quality of service in upstream's words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from testbed.api.core_v1 import Container, Pod, PodSpec
from testbed.core.pod_seen import ContainerSeen, Life, PodSeen, SandboxSeen
from testbed.core.pod_status import StatusInput, pod_status
from testbed.core.pods import Waiting
from testbed.core.resources import cpu_quota_us, cpu_shares, memory_limit_bytes, oom_score_adj, qos_class

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
SANDBOX = SandboxSeen("s0", 0, True, "10.0.0.2")


def item(life: Life = Life.RUNNING, attempt: int = 0, **more: Any) -> ContainerSeen:
    return ContainerSeen("app", f"c{attempt}", attempt, life, sandbox="s0", started_at=more.pop("started_at", NOW),
                         finished_at=NOW, **more)


def status(found: PodSeen, policy: str = "Always", before: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    pod = Pod.of({"metadata": {"name": "p"}, "spec": {
        "restartPolicy": policy, "containers": [{"name": "app", "image": "sample:v1"}], **more.pop("spec", {}),
    }})
    given = StatusInput(pod=pod, seen=found, begun_at=NOW, now=more.pop("now", NOW), host_ip="10.0.0.1", **more)
    return pod_status(given, before or {})


def conditions(value: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in value["conditions"]}


def test_before_anything_runs_it_is_pending() -> None:
    value = status(PodSeen())
    assert value["phase"] == "Pending"
    assert value["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert conditions(value) == {
        "PodReadyToStartContainers": "False", "Initialized": "True", "Ready": "False", "ContainersReady": "False",
    }


def test_running_and_ready() -> None:
    names = frozenset({"app"})
    value = status(PodSeen(SANDBOX, {"app": item()}), ready=names, started=names)
    assert (value["phase"], value["podIP"], value["qosClass"]) == ("Running", "10.0.0.2", "BestEffort")
    assert value["containerStatuses"][0]["ready"] is True
    assert set(conditions(value).values()) == {"True"}


@pytest.mark.parametrize(("policy", "code", "phase"), [
    ("Always", 0, "Running"), ("Always", 1, "Running"), ("OnFailure", 0, "Succeeded"), ("OnFailure", 1, "Running"),
    ("Never", 0, "Succeeded"), ("Never", 1, "Failed"),
])
def test_phase_of_an_ended_container(policy: str, code: int, phase: str) -> None:
    assert status(PodSeen(SANDBOX, {"app": item(Life.EXITED, exit_code=code)}), policy)["phase"] == phase


def test_an_exit_code_that_is_not_known_ends_no_pod() -> None:
    value = status(PodSeen(SANDBOX, {"app": item(Life.EXITED)}), "Never")
    assert value["phase"] == "Running"
    assert value["containerStatuses"][0]["ready"] is False


@pytest.mark.parametrize(("more", "reason"), [
    ({"exit_code": 0}, "Completed"), ({"exit_code": 3}, "Error"), ({"exit_code": 0, "oom_killed": True}, "OOMKilled"),
    ({"exit_code": 127, "started_at": None}, "ContainerCannotRun"),
])
def test_reasons_of_termination(more: dict[str, Any], reason: str) -> None:
    value = status(PodSeen(SANDBOX, {"app": item(Life.EXITED, **more)}))
    assert value["containerStatuses"][0]["state"]["terminated"]["reason"] == reason


def test_crash_loop_keeps_the_last_termination() -> None:
    value = status(PodSeen(SANDBOX, {"app": item(Life.EXITED, 2, exit_code=9)}),
                   waiting={"app": Waiting("CrashLoopBackOff", "back-off 10s")})
    app = value["containerStatuses"][0]
    assert app["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert app["lastState"]["terminated"]["exitCode"] == 9
    assert app["restartCount"] == 2
    assert value["phase"] == "Running"


def test_a_lost_container_is_told_as_such() -> None:
    before = {"containerStatuses": [{"name": "app", "restartCount": 1, "containerID": "docker://x",
                                     "state": {"running": {}}, "lastState": {}}]}
    value = status(PodSeen(), "Never", before)
    terminated = value["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (137, "ContainerStatusUnknown")
    assert value["phase"] == "Failed"
    assert status(PodSeen(), "Always", before)["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137


def test_terminal_phases_never_revert() -> None:
    assert status(PodSeen(SANDBOX, {"app": item()}), before={"phase": "Failed"})["phase"] == "Failed"


def test_a_deleted_pod_ends_succeeded_only_when_all_exit_0() -> None:
    for code, phase in ((0, "Succeeded"), (143, "Failed")):
        value = status(PodSeen(SANDBOX, {"app": item(Life.EXITED, exit_code=code)}), ending=True)
        assert value["phase"] == phase


def test_readiness_gates_count() -> None:
    names, found = frozenset({"app"}), PodSeen(SANDBOX, {"app": item()})

    def ready(*said: str) -> dict[str, Any]:
        gates = {"readinessGates": [{"conditionType": "example.com/gate"}]}
        value = status(found, ready=names, started=names, spec=gates,
                       before={"conditions": [{"type": "example.com/gate", "status": item} for item in said]})
        return next(item for item in value["conditions"] if item["type"] == "Ready")

    absent, closed, opened = ready(), ready("False"), ready("True")
    assert (absent["status"], absent["reason"]) == ("False", "ReadinessGatesNotReady")
    assert absent["message"] == 'corresponding condition of pod readiness gate "example.com/gate" does not exist.'
    assert closed["message"] == 'the status of pod readiness gate "example.com/gate" is not "True", but False'
    assert opened["status"] == "True"


def test_transition_times_move_only_with_the_status() -> None:
    names = frozenset({"app"})
    first = status(PodSeen(SANDBOX, {"app": item()}), ready=names, started=names)
    later = status(PodSeen(SANDBOX, {"app": item()}), before=first, started=names, now=NOW + timedelta(seconds=9))
    times = {condition["type"]: condition["lastTransitionTime"] for condition in later["conditions"]}
    assert times["Initialized"].endswith("12:00:00Z")
    assert times["Ready"].endswith("12:00:09Z")


def spec(*resources: dict[str, Any]) -> PodSpec:
    return PodSpec.of({"containers": [{"name": f"c{i}", "resources": item} for i, item in enumerate(resources)]})


@pytest.mark.parametrize(("resources", "qos"), [
    (({},), "BestEffort"), (({"requests": {"cpu": "1"}},), "Burstable"),
    (({"limits": {"cpu": "1", "memory": "1Gi"}},), "Guaranteed"),
    (({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},), "Burstable"),
    (({"limits": {"cpu": "1", "memory": "1Gi"}}, {}), "Burstable"),
    (({"requests": {"cpu": "0"}},), "BestEffort"),
])
def test_quality_of_service(resources: tuple[dict[str, Any], ...], qos: str) -> None:
    assert qos_class(spec(*resources)) == qos


def test_cgroup_values() -> None:
    container = Container.of({"name": "c", "resources": {
        "limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "250m"},
    }})
    from decimal import Decimal

    assert cpu_shares(container) == 256
    assert cpu_quota_us(container, Decimal(0)) == 50_000
    assert cpu_quota_us(container, Decimal("0.25")) == 25_000
    assert memory_limit_bytes(container, 0) == 64 * 1024 * 1024
    assert memory_limit_bytes(Container.of({"name": "c"}), 1000) == 1000
    assert cpu_shares(Container.of({"name": "c"})) == 2
    burst = spec({"requests": {"memory": "1Gi"}})
    assert oom_score_adj(burst, burst.containers[0], 4 * 1024**3) == 750
    assert oom_score_adj(spec({}), spec({}).containers[0], 4 * 1024**3) == 1000
