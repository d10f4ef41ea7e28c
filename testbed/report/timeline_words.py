"""How a timeline is said, the same in every report: marks and gaps no finer than they are known, where the seconds of a
path went, and who saw what.

What adds up is shown so that a reader can add it up: a gap is the difference of the marks beside it, parts make their
gap, causes their path. They are written to the last figure of that whole, even where the border between two of them is
known less well: how far it may be off stands beside each.
"""

from __future__ import annotations

from collections.abc import Sequence

from testbed.experiment.durations import Grain, grain_of, say_duration
from testbed.experiment.result import Alert, Disruption, Gap
from testbed.experiment.result.timeline import Cause, Kind, Part, Path, causes_of
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
SHOWN_S = 0.0005  # shorter than this is no time at all


def at_mark(item: Disruption, gap: Gap) -> str:
    """When the gap ended, since the injection."""
    if item.marks.injected is None:
        return "–"
    return say_duration(gap.end_s - item.marks.injected, _end_u(item, gap))


def _end_u(item: Disruption, gap: Gap) -> float:
    if not item.mark_uncertainties:
        return 0.0  # a result of before
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
    _, told = _causes(item, path)
    if told:
        cause, seconds = told[0]
        return clean(f"{KIND_WORDS[cause.kind]} ({cause.words}): {seconds}")
    gap = max((gap for gap in item.gaps if gap.path == path and gap.seconds > 0), key=lambda gap: gap.seconds,
              default=None)
    return clean(f"{gap.cause}: {say_duration(gap.seconds)}") if gap is not None else ""


def length(item: Disruption, gap: Gap) -> str:
    grain, figures = _length(item, gap)
    return grain.say(figures) + grain.beside(gap.uncertainty_s)


def _length(item: Disruption, gap: Gap) -> tuple[Grain, int]:
    """Where the marks at both ends are shown as finely as the gap: what lies between them as shown."""
    grain, zero = grain_of(gap.seconds, gap.uncertainty_s), item.marks.injected
    if zero is None or grain_of(gap.end_s - zero, _end_u(item, gap)) != grain:
        return grain, grain.figures(gap.seconds)
    before = next((other for other in item.gaps if other.path == gap.path and other.end_mark == gap.start_mark), None)
    if before is not None and grain_of(before.end_s - zero, _end_u(item, before)) != grain:
        return grain, grain.figures(gap.seconds)
    return grain, grain.figures(gap.end_s - zero) - grain.figures(gap.start_s - zero)


def parts_of(item: Disruption, gap: Gap) -> list[tuple[Part, str]]:
    """The parts of a gap in the order of time, each with how long it was."""
    grain, whole = _length(item, gap)
    shares = grain.shares([part.seconds for part in gap.parts], whole)
    return [(part, grain.say(share) + grain.beside(part.uncertainty_s))
            for part, share in zip(gap.parts, shares, strict=True)]


def parts_line(item: Disruption, gap: Gap) -> str:
    """Where the seconds of one gap went, by kind, where that is more than its cause says already; else empty."""
    shown = _told(causes_of(gap.parts), *_length(item, gap))
    if not shown or (len(shown) == 1 and shown[0][0].kind != "unexplained"):
        return ""
    return clean(" · ".join(
        f"{KIND_WORDS[cause.kind]} {seconds}"
        + (f" ({cause.words})" if cause.kind in ("unexplained", "retries") else "") for cause, seconds in shown))


def _told(causes: Sequence[Cause], grain: Grain, whole: int) -> list[tuple[Cause, str]]:
    """Each with how long it was, so that they add up; without what is less than the last figure, but for what nothing
    explains: that is never left out."""
    told = []
    for cause, share in zip(causes, grain.shares([cause.seconds for cause in causes], whole), strict=True):
        if share:
            told.append((cause, grain.say(share) + grain.beside(cause.uncertainty_s)))
        elif cause.kind == "unexplained" and cause.seconds >= SHOWN_S:
            told.append((cause, say_duration(cause.seconds, cause.uncertainty_s)))
    return told


def _causes(item: Disruption, path: Path) -> tuple[str, list[tuple[Cause, str]]]:
    """A whole path, and what it went to; nothing where a result has no parts."""
    causes = item.causes(path)
    total_s = sum(cause.seconds for cause in causes)
    if total_s < SHOWN_S:
        return "", []
    known_s = item.uncertainty_of([gap for gap in item.gaps if gap.path == path][-1].end_mark)
    grain = grain_of(total_s, known_s)
    whole = grain.figures(total_s)
    return grain.say(whole) + grain.beside(known_s), _told(causes, grain, whole)


def why_not_faster(item: Disruption, path: Path) -> str:
    """``why not faster: probe 2.9 s of 3.6 s (periodSeconds 1 × failureThreshold 3), container start 0.7 s``.

    Empty where a result has no parts.
    """
    whole, causes = _causes(item, path)
    told = [f"{KIND_WORDS[cause.kind]} {seconds}" + (f" of {whole} ({cause.words})" if index == 0 else "")
            for index, (cause, seconds) in enumerate(causes)]
    return clean("why not faster: " + ", ".join(told)) if told else ""


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
