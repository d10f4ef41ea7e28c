"""The fixture ``testbed``, in test sessions of their own: over the real API in this process with a chaos daemon that
does as it is told, and where no cluster is possible."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).resolve().parents[2]

# Opens the world of the runner's tests instead of a cluster. It goes on in the plugin's own loop.
CONFTEST = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests' / 'experiment')!r}]
from contextlib import asynccontextmanager
from pathlib import Path
import pytest
from runner_world import RunnerWorld
from testbed.cli import platforms
from testbed.experiment import phases

phases.BASELINE_S, phases.VERIFY_TIMEOUT_S, phases.UNDO_TIMEOUT_S = 0.3, 0.5, 1.0
LOG = Path(__file__).parent / "log"


def cluster_source(opening):
    @asynccontextmanager
    async def opened(spec):
        LOG.open("a").write(f"up {{opening.cluster.partition('-')[0]}} {{spec.nodes}}\\n")
        async with RunnerWorld(Path(__file__).parent) as world:
            platforms.world = world
            try:
                yield world.platform
            finally:
                LOG.open("a").write(f"down {{len(world.daemon.undone)}} {{await world.left()}}\\n")
    return opened


platforms.cluster_source = cluster_source


@pytest.fixture
def daemon(testbed_cluster):
    return platforms.world.daemon
"""
TESTS = """
import pytest

pytestmark = pytest.mark.testbed(workload="web.yaml")


def test_holds_a_fault_for_the_block(testbed, daemon):
    with testbed.fault("freeze", "deployment/web", duration="30s", timeout="300ms"):
        assert daemon.injected.is_set() and daemon.undone == []
        assert daemon.seen[-1]["spec"]["selector"] == {
            "namespaces": ["default"], "labelSelectors": {"app": "web"}}
    assert len(daemon.undone) == 1
    assert testbed.recovery.detection > 1e9 and "never" in str(testbed.recovery)
    with pytest.raises(Exception, match="nobody sent requests"):
        testbed.recovery.requests
    result, folder = testbed.results[-1]
    assert (folder / "result.json").exists() and result.command == "inject"
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with the world in its conftest and the sample's manifest."""
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("TESTBED_NAME", "TESTBED_REQUIRE"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeconftest(CONFTEST)
    shutil.copyfile(ROOT / "examples" / "web.yaml", pytester.path / "web.yaml")
    return pytester


def run(project: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    project.makepyfile(test_it=tests)
    return project.runpytest_subprocess("-p", "testbed.pytest_plugin", "-p", "no:cacheprovider", *options, timeout=90)


def log(project: pytest.Pytester) -> list[str]:
    return (project.path / "log").read_text().splitlines()


def test_a_fault_is_held_for_the_block_and_everything_is_taken_away(project: pytest.Pytester) -> None:
    run(project, TESTS, "--strict-markers").assert_outcomes(passed=1)
    assert log(project) == ["up pytest 3", "down 1 []"]


def test_what_a_test_can_measure_and_must_not_ask_for(project: pytest.Pytester) -> None:
    ran = run(project, """
import math
import pytest

@pytest.mark.testbed(workload=["web.yaml"], nodes=5, pulse={"service": "web", "rate": 50})
def test_requests(testbed):
    with pytest.raises(Exception, match="nothing to recover from"):
        testbed.recovery
    with testbed.fault("freeze", "app=web", timeout="300ms", settings={}):
        pass
    assert testbed.recovery.requests.failed == 0 and testbed.recovery.outage == 0
    assert math.isinf(testbed.recovery.isolation) and not testbed.recovery.isolation < 2

def test_load(testbed, daemon):
    testbed.apply("web.yaml")
    with testbed.load("web", rate=50) as load:
        with pytest.raises(Exception, match="when the block is over"):
            load.requests
        with testbed.fault("freeze", "deployment/web", timeout="300ms"):
            with testbed.fault("freeze", "deployment/web", timeout="300ms"):
                pass
            assert len(daemon.undone) == 2  # of the test before, and the inner one
        assert len(daemon.undone) == 3
    assert load.requests.due > 20 and load.requests.failed == 0
    assert [item.name for item in load.result.runs[0].disruptions if item.kind == "fault"] == ["freeze", "freeze-2"]
    assert len(testbed.results) == 1

def test_mistakes(testbed):
    testbed.apply("web.yaml")
    for fault, target, more, word in (
            ("freez", "app=web", {}, "did you mean 'freeze'"), ("freeze", "web", {}, "is no target"),
            ("freeze", "deployment/wbe", {}, "there is no deployment 'wbe'"), ("freeze", "", {}, "say whom"),
            ("network-delay", "deployment/web", {"delay__latenzy": "1s"}, "latenzy"),
            ("freeze", "app=web", {"timeout": "soon"}, "duration")):
        with pytest.raises(Exception, match=word):
            with testbed.fault(fault, target, **more):
                pass
    with pytest.raises(Exception, match="rate"):
        with testbed.load("web", rate=-1):
            pass
    with pytest.raises(Exception, match="nowhere.yaml"):
        testbed.apply("nowhere.yaml")
    with pytest.raises(Exception, match="no client"):
        testbed.client
""", "-x")
    ran.assert_outcomes(passed=3)
    assert log(project) == ["up pytest 5", "down 3 []"]


def test_a_failing_test_shows_the_timeline_and_where_the_data_is(project: pytest.Pytester) -> None:
    ran = run(project, """
import pytest

@pytest.mark.testbed(workload="web.yaml")
def test_too_slow(testbed):
    with testbed.fault("freeze", "deployment/web", timeout="300ms"):
        pass
    assert testbed.recovery.repair < 2

@pytest.mark.testbed(workload="web.yaml")
def test_breaks_inside(testbed, daemon):
    with testbed.fault("freeze", "deployment/web", timeout="30s"):
        raise ValueError("mine")

@pytest.mark.testbed(workload="web.yaml")
@pytest.mark.parametrize("effect", ["refused", "silent"])
def test_no_effect(testbed, daemon, effect):
    daemon.effect = effect
    with testbed.fault("freeze", "deployment/web"):
        pytest.fail("never")
""")
    ran.assert_outcomes(failed=4)
    ran.stdout.re_match_lines_random([
        r".*assert inf < 2", r"-* testbed timeline -*", r".*freeze .*FreezeChaos.*", r"data: .*result\.json",
        r".*ValueError: mine", r".*FaultFailed: fault did not take effect: freeze: no pod matches",
        r".*FaultFailed: .*did not report it"])
    assert log(project)[-1].startswith("down ") and log(project)[-1].endswith("[]")


def test_a_machine_without_an_engine_skips_and_says_why(project: pytest.Pytester) -> None:
    (project.path / "conftest.py").unlink()
    options = {"DOCKER_HOST": f"unix://{project.path}/no.sock"}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in options.items():
            patch.setenv(key, value)
        ran = run(project, "def test_it(testbed): pass\ndef test_other(): pass", "-rs")
        ran.assert_outcomes(skipped=1, passed=1)
        ran.stdout.re_match_lines([r"SKIPPED .*no cluster: .*"])
        run(project, "def test_it(testbed): pass", "--testbed-require").assert_outcomes(errors=1)


def test_ctrl_c_takes_the_cluster_down(project: pytest.Pytester) -> None:
    ran = run(project, """
import os, signal, time
import pytest

@pytest.mark.testbed(workload="web.yaml")
def test_it(testbed):
    with testbed.fault("freeze", "deployment/web", duration="30s"):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
""")
    assert ran.ret == pytest.ExitCode.INTERRUPTED
    assert log(project) == ["up pytest 3", "down 1 []"]


def test_workers_of_xdist_have_a_cluster_each(project: pytest.Pytester) -> None:
    run(project, "def test_it(testbed): pass", "-n", "2", "--dist", "each").assert_outcomes(passed=2)
    assert sorted(line.partition(" ")[0] for line in log(project)) == ["down", "down", "up", "up"]
    ran = run(project, TESTS, "-n", "1", "--testbed-name", "mine")
    ran.assert_outcomes(errors=1)
    ran.stdout.re_match_lines([".*workers of xdist would remove each other's pods.*"])


def test_the_plugin_costs_nothing_and_clashes_with_nothing_until_it_is_used(project: pytest.Pytester) -> None:
    """Locust's own plugin has the fixtures session and fastsession and the option --host."""
    (project.path / "conftest.py").unlink()
    ran = run(project, """
import sys

def test_nothing_of_ours_is_imported():
    ours = sorted(name for name in sys.modules if name.split(".")[0] in ("testbed", "faults", "probes"))
    assert ours == ["testbed", "testbed.pytest_plugin"]
    assert not {"docker", "aiohttp", "numpy", "pydantic"} & set(sys.modules)
""", "--markers")
    ran.stdout.fnmatch_lines(["@pytest.mark.testbed(workload=*"])
    run(project, project.path.joinpath("test_it.py").read_text()).assert_outcomes(passed=1)
    ran = run(project, "import pytest\n@pytest.mark.testbed(wrkload='x')\ndef test_it(testbed): pass")
    ran.stdout.re_match_lines([".*the marker testbed takes namespace, nodes, pulse, workload as keywords.*"])
