"""What clients met, and what was done to the healthy, in sentences: the same in every report."""

from __future__ import annotations

import math
from collections.abc import Iterator

from testbed.experiment.durations import say_duration
from testbed.experiment.result import Burn, ClientView, Detector, Disruption, Latency, RunResult
from testbed.report.words import clean

NOTHING_S = 0.0005  # shorter than this is no time at all


def client_lines(subject: Disruption | RunResult) -> list[str]:
    """Sentences about one disruption or a whole run; none where nobody asked, or nothing was to be seen."""
    lines: list[str] = []
    view = subject.clients
    if view is not None and subject.requests.due:
        lines += [*_outages(subject, view), *_latency(subject, view), *_lost(view), *_gray(view)]
        if view.burn is not None:
            lines.append(_burn(subject, view.burn, view.start_s))
    if subject.detector is not None:
        lines += _detector(subject.detector, noise=isinstance(subject, Disruption) and subject.noise)
    return lines


def say_share(share: float, of: int) -> str:
    """A share of so many requests, in percent, with no more digits than their number supports: ``99.83 %``."""
    digits = min(4, max(0, math.ceil(math.log10(max(of, 1))) - 2))
    return f"{share * 100:.{digits}f} %"


def _served(subject: Disruption | RunResult, view: ClientView) -> str:
    """The share and the number it is a share of, from one count; of a run, from the method on."""
    due = view.requests.due
    share = say_share(view.availability_requests or 0.0, due or subject.requests.due)
    counted = f"{due} requests" if due else "requests"  # results of before hold no count of the share's own
    since = f" from the method on, at {say_duration(view.start_s)}," if isinstance(subject, RunResult) else ""
    return f"{share} of {counted}{since} answered in time"


def _after(subject: Disruption | RunResult, seconds: float) -> str:
    """Since the stretch began: of a disruption its injection, which everything beside it counts from."""
    said = say_duration(seconds)
    return f"{said} after the method began" if isinstance(subject, RunResult) else f"after {said}"


def _outages(subject: Disruption | RunResult, view: ClientView) -> Iterator[str]:
    served = _served(subject, view)
    if view.outage_count == 0:
        bound = "" if view.failed_at_most is None else \
            f" (none failed: of all, at most {view.failed_at_most * 100:.2g} % do, with 95 % confidence)"
        yield f"no outage: {served}{bound}"
        return
    longest = max(subject.outages, key=lambda outage: outage.seconds, default=None)
    text = f"out for {say_duration(view.outage_sum_s, view.outage_uncertainty_s)}"
    if view.outage_count > 1 and longest is not None:
        told = say_duration(view.outage_longest_s, longest.length_uncertainty_s)
        text += f" in {view.outage_count} windows, the longest {told}"
    if longest is not None and not all(outage.ended for outage in subject.outages):
        text += " (it had not ended)"
    spent = "" if view.availability_time is None else f", no outage in {view.availability_time * 100:.3g} % of the time"
    yield f"{text}; {served}{spent}"
    counts = view.requests if view.requests.due else subject.requests
    if counts.failed and counts.outcomes:
        met = sorted(counts.outcomes.items(), key=lambda item: -item[1])
        yield "what requests met: " + ", ".join(f"{count} × {clean(what)}" for what, count in met)


def _latency(subject: Disruption | RunResult, view: ClientView) -> Iterator[str]:
    parts = [f"{_band(band)} {when}" for band, when in (
        (view.before, "before"), (view.during, "until it was normal again"), (view.after, "after"))
        if band.p50 is not None]
    if not view.latency_disturbed_s or len(parts) < 2:
        return
    back = "not back to normal while watched" if view.latency_normal_s is None \
        else f"back to normal {_after(subject, view.latency_normal_s)}"
    limit = "" if view.normal_limit_s is None else f" (normal: up to {say_duration(view.normal_limit_s)})"
    yield f"latency p50/p95/p99{limit}: {', '.join(parts)}; {back}"


def _band(band: Latency) -> str:
    return "/".join(say_duration(value) for value in (band.p50, band.p95, band.p99))


def _lost(view: ClientView) -> Iterator[str]:
    if view.lost_s and view.lost_s >= NOTHING_S and view.depth is not None:
        yield f"{say_duration(view.lost_s)} of service lost (resilience loss), at its deepest {view.depth:.0%} of it"


def _gray(view: ClientView) -> Iterator[str]:
    """Not a time in which every request failed: some did, again and again, and a good one between ends nothing."""
    if view.gray_s is None or view.gray_s < NOTHING_S:
        return
    counts = view.requests
    met = "came late" if counts.late and not counts.failed else \
        "failed or came late" if counts.late or not counts.due else "failed"
    yield (f"gray failure: over {say_duration(view.gray_s)} requests {met} again and again (never a second without "
           "one) while every probe was green")


def _burn(subject: Disruption | RunResult, burn: Burn, start_s: float) -> str:
    window = f"{burn.window_s / 86400:g} d" if burn.window_s >= 86400 else say_duration(burn.window_s)
    fired = [f"the {alert.factor:g}× alert ({_window(alert.long_s)} and {_window(alert.short_s)}) "
             f"{_after(subject, alert.at_s - start_s)}" for alert in burn.alerts if alert.at_s is not None]
    return (f"error budget ({burn.target * 100:g} % over {window}): {say_duration(burn.spent_s)} of "
            f"{say_duration(burn.budget_s)} used ({burn.share * 100:.2g} %), burn rate {burn.rate:.3g}; "
            + ("would have fired " + " and ".join(fired) if fired else "no burn-rate alert"))


def _window(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds / 60:g} min"


def _detector(found: Detector, *, noise: bool) -> Iterator[str]:
    acts = [(found.false_restarts, "restart"), (found.false_evictions, "eviction"),
            (found.false_isolations, "isolation")]
    told = [f"{count} {word}{'s' if count > 1 else ''}" for count, word in acts if count]
    if told:
        isolated = f" ({say_duration(found.false_isolated_s)} out of rotation)" if found.false_isolations else ""
        often = found.per_1000_probe_hours
        rate = f"; {often:,.0f} restarts and evictions per 1,000 probe-hours" if often else ""
        yield f"false acts against pods that no fault had hit: {', '.join(told)}{isolated}{rate}"
        yield from (f"{act.what} of {clean(act.pod)} at {act.start_s:.2f} s"
                    f"{': ' + clean(act.message) if act.message else ''}" for act in found.acts[:5])
    elif noise:
        yield f"lived through unnoticed: no false restart, no false isolation in {found.probe_hours:.3g} probe-hours"
