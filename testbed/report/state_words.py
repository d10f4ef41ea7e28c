"""What became of what was written, whom a disruption dragged along, what shipping cost, in sentences: the same in every
report."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.experiment.durations import say_duration
from testbed.experiment.result import Backlog, Disruption, Reached, RunResult, Shipping, Writes
from testbed.report.words import clean

NAMED = 3  # of the ids that are lost


def state_lines(subject: Disruption | RunResult) -> list[str]:
    """About one disruption or a whole run; none where nobody asked, or nothing was to be seen."""
    if isinstance(subject, RunResult):
        return [] if subject.state is None else [
            *([_writes(subject.state.writes)] if subject.state.writes else []),
            *([f"not known for sure: {clean(subject.state.problem)}"] if subject.state.problem else [])]
    lines = list(_backlog(subject.backlog)) if subject.backlog else []
    if subject.cascade:
        lines.append("dragged along: " + ", ".join(_reached(one) for one in subject.cascade))
    return lines


def _writes(found: Writes) -> str:
    if found.lost:
        more = ", …" if found.lost > NAMED else ""
        named = f": {clean(', '.join(found.lost_ids[:NAMED]))}{more}" if found.lost_ids else ""
        text = f"{found.lost} of {found.acknowledged} acknowledged writes lost{named}"
    elif found.acknowledged:
        text = f"{found.acknowledged} writes acknowledged, none lost (at most {300 / found.acknowledged:.2g} %, 95 %)"
    else:
        text = "no write was acknowledged"
    return text + (f"; {found.in_doubt} without a right answer are stored all the same" if found.in_doubt else "")


def _backlog(found: Backlog) -> Iterator[str]:
    unknown = f"; for {say_duration(found.unknown_s, found.uncertainty_s)} nobody could say" if found.unknown_s else ""
    if found.peak is None:
        yield "backlog unknown: nobody could say how long it was"
    elif found.drained_s == 0:
        yield f"no backlog: at most {found.peak:g} waited ({found.usual:g} before)"
    else:
        yield f"backlog up to {found.peak:g} ({found.usual:g} before), {_drained(found)}{unknown}"


def _drained(found: Backlog) -> str:
    if found.drained_s is None:
        return "not worked off while it was watched"
    whole = f"{say_duration(found.drained_s, found.uncertainty_s)} after the injection"
    if found.drain_s is None:
        return f"worked off {whole}"
    if found.drain_s == 0:
        return f"worked off before everything was restored, {whole}"
    return f"worked off {say_duration(found.drain_s, found.uncertainty_s)} after the repair, {whole}"


def _reached(one: Reached) -> str:
    text = f"{clean(one.deployment)} {one.how} after {say_duration(one.after_s)}"
    if one.how == "unready":
        text += " and not ready again" if one.lasted_s is None else f" for {say_duration(one.lasted_s)}"
    return f"{text} ({one.pods} pod{'s' if one.pods > 1 else ''})"


def shipping_lines(run: RunResult) -> list[str]:
    """What it cost to ship a version, and whom each one answered; none where nothing was shipped."""
    found = run.shipping
    if found is None:
        return []
    return [f"{found.peak_pods} pods at most ({found.usual_pods} usual), {_seconds(found.extra_container_s)} more than "
            f"usual, of {_seconds(found.container_s)}", *_answers(found)]


def _seconds(value: float) -> str:
    """A sum over containers is no clock: three figures of it say all."""
    return f"{float(f'{value:.3g}'):,g} container-seconds"


def _answers(found: Shipping) -> Iterator[str]:
    for image, count in sorted(found.answers.items()):
        wrong = found.wrong_answers.get(image, 0)
        last = found.last_answer_s.get(image)
        yield (f"{clean(image)} answered {count} request{'s' if count != 1 else ''}"
               + (f", {wrong} of them wrongly" if wrong else "")
               + ("" if last is None else f", the last at {last:.1f} s"))
