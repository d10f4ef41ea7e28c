"""The pytest plugin: the fixture ``testbed``, with a cluster for the whole session. How it is used: docs/pytest.md.

pytest loads this file in every session of every project that has this package installed, so it imports nothing of ours
before a test asks for the fixture.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from testbed.testing.bench import Testbed
    from testbed.testing.cluster import SessionCluster

MARKER = ("testbed(workload=..., nodes=..., pulse=..., namespace=...): what a test with the fixture testbed needs: "
          "manifests (a file or several, beside the test), nodes (at least), requests (service, rate, path ...)")
BENCH = pytest.StashKey[Any]()
WORDS = pytest.StashKey[list[str]]()  # what the fixture told while the test ran
KEYWORDS = {"workload", "nodes", "pulse", "namespace"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("testbed", "resilience tests on a testbed cluster")
    group.addoption("--testbed-name", default=None, help="The cluster to use; default: one for this session.")
    group.addoption("--testbed-keep", action="store_true", help="Leave the session's own cluster standing.")
    group.addoption("--testbed-require", action="store_true",
                    help="Fail instead of skipping where no cluster is possible.")
    parser.addini("testbed_name", "As --testbed-name; also the environment variable TESTBED_NAME.", default="")
    parser.addini("testbed_nodes", "Nodes of the session's own cluster (3).", default="3")
    parser.addini("testbed_profile", "Its profile: fast or kubernetes.", default="fast")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.fixture(scope="session")
def testbed_cluster(request: pytest.FixtureRequest) -> Iterator[SessionCluster]:
    """The cluster of this session (under xdist: of this worker). Skips where this machine cannot have one."""
    from testbed.errors import EngineError, EnvironmentProblem, HostError

    config = request.config
    cluster, reason = None, ""
    try:
        cluster = _open(request, wanted_name(config))
    except (EnvironmentProblem, EngineError, HostError) as error:
        reason = f"no cluster: {error.message}" + (f" ({error.hint})" if error.hint else "")
    if cluster is None:
        if config.getoption("--testbed-require") or os.environ.get("TESTBED_REQUIRE"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    try:
        yield cluster
    finally:
        cluster.close()


def wanted_name(config: pytest.Config) -> str:
    """The cluster to use; "" for one of this session's own. Raises: UsageError where workers would share one."""
    name: str = (config.getoption("--testbed-name") or config.getini("testbed_name")
                 or os.environ.get("TESTBED_NAME", ""))
    if name and hasattr(config, "workerinput"):
        raise pytest.UsageError("workers of xdist would remove each other's pods in one cluster: leave out "
                                "--testbed-name (and testbed_name, TESTBED_NAME), then each has its own")
    return name


def _open(request: pytest.FixtureRequest, name: str) -> SessionCluster:
    """The named cluster when it is up, or one of this session's own that has room for every test."""
    from testbed.testing.cluster import SessionCluster

    config = request.config
    wanted = [int(_marked(item)["nodes"]) for item in request.session.items if "nodes" in _marked(item)]
    return SessionCluster.open(
        name, nodes=max([int(config.getini("testbed_nodes")), *wanted]),
        profile=config.getini("testbed_profile"), keep=config.getoption("--testbed-keep"))


@pytest.fixture
def testbed(testbed_cluster: SessionCluster, request: pytest.FixtureRequest) -> Iterator[Testbed]:
    """The testbed for one test: ``apply``, ``fault``, ``load``, ``recovery``, ``client``. What it applied is
    removed."""
    from testbed.api.instance import Instance
    from testbed.client.sync import Cluster
    from testbed.testing.bench import Testbed

    marked = _marked(request.node)
    words = request.node.stash.setdefault(WORDS, [])
    instance = getattr(testbed_cluster.platform, "instance", None)
    found = Testbed(
        testbed_cluster.platform, testbed_cluster.loop, folder=Path(str(request.path)).parent,
        runs_folder=testbed_cluster.runs_folder, name=request.node.name,
        namespace=marked.get("namespace", "default"), pulse=marked.get("pulse"), tell=words.append,
        connect=(lambda: Cluster.of_instance(instance)) if isinstance(instance, Instance) else None)
    request.node.stash[BENCH] = found
    try:
        workload = marked.get("workload", ())
        found.apply(*([workload] if isinstance(workload, str | Path) else workload))
        yield found
    finally:
        left = found.close()
        if left:
            pytest.fail("left in the cluster: " + "; ".join(left), pytrace=False)


def _marked(item: Any) -> dict[str, Any]:
    """Keywords of the marker. Raises: UsageError for one that it does not have."""
    found: dict[str, Any] = {}
    for marker in item.iter_markers("testbed"):  # the nearest first
        found = {**marker.kwargs, **found}
        if marker.args or set(marker.kwargs) - KEYWORDS:
            raise pytest.UsageError(
                f"{item.nodeid}: the marker testbed takes {', '.join(sorted(KEYWORDS))} as keywords")
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attaches to a failing test's report what the testbed did, and the timelines."""
    report = yield
    found = item.stash.get(BENCH, None)
    if report.failed and found is not None and report.when == "call":
        from testbed.report import terminal

        for result, folder in found.results:
            text = terminal.render(result, width=100)
            report.sections.append(("testbed timeline", f"{text}\ndata: {folder / 'result.json'}"))
        words: list[str] = item.stash[WORDS]
        report.sections.append(("testbed did", "\n".join(words) or "nothing"))
    return report
