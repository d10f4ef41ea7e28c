"""Whether packets fare as an injection says, judged from a run of ping. Pure.

Decides what to send and what an answer proves; who sends is network.py's. A bound is chosen such that a fault that does
nothing misses it, not such that the fault is measured exactly: `make bench` measures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SENT = re.compile(r"(\d+) packets transmitted, (\d+) received")
_DOUBLE = re.compile(r"\+(\d+) duplicates")
_TIMES = re.compile(r"= ([\d.]+)/([\d.]+)/([\d.]+)/")
_INTERVAL_S = 0.001
_SILENT_S = 0.06
_CUT_S = 0.02  # no answer within it (and twice what answers took before) is silence
_BARE_BYTES = 8  # ping puts the time into longer ones, and believes what comes back there even when it is corrupt
_HEADERS_BYTES = 42  # Ethernet, IP, ICMP
_CERTAIN_SHARE = 0.95
_FASTEST_BITS_PER_S = 50_000_000
_SLOW_S = 0.15  # how long a rate shall make the last packet of a run wait


@dataclass(frozen=True)
class Run:
    """What ping is told. ``burst``: sent at once. ``wait_s``: for the first answer. ``identity``: one flow with other
    runs of the same; 0: a flow of its own."""

    count: int
    wait_s: float
    size: int = 56
    burst: bool = False
    identity: int = 0

    def argv(self, address: str) -> tuple[str, ...]:
        more: tuple[str, ...] = ("-l", str(self.count)) if self.burst else ()
        more += ("-e", str(self.identity)) if self.identity else ()
        return ("ping", "-q", "-n", "-c", str(self.count), *more, "-s", str(self.size),
                "-i", f"{_INTERVAL_S}", "-W", f"{self.wait_s:.2f}", address)

    def within_s(self) -> float:
        return 3.0 + self.count * 0.02 + 3 * self.wait_s


@dataclass(frozen=True)
class Seen:
    """What ping told. Times in seconds; 0 where nothing came back or the packets were too small for a time."""

    sent: int
    received: int
    doubled: int = 0
    least_s: float = 0.0
    mean_s: float = 0.0
    most_s: float = 0.0

    @property
    def lost_share(self) -> float:
        return 1 - self.received / self.sent if self.sent else 1.0


@dataclass(frozen=True)
class Verdict:
    holds: bool
    words: str


BASELINE = Run(count=8, wait_s=1.0)  # another fault may make it late


def read(output: str) -> Seen:
    """Raises: ValueError when it is no summary of ping's."""
    counts, double, times = _SENT.search(output), _DOUBLE.search(output), _TIMES.search(output)
    if not counts:
        raise ValueError(f"ping said: {output.strip()[-200:]}")
    least, mean, most = (float(times[index]) / 1000 for index in (1, 2, 3)) if times else (0.0, 0.0, 0.0)
    return Seen(int(counts[1]), int(counts[2]), int(double[1]) if double else 0, least, mean, most)


# --- expectations


def late_s(effect: Mapping[str, Any], passes: int) -> float:
    """By how much a round trip is longer, on average (jitter never makes it shorter than without)."""
    delay = effect.get("delay") or {}
    latency_s, jitter_s = delay.get("latency_s", 0.0), delay.get("jitter_s", 0.0)
    mean_s = latency_s if jitter_s <= latency_s else (latency_s + jitter_s) ** 2 / (4 * jitter_s)
    reorder = effect.get("reorder") or {}
    return float(passes * mean_s * (1 - reorder.get("share", 0.0) / max(1, reorder.get("gap", 1))))


def lost_share(effect: Mapping[str, Any], passes: int) -> float:
    """Of echoes: a packet with a wrong checksum is lost as well, one that is lost and doubled is not."""
    through = 1 - _share(effect, "loss") * (1 - _share(effect, "duplicate"))
    return float(1 - (through * (1 - _share(effect, "corrupt"))) ** passes)


def doubled_share(effect: Mapping[str, Any], passes: int) -> float:
    """Of echoes: at least so many answers come twice."""
    return _share(effect, "duplicate") * (1 - lost_share(effect, passes))


def _share(effect: Mapping[str, Any], name: str) -> float:
    return float((effect.get(name) or {}).get("share", 0.0))


def run_for(effect: Mapping[str, Any], passes: int) -> Run:
    """What shows all of it but a rate."""
    delay = effect.get("delay") or {}
    most_s = passes * (delay.get("latency_s", 0.0) + delay.get("jitter_s", 0.0))
    wait_s = _SILENT_S + 1.2 * most_s
    if effect.get("drop") or lost_share(effect, passes) >= _CERTAIN_SHARE:
        return Run(5, _CUT_S) if effect.get("drop") else Run(20, wait_s)
    shares = [share for share in (lost_share(effect, passes), doubled_share(effect, passes)) if share]
    varies = delay.get("jitter_s") or effect.get("reorder")
    count = max(20 if varies else 4, *(min(400, math.ceil(10 / share)) for share in shares), 0)
    size = _BARE_BYTES if effect.get("corrupt") and not delay else 56
    return Run(count, wait_s, size, burst=set(effect) == {"loss"})  # at once, where nothing else decides their fate


def run_for_rate(rate: Mapping[str, Any]) -> Run:
    """Packets at once, so many that the last has to wait, and no more than the rate lets wait."""
    size = 1400 if rate["bits_per_s"] >= 400_000 else 200
    wire = size + _HEADERS_BYTES
    allowed = rate.get("burst_bytes", 0) + rate["bits_per_s"] / 8 * _SLOW_S
    count = max(3, min(1500, math.ceil(allowed / wire)))
    return Run(count, _SILENT_S + 2 * waits_s(rate, Run(count, 0.0, size)), size, burst=True)


def waits_s(rate: Mapping[str, Any], run: Run) -> float:
    """How long the last packet of a burst has to wait for its turn."""
    more = run.count * (run.size + _HEADERS_BYTES) - rate.get("burst_bytes", 0)
    limit = rate.get("limit_bytes") or more
    return max(0.0, float(min(more, limit) * 8 / rate["bits_per_s"]))


# --- judgements


def judge(effect: Mapping[str, Any], passes: int, without: Seen, seen: Seen) -> Verdict:
    """Of a run of ``run_for``; ``without``: the run before the fault."""
    answered = f"{seen.received} of {seen.sent} answered"
    if effect.get("drop"):
        return Verdict(not seen.received, f"silence: {answered}, {without.received} of {without.sent} before")
    parts, holds = [], True
    share = lost_share(effect, passes)
    if share:
        expected = 1 - (1 - without.lost_share) * (1 - share)
        holds &= seen.lost_share > (without.lost_share + expected) / 2 or \
            (expected >= _CERTAIN_SHARE and not seen.received)
        parts.append(f"{100 * seen.lost_share:.1f} % of {seen.sent} lost, {100 * without.lost_share:.0f} % before")
    if doubled := doubled_share(effect, passes):
        holds &= seen.doubled > seen.sent * doubled / 3
        parts.append(f"{seen.doubled} of {seen.received} answers came twice")
    late = late_s(effect, passes)
    if late and share < _CERTAIN_SHARE and not (effect.get("corrupt") and not seen.mean_s):
        varies = effect["delay"].get("jitter_s") or effect.get("reorder")
        holds &= seen.received > 0 and seen.mean_s - without.mean_s >= late * (0.3 if varies else 0.9)
        parts.append(f"round trip {1000 * seen.mean_s:.1f} ms, {1000 * without.mean_s:.1f} ms before")
    return Verdict(bool(holds), f"{', '.join(parts)} ({answered})")


def judge_rate(rate: Mapping[str, Any], run: Run, without: Seen, seen: Seen) -> Verdict:
    waits = waits_s(rate, run)
    lost = seen.lost_share - without.lost_share
    words = (f"{run.count} packets of {run.size + _HEADERS_BYTES} bytes at once: the last answer after "
             f"{1000 * seen.most_s:.0f} ms, {1000 * without.most_s:.1f} ms before, {100 * seen.lost_share:.0f} % lost")
    return Verdict(seen.most_s - without.most_s >= 0.6 * waits > 0.005 or lost > 0.1, words)


def too_rare(effect: Mapping[str, Any], passes: int, run: Run) -> bool:
    """Whether a run may well show nothing of it: then what the kernel counts has to do."""
    shares = [share for share in (lost_share(effect, passes), doubled_share(effect, passes)) if share]
    late = late_s(effect, passes)
    return any(share * run.count < 3 for share in shares) or 0 < late < 0.001


def can_be_filled(rate: Mapping[str, Any]) -> bool:
    """Whether so fast a rate can be used up by a run of ping."""
    return bool(rate["bits_per_s"] <= _FASTEST_BITS_PER_S)
