"""Watching a real experiment on real containers with a real Prometheus and Alertmanager: ``make monitor-check``.

Every query of every dashboard has something to show, and alerts come, go, and are told in the cluster. Nobody answers
for some seconds in the experiment; what else a panel needs is in ``watched.yaml``: an Ingress for HAProxy's, a Pod that
crashes for ever for what waits, a container with a limit, one workload of each kind, an autoscaler, a budget.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.board_answers import Span, answer, offered, unanswered
from support.boards import Json, annotations, every_board, variables
from support.cluster import Cluster, bring_up_for_test, run_testbed, wait_for
from support.prometheus import Prometheus
from support.watching import watching

from testbed.api.meta import parse_time

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

MANIFEST = Path(__file__).parent / "watched.yaml"
NODES = 2
FAULT_S = 8.0
EXPERIMENT = f"""
apiVersion: testbed.io/v1alpha1
kind: Experiment
metadata: {{name: watched}}
spec:
  workload: []
  steadyState:
    - ready: {{deployment: web}}
  load:
    pulse: {{service: web, path: /, rate: 50}}
  blastRadius: {{pods: "100%"}}
  jitter: 0s
  method:
    - name: fail
      at: 3s
      fault:
        apiVersion: chaos-mesh.org/v1alpha1
        kind: PodChaos
        spec: {{action: pod-failure, mode: all, duration: {FAULT_S:g}s, selector: {{labelSelectors: {{app: web}}}}}}
    - name: ship
      after: fail.restored
      rollout: {{deployment: web, image: "sample:v2"}}
  objectives: ["ship.requests.failed == 0", "fail.repair.max < 1ms"]
"""
# Of what each alert is told: how the names of kind and object begin. Of a pod that is gone its namespace is told.
EXPECTED = {"DeploymentDown": ("Deployment/web",), "ServiceWithoutEndpoints": ("Service/web",),
            "ErrorBudgetBurnFast": ("Namespace/default",), "ObjectiveMissed": ("Namespace/default",),
            "KubePodCrashLooping": ("Pod/crashing-", "Namespace/apart")}
# Of each board, beside the job and the instance.
VARIABLES = {"testbed-overview": {"namespace"}, "testbed-experiment": {"experiment", "namespace"},
             "testbed-nodes": {"namespace", "node", "pod"}, "testbed-rollouts": {"namespace", "deployment"},
             "testbed-internals": {"controller"}}
LOOKS_S = 2.5  # two looks, and what the chaos daemon takes to tell of it
TOLD_WITHIN_S = 40.0  # a crash loop is one after 15 s; an error budget burns on for the 5 s that are looked at


@dataclass(frozen=True)
class Watched:
    """``span``: from when all was up until all alerts had ended. ``result``: of the run."""

    cluster: Cluster
    prometheus: Prometheus
    span: Span
    result: Json
    events: list[Json]


@pytest.fixture(scope="module")
def watched(state_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    directory = tmp_path_factory.mktemp("watching")
    with (
        bring_up_for_test(__name__, state_home, nodes=NODES) as cluster,
        watching(cluster.instance, directory) as prometheus,
    ):
        cluster.apply(MANIFEST.read_text())
        cluster.wait_ready("app=web", 2)
        wait_for("an Ingress that answers", lambda: through_ingress(cluster))
        began = time.time()
        file = directory / "watched-experiment.yaml"
        file.write_text(EXPERIMENT)
        done = run_testbed("run", str(file), "--out", str(directory), "-o", "json", check=False,
                           TESTBED_NAME=cluster.name)
        assert done.returncode == 1, done.stdout + done.stderr  # an objective that cannot be met
        wait_told(cluster, "AlertFiring")
        cluster.testbed("inject", "container-kill", "-l", "app=web")
        cluster.testbed("delete", "deployment", "crashing", "-n", "apart")
        cluster.testbed("delete", "experiments", "--all")
        wait_told(cluster, "AlertResolved")
        yield Watched(cluster, prometheus, Span(began, time.time()), json.loads(done.stdout),
                      alert_events(cluster))


def through_ingress(cluster: Cluster) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.instance.ingress_ports[0]}/", timeout=2) as answered:
        return bool(answered.status == 200)


def wait_told(cluster: Cluster, reason: str) -> None:
    """Until that has been told of each alert that is expected."""
    def everything() -> bool:
        events = [event for event in alert_events(cluster) if event["reason"] == reason]
        return all(about(alert, events) for alert in EXPECTED)

    wait_for(f"{reason} of {', '.join(EXPECTED)}", everything, timeout_s=TOLD_WITHIN_S)


def alert_events(cluster: Cluster) -> list[Json]:
    return [event for event in cluster.get("events", "-A")["items"] if event["reason"].startswith("Alert")]


def about(alert: str, events: list[Json]) -> list[Json]:
    """Those that tell what is expected of the alert."""
    return [event for event in events if event["message"].startswith(f"{alert}: ")
            and "{kind}/{name}".format(**event["involvedObject"]).startswith(EXPECTED[alert])]


def test_everything_that_has_metrics_is_scraped(watched: Watched) -> None:
    parts = sorted((target["labels"]["part"], target["health"]) for target in watched.prometheus.targets())
    assert parts == sorted([("api", "up"), ("gateway", "up"), ("haproxy", "up"), *[("agent", "up")] * NODES])


@every_board
def test_every_query_has_something_to_show(board: Json, watched: Watched) -> None:
    found = list(unanswered(watched.prometheus, watched.span, board))
    assert not found, "\n".join(found)


@every_board
def test_variables_offer_what_there_is(board: Json, watched: Watched) -> None:
    found = {variable["name"]: offered(watched.prometheus, variable, watched.span) for variable in variables(board)}
    assert set(found) == {"job", "instance"} | VARIABLES[board["uid"]]
    expected = {"job": {"testbed"}, "instance": {watched.cluster.name}, "namespace": {"default", "apart"},
                "experiment": {"watched"}, "deployment": {"web", "crashing"}}
    assert {name: set(values) for name, values in found.items() if name in expected} == {
        name: values for name, values in expected.items() if name in found}
    assert "node" not in found or len(found["node"]) == NODES


@every_board
def test_the_fault_is_a_window_on_every_graph(board: Json, watched: Watched) -> None:
    (faults,) = [item for item in annotations(board) if item["name"] == "Faults"]
    windows = answer(watched.prometheus, faults, watched.span)
    assert {series.labels["fault"] for series in windows} == {"PodChaos/pod-failure"}
    assert len({series.labels["target"] for series in windows}) == 2, "both pods"
    (run,) = watched.result["runs"]
    failure = next(item for item in run["disruptions"] if item["name"] == "fail")
    begun, undone = (parse_time(run["startedAt"]).timestamp() + at_s for at_s in (
        failure["marks"]["injected"], failure["marks"]["undone"]))
    verified = begun + failure["windowS"][1] - failure["windowS"][0]
    for series in windows:
        assert series.labels["node"], "where it is"
        moments = [at for at, _ in series.samples]
        assert begun <= moments[0] <= verified + LOOKS_S and undone - LOOKS_S <= moments[-1] <= undone + LOOKS_S
        assert all(later - earlier == 1 for earlier, later in zip(moments, moments[1:], strict=False)), "one window"


@every_board
def test_a_kill_is_a_mark_of_one_moment_on_every_graph(board: Json, watched: Watched) -> None:
    (kills,) = [item for item in annotations(board) if item["name"] == "Kills"]
    (mark,) = answer(watched.prometheus, kills, watched.span)
    assert mark.labels["fault"] == "PodChaos/container-kill" and [value for _, value in mark.samples] == [1]


@pytest.mark.parametrize("alert", EXPECTED)
def test_an_alert_fires_is_told_of_its_object_and_ends(alert: str, watched: Watched) -> None:
    events = about(alert, watched.events)
    assert {event["reason"] for event in events} == {"AlertFiring", "AlertResolved"}
    assert all("testbed.io/alert-starts-at" in event["metadata"]["annotations"] for event in events)


def test_the_run_knows_when_somebody_would_have_been_paged(watched: Watched) -> None:
    (run,) = watched.result["runs"]
    (failure,) = [item for item in run["disruptions"] if item["name"] == "fail"]
    paged_after_s = failure["marks"]["alerted"] - failure["marks"]["injected"]
    assert 0 < paged_after_s < FAULT_S + 5, "requests failed at once, and nobody was ready for as long as it held"
