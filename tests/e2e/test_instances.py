"""Clusters beside each other: names, second ups, and taking down what was killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support import leaks
from support.cluster import bring_up_for_test, run_testbed
from support.manifests import web

pytestmark = pytest.mark.engine


def test_second_up_of_the_same_name_says_so_and_changes_nothing(state_home: Path) -> None:
    with bring_up_for_test("twice", state_home, nodes=1) as cluster:
        before = cluster.instance
        done = run_testbed("up", "--name", cluster.name, check=False)
        assert done.returncode in (3, 4)
        assert cluster.name in done.stderr and "Traceback" not in done.stderr
        assert cluster.instance == before


def test_two_clusters_do_not_meet_and_each_goes_alone(state_home: Path) -> None:
    with (bring_up_for_test("left", state_home, nodes=1) as left,
          bring_up_for_test("right", state_home, nodes=1) as right):
        left.apply(web("web", replicas=1))
        left.wait_ready("app=web", 1)
        assert right.pods() == []
        run_testbed("down", "--name", right.name)
        assert len(left.ready_pods("app=web")) == 1


def test_down_removes_everything_after_all_processes_were_killed(state_home: Path) -> None:
    with bring_up_for_test("killed", state_home, nodes=1) as cluster:
        cluster.apply(web("web", replicas=1))
        cluster.wait_ready("app=web", 1)
        for line in leaks.footprint().processes:
            if str(cluster.directory) in line:
                os.kill(int(line.split()[0]), signal.SIGKILL)
        run_testbed("down", "--name", cluster.name)
        assert not [line for line in leaks.footprint().processes if str(cluster.directory) in line]
        assert not cluster.directory.exists()


def test_a_cluster_whose_state_is_lost_is_named_and_taken_away(state_home: Path, tmp_path: Path) -> None:
    """A machine that lost its power in the middle of a run, or a CI job that was killed: only the engine remembers."""
    with bring_up_for_test("lost", state_home, nodes=1) as cluster:
        for line in leaks.footprint().processes:
            if str(cluster.directory) in line:
                os.kill(int(line.split()[0]), signal.SIGKILL)
        elsewhere = str(tmp_path)
        for command in ("up", "down"):
            done = run_testbed(command, "--name", cluster.name, check=False, XDG_STATE_HOME=elsewhere)
            assert done.returncode == 4
            assert f"testbed down --lost --name {cluster.name}" in done.stderr
        run_testbed("down", "--lost", "--name", cluster.name, XDG_STATE_HOME=elsewhere)
        left = leaks.footprint()
        assert not [line for line in (*left.containers, *left.networks, *left.cgroups) if cluster.name in line]
        run_testbed("down", "--name", cluster.name, XDG_STATE_HOME=elsewhere)
