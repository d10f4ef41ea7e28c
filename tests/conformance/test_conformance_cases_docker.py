"""The conformance cases that end within 60 s, on real containers: ten in every run, all in ``make test-long``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cases.outcomes import recorded
from cases.registry import CASES, Case
from cases.worlds import run_on_docker
from support import leaks
from support.cluster import Cluster, bring_up_for_test

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("st")
    leaks.STATE_ROOTS.add(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home))
        with bring_up_for_test("cases", home, profile="kubernetes") as found:
            yield found


@pytest.mark.parametrize("case", [
    pytest.param(case, id=name, marks=() if case.quick else pytest.mark.long)
    for name, case in sorted(CASES.items()) if not case.not_on_docker
])
async def test_case_on_docker(case: Case, cluster: Cluster) -> None:
    with recorded(case, "docker"):
        await run_on_docker(case, cluster.instance)
