"""The fixture ``testbed``, in test sessions of their own: over the real API in this process with a chaos daemon that
does as it is told, and where no cluster is possible."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from testbed import pytest_plugin

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
from testbed.experiment import method, phases

phases.BASELINE_S, method.VERIFY_TIMEOUT_S, phases.UNDO_TIMEOUT_S = 0.3, 0.5, 1.0
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
    assert len(daemon.undone) == 1
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


def test_one_cluster_for_all_and_a_failing_test_shows_its_timeline(project: pytest.Pytester) -> None:
    ran = run(project, TESTS + """

@pytest.mark.testbed(nodes=5, pulse={"service": "web", "rate": 50})
def test_requests(testbed):
    with testbed.fault("freeze", "app=web", timeout="300ms"):
        pass
    assert testbed.recovery.requests.due > 0


def test_too_slow(testbed):
    with testbed.fault("freeze", "deployment/web", timeout="300ms"):
        pass
    assert testbed.recovery.repair < 2
""", "--strict-markers")
    ran.assert_outcomes(passed=2, failed=1)
    ran.stdout.re_match_lines([
        r".*assert inf < 2", r".*freeze: detected never, isolated never, repaired never.*", r"-* testbed timeline -*",
        r".*freeze .*FreezeChaos.*", r"data: .*result\.json", r"-* testbed did -*", "undoing"])
    assert log(project) == ["up pytest 5", "down 3 []"]


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


def test_workers_of_xdist_may_not_share_one(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytestconfig, "workerinput", {}, raising=False)
    monkeypatch.setenv("TESTBED_NAME", "mine")
    with pytest.raises(pytest.UsageError, match="remove each other's pods"):
        pytest_plugin.wanted_name(pytestconfig)


def test_until_it_is_used_nothing_of_ours_is_imported(project: pytest.Pytester) -> None:
    """Locust's own plugin, loaded beside it, has the fixtures session and fastsession and the option --host."""
    (project.path / "conftest.py").unlink()
    ran = run(project, """
import sys
import pytest

def test_nothing_of_ours_is_imported():
    ours = sorted(name for name in sys.modules if name.split(".")[0] in ("testbed", "faults", "probes"))
    assert ours == ["testbed", "testbed.pytest_plugin"]
    assert not {"docker", "aiohttp", "numpy", "pydantic"} & set(sys.modules)

@pytest.mark.testbed(wrkload="x")
def test_misspelt(testbed): pass
""")
    ran.assert_outcomes(passed=1, errors=1)
    ran.stdout.re_match_lines([".*the marker testbed takes namespace, nodes, pulse, workload as keywords.*"])
