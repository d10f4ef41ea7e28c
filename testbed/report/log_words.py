"""Which logs a run kept of what it disrupted, in words: the same in every report. Links are the HTML report's."""

from __future__ import annotations

from testbed.experiment.durations import say_duration
from testbed.experiment.result import Disruption, KeptLog, RunResult
from testbed.report.words import clean


def log_lines(run: RunResult) -> list[str]:
    """Whose logs are in the run's folder, and whose are not; none where nothing was disrupted."""
    pods = dict.fromkeys(log.pod.rpartition("/")[2] for log in run.logs)
    kept = [f"logs of what was disrupted: {len(run.logs)} in logs/run-{run.number}-*.log, of {', '.join(pods)}"] \
        if run.logs else []
    return [*map(clean, kept), *missing_lines(run)]


def missing_lines(run: RunResult) -> list[str]:
    """Whose logs there are none of, one line for each reason: many pods mostly share one."""
    whose: dict[str, list[str]] = {}
    for missing in run.logs_missing:
        pod, _, why = missing.partition(": ")
        whose.setdefault(why, []).append(pod)
    return [clean(f"no log of {', '.join(pods)}" + (f": {why}" if why else "")) for why, pods in whose.items()]


def said(log: KeptLog, run: RunResult) -> str:
    """``web-1 web, the attempt before``; with when it was read where its pod was gone at the end of the run."""
    when = "" if log.read_at_s >= run.duration_s - 0.001 else f", as it was at {say_duration(log.read_at_s)}"
    before = ", the attempt before" if log.of == "previous" else ""
    return clean(f"{log.pod.rpartition('/')[2]} {log.container}{before}{when}")


def logs_of(item: Disruption, run: RunResult) -> list[KeptLog]:
    """Of the pods that this disruption hit."""
    keys = {key.removeprefix("pod ") for key in item.target_keys}
    return [log for log in run.logs if log.pod in keys]
