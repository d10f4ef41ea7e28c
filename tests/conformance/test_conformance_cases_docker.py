"""The conformance cases that end within 60 s, on real containers: about ten in every run, all in ``make test-long``."""

from __future__ import annotations

import pytest
from cases.outcomes import recorded
from cases.registry import CASES, Case
from cases.worlds import run_on_docker
from support.cluster import Cluster

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


@pytest.mark.parametrize("case", [
    pytest.param(case, id=name, marks=() if case.quick else pytest.mark.long)
    for name, case in sorted(CASES.items()) if not case.not_on_docker
])
async def test_case_on_docker(case: Case, cluster: Cluster) -> None:
    with recorded(case, "docker"):
        await run_on_docker(case, cluster.instance)
