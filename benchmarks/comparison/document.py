"""docs/comparison.md from the results file. Pure."""

from __future__ import annotations

import statistics as simple
from collections.abc import Iterator, Sequence

from benchmarks.comparison.plan import RECOVERIES, SHIPPED, STRATEGIES, Comparison
from benchmarks.comparison.records import Record
from testbed.experiment.durations import say_duration
from testbed.experiment.result import RunResult, Statistic
from testbed.experiment.statistics import median_interval, over_runs

HEAD = """\
# Side by side

Written by `make compare` from its results file; do not edit. Every figure is a median over the runs of its row with its
95 % interval (bootstrap) in brackets. The runs of one table were interleaved in random order on one machine, so compare
rows with each other rather than with another machine's. What each platform is, and how a manifest is translated to it:
[platforms](platforms.md). What a mark is: [timeline](timeline.md).

"not seen": it did not come while the run was watched; such runs are kept (Kaplan and Meier).
"""


def page(records: Sequence[Record]) -> str:
    lines = [HEAD]
    lines += _machine(records)
    lines += ["## Recovery, by platform", ""]
    for comparison in RECOVERIES:
        lines += _recovery(comparison, [item for item in records if item.comparison == comparison.name])
    lines += _timers(records)
    lines += _shipping(records)
    return "\n".join(lines).rstrip() + "\n"


def _machine(records: Sequence[Record]) -> Iterator[str]:
    if records:
        env = records[-1].environment
        days = sorted({item.run.started_at.date().isoformat() for item in records})
        yield (f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))}; {env.cpus} processors, "
               f"{env.memory_bytes / 2**30:.0f} GiB, kernel {env.kernel}, Python {env.python}, testbed "
               f"{env.testbed_version}.")
        yield ""


# --- recovery


def _recovery(comparison: Comparison, records: Sequence[Record]) -> Iterator[str]:
    yield f"### {comparison.title}"
    yield ""
    if not records:
        yield "Not measured yet."
        yield ""
        return
    yield f"`{comparison.file.name}`. {comparison.note}".rstrip(" .") + "."
    yield ""
    yield "| platform | runs | noticed | isolated | restored | outage for users | failed requests |"
    yield "|---|---|---|---|---|---|---|"
    for platform in comparison.platforms:
        runs = _numbered([item.run for item in records if item.platform == platform])
        if not runs:
            continue
        found = {item.quantity: item for item in over_runs(runs, 1) if item.disruption == comparison.step}
        cells = [say(found.get(quantity)) for quantity in ("detection", "isolation", "repair", "outage", "failed")]
        yield f"| {platform} | {len(runs)} | {' | '.join(cells)} |"
    yield ""
    yield from _business([item.run for item in records])


def _business(runs: Sequence[RunResult]) -> Iterator[str]:
    """How calm the machine was: on a calmer one all rows are faster."""
    known = [run.machine.runnable for run in runs if run.machine is not None and run.machine.runnable is not None]
    if known:
        yield f"Tasks that shared each CPU meanwhile: {simple.median(known):.1f} (median of the runs)."
        yield ""


def _numbered(runs: Sequence[RunResult]) -> list[RunResult]:
    """Runs of several sittings, numbered through."""
    return [run.model_copy(update={"number": number}) for number, run in enumerate(runs, start=1)]


def say(item: Statistic | None) -> str:
    """``1.52 s (1.31 – 1.80)``; of a count the same without a unit."""
    if item is None or item.n + item.censored == 0:
        return "–"
    tail = f"; not seen in {item.censored} of {item.n + item.censored}" if item.censored else ""
    if item.median is None:
        return f"not seen in {item.censored} of {item.n + item.censored}"
    return _with_interval(item.median, item.ci_low, item.ci_high, item.unit == "s") + tail


def _with_interval(middle: float, low: float | None, high: float | None, seconds: bool) -> str:
    def one(value: float) -> str:
        return say_duration(value) if seconds else f"{value:g}"

    if low is None:
        return one(middle)
    return f"{one(middle)} ({one(low)} – {one(high) if high is not None else 'beyond'})"


def _timers(records: Sequence[Record]) -> Iterator[str]:
    yield "### Timers"
    yield ""
    yield "| platform | what sets the pace |"
    yield "|---|---|"
    latest = {item.platform: item.timing for item in records}
    for platform in dict.fromkeys(name for comparison in RECOVERIES for name in comparison.platforms):
        if platform in latest:
            yield f"| {platform} | {'; '.join(f'{what} {value}' for what, value in latest[platform]) or '–'} |"
    yield ""


# --- ways to ship


def _shipping(records: Sequence[Record]) -> Iterator[str]:
    yield "## Ways to ship a version"
    yield ""
    yield ("Four replicas under 100 requests per second. A good version is shipped; a bad one answers 30 % of its "
           "requests with an error, is looked at for five seconds and taken back.")
    yield ""
    yield ("| strategy | runs | downtime | requests lost | peak replicas | extra container-seconds | "
           "bad version: lost | time to undo | users who met it |")
    yield "|---|---|---|---|---|---|---|---|---|"
    for strategy in STRATEGIES:
        good, bad = ([item.run for item in records if item.comparison == f"{strategy}-{quality}"]
                     for quality in ("good", "bad"))
        if not good and not bad:
            yield f"| {strategy} | not measured yet |" + " |" * 7
            continue
        yield "| " + " | ".join((
            strategy, f"{len(good)} + {len(bad)}",
            _said([sum(item.seconds for item in run.outages) for run in good], True),
            _said([float(run.requests.failed) for run in good], False),
            _said([float(run.shipping.peak_pods) for run in good if run.shipping], False),
            _said([run.shipping.extra_container_s for run in good if run.shipping], False),
            _said([float(run.requests.failed) for run in bad], False),
            _said([value for run in bad if (value := undo_s(run)) is not None], True),
            _said([value for run in bad if (value := exposed(run)) is not None], False, " %"),
        )) + " |"
    yield ""
    yield from _business([item.run for item in records if item.comparison in {one.name for one in SHIPPED}])
    yield f"Experiments: {', '.join(f'`{item.file.name}`' for item in SHIPPED)} in `benchmarks/comparison/experiments`."


def undo_s(run: RunResult) -> float | None:
    """From the beginning of the undo to the last answer that the new version gave."""
    undo = run.disruption("undo")
    if undo is None or undo.marks.injected is None or run.shipping is None:
        return None
    last = max((at for image, at in run.shipping.last_answer_s.items() if image.endswith(":v2")), default=0.0)
    return max(0.0, last - undo.marks.injected)


def exposed(run: RunResult) -> float | None:
    """The share in percent of all answers from the first step on that the new version gave."""
    if run.shipping is None or not run.shipping.answers:
        return None
    met = sum(count for image, count in run.shipping.answers.items() if image.endswith(":v2"))
    return 100 * met / sum(run.shipping.answers.values())


def _said(values: Sequence[float], seconds: bool, unit: str = "") -> str:
    if not values:
        return "–"
    interval = median_interval(values, 1)
    if not seconds:
        values = [round(value, 1) for value in values]
        interval = (round(interval[0], 1), round(interval[1], 1)) if interval else None
    low, high = interval or (None, None)
    return _with_interval(simple.median(values), low, high, seconds) + unit
