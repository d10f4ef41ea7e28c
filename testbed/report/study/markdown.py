"""A study as Markdown, for job summaries and merge requests."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.experiment.result import Study
from testbed.report.comparison import markdown_lines
from testbed.report.markdown import cell
from testbed.report.study.names import caption
from testbed.report.study.rows import (
    decision,
    disruption_names,
    judged_badly,
    rows,
    timing_lines,
    titles,
    whole_runs,
)
from testbed.report.words import OUTAGE_NOTE


def render(study: Study) -> str:
    return "\n".join(_lines(study)) + "\n"


def _lines(study: Study) -> Iterator[str]:
    reason = f": {study.reason}" if study.reason else ""
    yield f"## {'❌' if study.exit_code else '✅'} {cell(study.name)}: {cell(study.verdict.value + reason)}"
    yield ""
    yield f"{len(study.variants)} variants in turns, {len(study.turns)} runs. {cell(decision(study))}".rstrip()
    yield ""
    if said := caption(study):
        yield cell(said)
        yield ""
    for name in disruption_names(study):
        yield f"### {cell(name)}"
        yield ""
        yield f"| variant | runs | verdict | {' | '.join(titles(study))} | restored, against the first |"
        yield "|---" * (len(titles(study)) + 4) + "|"
        for row in rows(study, name):
            cells = (f"**{cell(row.variant)}**", row.runs, cell(row.verdict), *row.cells, row.against)
            yield f"| {' | '.join(cells)} |"
        yield ""
    if study.gated is not None:
        yield from markdown_lines(study.gated)
    yield f"<sub>{cell(OUTAGE_NOTE)}</sub>"
    yield ""
    yield from (f"- {cell(line)}" for line in whole_runs(study))
    yield from (f"- {cell(line)}" for line in timing_lines(study))
    for line in judged_badly(study):
        yield f"- {cell(line)}"
