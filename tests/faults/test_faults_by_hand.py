"""Faults by hand on a real cluster: looked at before, injected as they were looked at, followed, and taken back when
everything of ours is dead."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cluster import Cluster, bring_up_for_test, processes, run_testbed, state_home_for_test, wait_for
from support.manifests import web

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with state_home_for_test(tmp_path_factory.mktemp("t")) as home, bring_up_for_test(
            "test_by_hand", home, nodes=1) as found:
        found.apply(web("web", replicas=4, liveness_failures=30))
        found.wait_ready("app=web", 4)
        yield found


def records(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    status = cluster.get("freezechaos", name).get("status") or {}
    return list((status.get("experiment") or {}).get("containerRecords") or ())


def name_of(created: str) -> str:
    found = re.search(r"/(\S+) created", created)
    assert found, created
    return found[1]


def test_what_a_dry_run_names_is_what_is_hit_and_more_than_half_is_refused(cluster: Cluster) -> None:
    freeze = ("inject", "freeze", "-l", "app=web", "--mode", "fixed", "--for", "5m", "--seed", "7")
    much = run_testbed(*freeze, "--value", "3", check=False, TESTBED_NAME=cluster.name)
    assert much.returncode == 6 and "3 of the 4 pods of Deployment web; the limit is 50%, which is 2" in much.stderr
    told = json.loads(cluster.testbed(*freeze, "--value", "2", "--dry-run", "-o", "json"))["targets"]
    assert len(told) == 2 and not cluster.get("freezechaos")["items"]
    name = name_of(cluster.testbed(*freeze, "--value", "2"))
    hit = records(cluster, name)
    assert [(item["containerID"], item["podUID"]) for item in hit] == [
        (item["containerID"], item["podUID"]) for item in told]
    assert cluster.testbed("faults", "undo", name) == f"{name} undone\n"
    assert cluster.testbed("faults", "undo", name) == ""


def test_what_this_machine_can_do_is_known_of_every_fault(cluster: Cluster) -> None:
    rows = json.loads(cluster.testbed("faults", "-o", "json"))
    assert all(row["here"].startswith(("yes", "no: lacks ")) for row in rows)
    doctor = json.loads(run_testbed("doctor", "-o", "json", check=False).stdout)["checks"]
    missing = {check["ability"] for check in doctor if check["ok"] is False} - {""}
    assert {row["name"] for row in rows if row["here"].startswith("no")} == {
        row["name"] for row in rows if any(set(need.split(" or ")) <= missing for need in row["needs"])}


def test_a_fault_that_follows_hits_the_pod_that_comes_instead(cluster: Cluster) -> None:
    name = name_of(cluster.testbed("inject", "freeze", "-l", "app=web", "--for", "5m", "--follow"))
    (first,) = records(cluster, name)
    cluster.testbed("delete", "pod", first["id"].split("/")[1], "--force", "--grace-period", "0", "--no-wait")

    def moved() -> dict[str, Any] | None:
        last = records(cluster, name)[-1]
        return last if last["podUID"] != first["podUID"] and last["phase"] == "Injected" else None

    wait_for("the fault to follow", moved)
    cluster.testbed("faults", "undo", "--all")
    cluster.wait_ready("app=web", 4)


def test_everything_is_taken_back_when_everything_of_ours_is_dead(cluster: Cluster) -> None:
    for fault in ("freeze", "sham"):
        cluster.testbed("inject", fault, "-l", "app=web", "--for", "10m", "--max-pods", "100%")
    frozen = freezer(cluster)
    wait_for("a frozen container", lambda: "FROZEN" in frozen() or "1" in frozen())
    for module in ("testbed.machines", "faults", "testbed.server"):
        for pid in processes(cluster, module):
            os.kill(pid, signal.SIGKILL)
    listed = run_testbed("faults", "list", TESTBED_NAME=cluster.name)
    assert "the ledger" in listed.stderr and listed.stdout.count("injected") == 2
    for told in (2, 0):
        assert cluster.testbed("faults", "undo", "--all").count("undone") == told
    assert "FROZEN" not in frozen() and "1" not in frozen()
    wait_for("holders to end", lambda: not processes(cluster, "faults.holder"))
    run_testbed("up", "--name", cluster.name, check=False)  # the room comes back, and with it the daemon
    cluster.wait_ready("app=web", 4)
    assert {line.split()[4] for line in cluster.testbed("faults", "list").splitlines()[1:]} == {"recovered"}


def freezer(cluster: Cluster) -> Any:
    """What the freezers of the cluster's containers say, by whichever version of cgroups there is."""
    top = cluster.instance.cgroup

    def states() -> list[str]:
        found = []
        for root, file in (("/sys/fs/cgroup/freezer", "freezer.state"), ("/sys/fs/cgroup", "cgroup.freeze")):
            found += [path.read_text().strip() for path in Path(root + top).rglob(file)]
        return found

    return states
