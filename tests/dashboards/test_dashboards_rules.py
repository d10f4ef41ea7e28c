"""Recording and alerting rules, judged by Prometheus' own tool."""

from __future__ import annotations

from support.boards import needs_promtool, promtool


@needs_promtool
def test_rules_notice_an_outage_and_its_end() -> None:
    for arguments in (("check", "rules", "rules.yml"), ("test", "rules", "tests.yml")):
        promtool(*arguments)
