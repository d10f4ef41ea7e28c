"""How a timeline is said, the same in every report: marks and gaps no finer than they are known, where the seconds of a
path went, and who saw what."""

from __future__ import annotations

from testbed.experiment.durations import say_duration
from testbed.experiment.result import Alert, Disruption, Gap
from testbed.experiment.result.timeline import Kind, Path, causes_of
from testbed.report.words import MARK_WORDS, NOT_PAGED, clean

KIND_WORDS: dict[Kind, str] = {
    "probe": "probe", "eviction-timeout": "eviction timeout", "noticing": "noticing", "control": "control loop",
    "back-off": "back-off", "scheduling": "scheduling", "image": "image", "container-start": "container start",
    "application-start": "application start-up", "readiness": "waiting for readiness", "endpoints":
    "endpoint propagation", "draining": "draining", "min-ready": "minReadySeconds", "retries": "retries",
    "fault": "the fault itself", "unexplained": "unexplained",
}
WITNESS_WORDS = {"api": "API", "engine": "engine", "clients": "clients", "injector": "injector"}
NOTHING_CAME = "no disruption came of it: nobody noticed it, and no request was lost"
PATHS: tuple[Path, ...] = ("isolation", "repair")
SHOWN_S = 0.0005  # shorter parts are left to the total
SHOWN_SHARE = 0.01


def at_mark(item: Disruption, gap: Gap) -> str:
    """When the gap ended, since the injection."""
    if item.marks.injected is None:
        return "–"
    return say_duration(gap.end_s - item.marks.injected, _end_u(item, gap))


def _end_u(item: Disruption, gap: Gap) -> float | None:
    if not item.mark_uncertainties:
        return None  # a result of before
    if gap.end_mark in item.mark_uncertainties:
        return item.uncertainty_of(gap.end_mark)
    return gap.uncertainty_s


def since(item: Disruption, mark: str) -> str:
    """When a mark was, since the injection."""
    at, zero = item.marks.get(mark), item.marks.injected
    if at is None or zero is None:
        return "–"
    of_clients = next((seen.uncertainty_s for seen in item.sightings if seen.witness == "clients"), None)
    return say_duration(at - zero, of_clients if mark in ("first_failed", "last_failed") else item.uncertainty_of(mark))


def largest(item: Disruption, path: Path) -> str:
    """What cost most of a path, in words; of a result of before, its longest gap."""
    cause = item.largest_cause(path)
    if cause is not None:
        return clean(f"{KIND_WORDS[cause.kind]} ({cause.words}): {say_duration(cause.seconds, cause.uncertainty_s)}")
    gap = max((gap for gap in item.gaps if gap.path == path and gap.seconds > 0), key=lambda gap: gap.seconds,
              default=None)
    return clean(f"{gap.cause}: {say_duration(gap.seconds)}") if gap is not None else ""


def length(gap: Gap) -> str:
    return say_duration(gap.seconds, gap.uncertainty_s)


def parts_line(gap: Gap) -> str:
    """Where the seconds of one gap went, by kind, where that is more than its cause says already; else empty."""
    shown = [cause for cause in causes_of(gap.parts) if cause.seconds >= max(
        SHOWN_S, SHOWN_SHARE * gap.seconds if cause.kind != "unexplained" else 0.0)]
    if not shown or (len(shown) == 1 and shown[0].kind != "unexplained"):
        return ""
    return clean(" · ".join(
        f"{KIND_WORDS[cause.kind]} {say_duration(cause.seconds, cause.uncertainty_s)}"
        + (f" ({cause.words})" if cause.kind in ("unexplained", "retries") else "") for cause in shown))


def why_not_faster(item: Disruption, path: Path) -> str:
    """``why not faster: probe 2.9 s of 3.6 s (periodSeconds 1 × failureThreshold 3), container start 0.2 s, ...``.

    What is unexplained is never left out. Empty where a result has no parts.
    """
    causes = item.causes(path)
    total_s = sum(cause.seconds for cause in causes)
    if total_s < SHOWN_S:
        return ""
    shown = [cause for cause in causes
             if cause.seconds >= max(SHOWN_S, SHOWN_SHARE * total_s) or cause.kind == "unexplained"]
    told = []
    for index, cause in enumerate(shown):
        seconds = say_duration(cause.seconds, cause.uncertainty_s)
        whole = f" of {say_duration(total_s, _whole_u(item, path))} ({cause.words})" if index == 0 else ""
        told.append(f"{KIND_WORDS[cause.kind]} {seconds}{whole}")
    return clean("why not faster: " + ", ".join(told))


def _whole_u(item: Disruption, path: Path) -> float:
    gaps = [gap for gap in item.gaps if gap.path == path]
    return item.uncertainty_of(gaps[-1].end_mark) if gaps else 0.0


def alert_lines(item: Disruption) -> list[str]:
    """Whether somebody would have been paged, and by what; nothing where no Alertmanager was attached."""
    if item.pager_s is None or item.marks.injected is None:
        return []
    if not item.alerts:
        return [f"{NOT_PAGED}: no alert of it within the {say_duration(item.pager_s)} that one was waited for"]
    zero, (first, *others) = item.marks.injected, item.alerts
    told = [f"paged after {since(item, 'alerted')}: {_alert(first)}"]
    if others:
        told.append("then " + ", ".join(f"{_alert(other)} after {say_duration(other.at_s - zero)}" for other in others))
    return [clean(line) for line in told]


def _alert(alert: Alert) -> str:
    return f"{alert.name} ({alert.object})"


def witnesses_line(item: Disruption) -> str:
    """Marks that more than one witness saw, each with when by it, since the injection."""
    zero = item.marks.injected
    if zero is None:
        return ""
    told = []
    for mark in dict.fromkeys(sighting.mark for sighting in item.sightings):
        seen = [sighting for sighting in item.sightings if sighting.mark == mark]
        if len({sighting.witness for sighting in seen}) > 1:
            told.append(f"{MARK_WORDS.get(mark, mark)}: " + ", ".join(
                f"{WITNESS_WORDS[sighting.witness]} {say_duration(sighting.at_s - zero, sighting.uncertainty_s)}"
                + (f" ({sighting.what})" if sighting.what else "") for sighting in seen))
    return clean("; ".join(told))
