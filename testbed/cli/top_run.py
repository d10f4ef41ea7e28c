"""A run as ``testbed top`` tells it: where it is, its load of the last minute, its disruptions with their marks. Pure:
the status that its runner publishes in, lines with their tone out. Whoever may write Experiments can have published
anything: what has not the form that our runner writes is said to be so, and the rest is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from testbed.api.experiment_status import RUNNING, goes_on
from testbed.cli.output import plain
from testbed.cli.top_rows import BAD, GOOD, PLAIN, QUIET, WARN
from testbed.experiment.durations import say_duration
from testbed.server.human import since

Json = Mapping[str, Any]
Line = tuple[str, str]  # words and tone

BARS = " ▁▂▃▄▅▆▇█"
SECONDS_SHOWN = 60
DISRUPTIONS_SHOWN = 4
SUMMARY = ("detected", "isolated", "restored")  # marks that every disruption is told with; the newest with all
CLIENTS = ("first_failed", "last_failed", "latency_normal")
NO_OUTCOME_S = 300.0  # for so long a run that has ended is still shown


def shown_runs(picture: Json, now: datetime) -> list[tuple[str, Json]]:
    """Those that run; else the one that has ended last, or lost its runner, for a while."""
    runs = [(key.split("/", 1)[-1], status) for key, status in picture.get("experiments", {}).items()
            if status and isinstance(status, Mapping)]
    running = [item for item in runs if goes_on(item[1], now)]
    if running:
        return running[-2:]
    ended = [item for item in runs if _age_s(_last_word(item[1]), now) < NO_OUTCOME_S]
    return sorted(ended, key=lambda item: str(_last_word(item[1])))[-1:]


def _last_word(status: Json) -> Any:
    return status.get("updatedAt") if status.get("phase") == RUNNING else status.get("endedAt")


def run_lines(name: str, status: Json, now: datetime) -> Iterator[Line]:
    yield from _lines(lambda item: [_heading(name, item, now)], [status], "it")
    yield from _lines(_load, status.get("load"), "its load")
    yield from _lines(lambda item: [_objective(item)], status.get("objectives"), "an objective")
    yield from _lines(lambda item: [disruption_line(item)], status.get("disruptions"), "a disruption",
                      most=DISRUPTIONS_SHOWN)
    yield from _lines(mark_lines, status.get("disruptions"), "a disruption's marks", most=1)


def _lines(
    make: Callable[[Json], Iterable[Line]], items: Any, what: str, *, most: int | None = None,
) -> Iterator[Line]:
    """Of each, or of the last so many."""
    each = items if isinstance(items, list) else [items] if items else []
    for item in each if most is None else each[-most:]:
        try:
            told = [(plain(text), tone) for text, tone in make(item)]
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError):
            told = [(f"  what the run says of {what} cannot be read: no runner of this version wrote it", WARN)]
        yield from told


def _heading(name: str, status: Json, now: datetime) -> Line:
    title = f"{status.get('experiment', '')} ({name})"
    if status.get("phase") != RUNNING:
        passed = status.get("exitCode") == 0
        reason = f": {status['reason']}" if status.get("reason") else ""
        return f"{title}  {status.get('verdict', 'ended')}{reason}", GOOD if passed else BAD
    if not goes_on(status, now):
        return f"{title}  its runner is gone: it said nothing more for {since(status.get('updatedAt'), now)}", BAD
    run = status.get("run") or {}
    place = " · ".join(part for part in (
        f"run {run.get('number', 0)} of {run.get('of', 0)}", run.get("phase", ""), run.get("step", ""),
        f"for {since(status.get('startedAt'), now)}") if part)
    done = ", ".join(f"{count} {verdict}" for verdict, count in (status.get("verdicts") or {}).items())
    return f"{title}  {place}{f'  so far: {done}' if done else ''}", PLAIN


def _load(target: Json) -> Iterator[Line]:
    """How much of it went wrong; the last seconds as bars, their height the slowest requests' latency."""
    wrong = [f"{target.get(what, 0)} {what}" for what in ("failed", "late", "unsent") if target.get(what)]
    recent = list(target.get("recent") or ())[-SECONDS_SHOWN:]
    last = f"  p50 {_ms(recent[-1][4])}, p99 {_ms(recent[-1][5])}" if recent else ""
    yield (f"  {target.get('target', '')} {target.get('rate', 0):g}/s: {target.get('sent', 0)} sent, "
           f"{', '.join(wrong) or 'none failed'}{last}", BAD if target.get("failed") else WARN if wrong else GOOD)
    if recent:
        yield f"  p99    {bars([second[5] for second in recent])}", QUIET
        if any(second[2] or second[3] for second in recent):
            yield f"  failed {bars([second[2] + second[3] for second in recent])}", BAD


def bars(values: Sequence[float | None]) -> str:
    """One character a value; the highest fills it, and what is more than nothing shows."""
    top = max((value for value in values if value), default=0.0)
    return "".join(BARS[0] if not value or not top else BARS[max(1, round(8 * value / top))] for value in values)


def disruption_line(item: Json) -> Line:
    failed = f"{item['failed']} failed" if item.get("failed") else ""
    told = " · ".join((*_marks(item, lambda name: name in SUMMARY), *([failed] if failed else []))) or "injected"
    where = f"  {item.get('step', '')} {item.get('target', '')}"
    return f"{where} (run {item.get('run', 0)}): {told}", GOOD if item.get("restored") else WARN


def mark_lines(item: Json) -> Iterator[Line]:
    """What clients met, and how it was mended, where more is known of these than the summary tells."""
    if clients := _marks(item, lambda name: name in CLIENTS):
        yield f"    clients  {' · '.join(clients)}", QUIET
    if set(item.get("marks") or {}).difference(SUMMARY, CLIENTS):
        yield f"    repair   {' · '.join(_marks(item, lambda name: name not in ('isolated', *CLIENTS)))}", QUIET


def _marks(item: Json, wanted: Callable[[str], bool]) -> list[str]:
    """In the order of their times."""
    return [f"{name.replace('_', ' ')} {say_duration(seconds)}"
            for name, seconds in sorted((item.get("marks") or {}).items(), key=lambda mark: float(mark[1]))
            if wanted(name)]


def _objective(item: Json) -> Line:
    met = item.get("met")
    word, tone = ("not judged yet", QUIET) if met is None else ("met", GOOD) if met else ("missed", BAD)
    measured = f", {item['measured']}" if item.get("measured") else ""
    return f"  {item['text']}: {word}{measured}", tone


def _ms(value: float | None) -> str:
    return say_duration(None if value is None else value / 1000)


def _age_s(text: Any, now: datetime) -> float:
    try:
        return (now - datetime.fromisoformat(str(text))).total_seconds()
    except (TypeError, ValueError):  # none, or one without a zone
        return float("inf")
