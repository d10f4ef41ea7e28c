"""A study as one HTML file that needs nothing else; the reports of its variants lie in folders beside it."""

from __future__ import annotations

from typing import Any

from testbed.experiment.result import Study
from testbed.report.html import library, page_environment, script_json
from testbed.report.study.rows import disruption_names, judged_badly, rows, say_timing, titles, whole_runs
from testbed.report.words import OUTAGE_NOTE, clean

CHARTED = (("isolation", "isolated after"), ("repair", "restored after"), ("outage", "outage for users"))


def render(study: Study) -> str:
    """The whole page."""
    from testbed.report import charts

    environment = page_environment()
    environment.filters.update(clean=clean, timing=say_timing)
    names = disruption_names(study)
    return environment.get_template("study/study.html.j2").render(
        study=study, titles=titles(study), outage_note=OUTAGE_NOTE, bad=list(judged_badly(study)),
        whole=list(whole_runs(study)), library=library(),
        tables=[{"name": clean(name), "rows": list(rows(study, name))} for name in names],
        data=script_json({"spec": charts.spread(), "charts": {clean(name): chart_data(study, name) for name in names}}),
    )


def chart_data(study: Study, disruption: str) -> dict[str, list[dict[str, Any]]]:
    """Every run's value of each path, with the median and its interval, a line for each variant."""
    statistics: list[dict[str, Any]] = []
    values: list[dict[str, Any]] = []
    for quantity, words in CHARTED:
        for item in study.variants:
            found = next((one for one in item.result.statistics
                          if (one.disruption, one.quantity) == (disruption, quantity) and one.values), None)
            if found is None:
                continue
            label = clean(f"{words}: {item.name}")
            statistics.append({"label": label, "median": found.median, "low": found.ci_low, "high": found.ci_high})
            values += [{"label": label, "value": round(value, 4)} for value in found.values]
    return {"statistics": statistics, "values": values}
