"""A study as one HTML file that needs nothing else; the reports of its variants lie in folders beside it."""

from __future__ import annotations

from typing import Any

from testbed.experiment.result import Study
from testbed.report.chart_words import spread_words
from testbed.report.comparison import as_table
from testbed.report.html import library, page_environment, script_json
from testbed.report.study.names import caption, in_lines, named
from testbed.report.study.rows import (
    common_timing,
    decision,
    disruption_names,
    judged_badly,
    own_timing,
    rows,
    say_others,
    titles,
    whole_runs,
)
from testbed.report.words import OUTAGE_NOTE, clean, say_quantity

CHARTED = (("isolation", "isolated after"), ("repair", "restored after"), ("outage", "outage for users"))
LINE_PX = 13
LABEL_WIDTH = 22  # characters of a line: a phone has room for the chart beside it


def render(study: Study) -> str:
    """The whole page."""
    from testbed.report import charts

    environment = page_environment()
    environment.filters.update(clean=clean)
    names = disruption_names(study)
    return environment.get_template("study/study.html.j2").render(
        study=study, titles=titles(study), outage_note=OUTAGE_NOTE, bad=list(judged_badly(study)),
        decision=decision(study), others=say_others(study), caption=caption(study), timing=common_timing(study),
        variants=list(own_timing(study)),
        compared=as_table(study.gated) if study.gated is not None else {},
        whole=list(whole_runs(study)), library=library(),
        tables=[{"name": clean(name), "rows": list(rows(study, name))} for name in names],
        data=script_json({"spec": charts.variants(),
                          "charts": {clean(name): chart_data(study, name) for name in names}}),
    )


def chart_data(study: Study, disruption: str) -> list[dict[str, Any]]:
    """For each path a chart: every run's value, with the median and its interval, a line for each variant."""
    return [chart for quantity, words in CHARTED if (chart := _chart(study, disruption, quantity, words))["values"]]


def _chart(study: Study, disruption: str, quantity: str, words: str) -> dict[str, Any]:
    statistics: list[dict[str, Any]] = []
    values: list[dict[str, Any]] = []
    said: list[tuple[str, str]] = []
    for name, item in named(study):
        found = next((one for one in item.result.statistics
                      if (one.disruption, one.quantity) == (disruption, quantity) and one.values), None)
        if found is None:
            continue
        label = in_lines(name, LABEL_WIDTH)
        statistics.append({"label": label, "median": found.median, "low": found.ci_low, "high": found.ci_high})
        values += [{"label": label, "value": round(value, 4)} for value in found.values]
        said.append((name, say_quantity(item.result, disruption, quantity)))
    lines = max((str(item["label"]).count("\n") + 1 for item in statistics), default=1)
    return {"title": words, "statistics": statistics, "values": values,
            "words": spread_words(f"{disruption}, {words}, by variant", said),
            "height": len(statistics) * max(26, LINE_PX * lines + 10)}
