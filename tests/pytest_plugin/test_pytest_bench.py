"""What a test can do with the testbed, and what it is told when it asks for what cannot be."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from pathlib import Path

import pytest
from bench_world import bench

from testbed import toolkit
from testbed.errors import InvalidInput, TestbedError, UsageError
from testbed.experiment import method, phases, repetition
from testbed.experiment.aimed import parse_target
from testbed.experiment.result import Disruption, Marks, Outage, Requests, Verdict
from testbed.experiment.saving import read_result
from testbed.load.records import read
from testbed.testing.bench import FaultFailed, NotTrusted
from testbed.testing.cluster import SessionCluster
from testbed.testing.loop import LoopThread
from testbed.testing.recovery import Recovery


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "BASELINE_S", 0.3)
    monkeypatch.setattr(method, "VERIFY_TIMEOUT_S", 0.5)
    monkeypatch.setattr(phases, "UNDO_TIMEOUT_S", 1.0)
    monkeypatch.setattr(repetition, "LATENESS_LIMIT_S", 60.0)  # how busy this machine is says nothing here


def test_a_fault_is_in_force_for_the_block(tmp_path: Path) -> None:
    with bench(tmp_path) as (testbed, world):
        testbed.apply("web.yaml")
        with testbed.fault("freeze", "deployment/web", duration="30s", timeout="100ms"):
            assert world.daemon.injected.is_set() and world.daemon.undone == []
            assert world.daemon.seen[-1]["spec"]["selector"]["labelSelectors"] == {"app": "web"}
            assert world.daemon.seen[-1]["spec"]["duration"] == "30s"
        assert len(world.daemon.undone) == 1
        assert math.isinf(testbed.recovery.isolation) and "never" in str(testbed.recovery)
        with pytest.raises(UsageError, match="nobody sent requests"):
            _ = testbed.recovery.requests
        result, folder = testbed.results[-1]
        assert (result.command, result.verdict) == ("inject", Verdict.PASSED) and read_result(folder) == result


def test_load_holds_faults_on_one_timeline(tmp_path: Path) -> None:
    with bench(tmp_path) as (testbed, world):
        testbed.apply("web.yaml")
        with testbed.load("web", rate=50, keep_alive=True) as load:
            with pytest.raises(UsageError, match="when the block is over"):
                _ = load.requests
            with testbed.fault("freeze", "app=web", timeout="100ms"):
                with testbed.fault("freeze", "deployment/web", timeout="100ms"):
                    pass
                assert len(world.daemon.undone) == 1
                assert testbed.recovery.name == "freeze-2" and testbed.recovery.requests.due > 10
            assert testbed.recovery.name == "freeze"
        assert load.requests.due > 20 and load.requests.ok > 0 and load.result is not None
        names = [item.name for item in load.result.runs[0].disruptions if item.kind == "fault"]
        assert names == ["freeze", "freeze-2"] and len(testbed.results) == 1


def test_an_error_inside_the_block_takes_the_fault_back_at_once(tmp_path: Path) -> None:
    with bench(tmp_path) as (testbed, world):
        testbed.apply("web.yaml")
        with pytest.raises(ValueError, match="mine"), testbed.fault("freeze", "app=web", timeout="300s"):
            raise ValueError("mine")
        assert len(world.daemon.undone) == 1


@pytest.mark.parametrize(("effect", "word"), [("refused", "no pod matches"), ("silent", "did not report it")])
def test_a_fault_without_effect_fails(tmp_path: Path, effect: str, word: str) -> None:
    with bench(tmp_path) as (testbed, world):
        world.daemon.effect = effect
        with pytest.raises(FaultFailed, match=word), testbed.fault("freeze", "app=web"):
            pytest.fail("the block is not reached")
        assert testbed.results[-1][0].verdict is Verdict.NO_EFFECT


def test_a_fault_that_cannot_be_taken_back_fails(tmp_path: Path) -> None:
    with bench(tmp_path) as (testbed, world):
        world.daemon.stuck = True
        with pytest.raises(FaultFailed, match="undo failed"), testbed.fault("freeze", "app=web", timeout="100ms"):
            pass
        assert testbed.results[-1][0].verdict is Verdict.UNDO_FAILED
        world.daemon.stuck = False
        until = time.monotonic() + 10
        while testbed.loop.run(world.left()):
            assert time.monotonic() < until


def test_a_pulse_that_dies_ends_the_block_and_no_number_is_believed(tmp_path: Path) -> None:
    """Dead, it meets no failure either."""
    with bench(tmp_path, pulse={"service": "web", "rate": 50}) as (testbed, world):
        testbed.apply("web.yaml")
        with pytest.raises(NotTrusted, match="inconclusive: the pulse ended before its time"), \
                testbed.fault("freeze", "app=web", timeout="300s"):
            (file,) = (tmp_path / "runs").glob("*/pulse-1.csv")
            os.kill(read(file).start["pid"], signal.SIGKILL)
        result, _ = testbed.results[-1]
        assert (result.verdict, result.exit_code) == (Verdict.INCONCLUSIVE, 9)
        assert result.runs[0].void_reason == "the pulse was killed: its records have no end"
        assert len(world.daemon.undone) == 1
        with pytest.raises(UsageError, match="nothing to recover from"):
            _ = testbed.recovery


def test_an_api_that_is_not_seen_any_more_ends_the_block(tmp_path: Path) -> None:
    with bench(tmp_path) as (testbed, world):
        testbed.apply("web.yaml")
        with pytest.raises(NotTrusted, match="pods cannot be watched any more"), \
                testbed.fault("freeze", "app=web", timeout="300s"):
            assert testbed._open is not None
            testbed._open.runner.observer.blind = "pods cannot be watched any more: you may not"
        assert len(world.daemon.undone) == 1


def test_a_void_run_does_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repetition, "LATENESS_LIMIT_S", -1.0)
    with bench(tmp_path) as (testbed, _):
        testbed.apply("web.yaml")
        with pytest.raises(NotTrusted, match="cannot be trusted: the pulse sent late"), \
                testbed.load("web", rate=50) as load:
            pass
        assert testbed.results[-1][0].verdict is Verdict.PASSED
        with pytest.raises(UsageError, match="when the block is over"):
            _ = load.requests


def test_mistakes_are_told_before_anything_is_done(tmp_path: Path) -> None:
    with bench(tmp_path) as (testbed, _):
        for fault, target, more, word in (
                ("freez", "app=web", {}, "did you mean 'freeze'"), ("freeze", "web", {}, "is no target"),
                ("freeze", "deployment/wbe", {}, "there is no deployment 'wbe'"), ("freeze", "", {}, "say whom"),
                ("network-delay", "app=web", {"delay__latenzy": "1s"}, "latenzy"),
                ("freeze", "app=web", {"timeout": "soon"}, "duration"), ("freeze", "app=", {"mode": "odd"}, "mode")):
            with pytest.raises((TestbedError, ValueError), match=word), testbed.fault(fault, target, **more):
                pass
        with pytest.raises(InvalidInput, match="rate"), testbed.load("web", rate=-1):
            pass
        with pytest.raises(TestbedError, match="nowhere.yaml"):
            testbed.apply("nowhere.yaml")
        with pytest.raises(UsageError, match="no client"):
            _ = testbed.client
        with pytest.raises(UsageError, match="nothing to recover from"):
            _ = testbed.recovery
        assert testbed.results == []


def test_a_workload_that_is_not_ready_is_an_error_with_its_reason(tmp_path: Path) -> None:
    with bench(tmp_path) as (testbed, world):
        world.daemon.ready = False
        with pytest.raises(TestbedError, match="0 of 4 ready"):
            testbed.apply("web.yaml", timeout_s=0.2)


@pytest.mark.parametrize(("text", "found"), [
    ("deployment/web", ("deployment", "web")), ("pod/web-1", ("pod", "web-1")), ("node/node-2", ("node", "node-2")),
    ("app=web", ("labels", "app=web")), ("example.org/app=web", ("labels", "example.org/app=web")), ("", ("", ""))])
def test_targets(text: str, found: tuple[str, str]) -> None:
    assert parse_target(text) == found


def test_recovery_is_plain_numbers() -> None:
    outages = (Outage(start_s=1, end_s=1.5), Outage(start_s=2, end_s=2.25))
    disruption = Disruption(
        name="crash", kind="fault", marks=Marks(injected=1.0, detected=1.1, isolated=1.4, restored=3.0),
        outages=outages, requests=Requests(due=10, ok=8, failed=2))
    found = Recovery("crash", disruption, True)
    assert [round(value, 3) for value in (found.detection, found.isolation, found.repair, found.outage)] == [
        0.1, 0.4, 2.0, 0.75]
    assert found.requests.failed == 2 and "2 of 10 requests failed" in str(found)
    still_out = disruption.model_copy(update={"outages": (*outages, Outage(start_s=3, end_s=4, ended=False)),
                                              "marks": Marks(injected=1.0)})
    never = Recovery("crash", still_out, True)
    assert all(math.isinf(value) for value in (never.detection, never.isolation, never.repair, never.outage))
    assert not never.isolation < 2


def test_our_faults_as_activities_of_chaos_toolkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert toolkit.recovery() == {"fault": None, "detection": 0.0, "isolation": 0.0, "repair": 0.0, "outage": 0.0,
                                  "failed": 0}
    with pytest.raises(TestbedError, match="testbed up"):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        toolkit.inject("freeze", "app=web")
    with bench(tmp_path) as (testbed, world):
        testbed.apply("web.yaml")
        monkeypatch.setattr("testbed.api.instance_files.load_instance", lambda directory: None)
        monkeypatch.setattr(SessionCluster, "open", lambda name: Opened(testbed.loop, world.platform, tmp_path))
        world.hurts = True
        told = toolkit.inject("freeze", "app=web", duration="300ms", timeout="100ms", service="web", rate=50)
        assert told == toolkit.recovery()
        assert {key: told[key] for key in ("fault", "detection", "isolation", "repair")} == {
            "fault": "freeze", "detection": None, "isolation": None, "repair": None}
        assert 0.2 < told["outage"] < 10 and 10 <= told["failed"] < 500  # 50 a second, for at least 300 ms
        assert len(world.daemon.undone) == 1
    toolkit._last.clear()


def test_what_an_interrupted_run_holds_is_taken_back_as_the_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[tuple[str, ...]] = []

    class Client:
        delete = staticmethod(lambda *names: deleted.append(names))

    monkeypatch.setattr("testbed.client.sync.connect", lambda name: contextlib.nullcontext(Client()))
    with bench(tmp_path) as (testbed, world):
        monkeypatch.setattr(toolkit, "_open", [testbed])
        toolkit._take_back()
        assert deleted == []
        with testbed.fault("freeze", "app=web", timeout="100ms"):
            toolkit._take_back()
        assert deleted == [("FreezeChaos", world.daemon.seen[-1]["metadata"]["name"], "default")]


class Opened:
    """An open cluster that somebody else closes."""

    def __init__(self, loop: LoopThread, platform: object, folder: Path) -> None:
        self.loop, self.platform, self.runs_folder = loop, platform, folder / "runs"

    def close(self) -> None:
        return
