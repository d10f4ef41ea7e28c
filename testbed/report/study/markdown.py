"""A study as Markdown, for job summaries and merge requests."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.experiment.result import Study
from testbed.report.markdown import cell
from testbed.report.study.rows import disruption_names, judged_badly, rows, say_timing, titles, whole_runs
from testbed.report.words import OUTAGE_NOTE


def render(study: Study) -> str:
    return "\n".join(_lines(study)) + "\n"


def _lines(study: Study) -> Iterator[str]:
    yield f"## {cell(study.name)}: {len(study.variants)} variants in turns"
    yield ""
    for name in disruption_names(study):
        yield f"### {cell(name)}"
        yield ""
        yield f"| variant | runs | {' | '.join(titles(study))} | restored, against the first |"
        yield "|---" * (len(titles(study)) + 3) + "|"
        for row in rows(study, name):
            yield f"| **{cell(row.variant)}** | {row.runs} | {' | '.join(row.cells)} | {row.against} |"
        yield ""
    yield f"<sub>{cell(OUTAGE_NOTE)}</sub>"
    yield ""
    yield from (f"- {cell(line)}" for line in whole_runs(study))
    for item in study.variants:
        yield f"- {cell(item.name)}: {cell(say_timing(item))}"
    for line in judged_badly(study):
        yield f"- {cell(line)}"
