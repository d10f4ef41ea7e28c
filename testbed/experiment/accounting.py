"""Accounts for what was written: which acknowledged writes are lost, and how the backlog behind them went. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from testbed.experiment.result import Backlog, BacklogSample, Disruption, Writes
from testbed.load.records import Record

NAMED = 10
TOLERATED = 1.0  # more than usual: one is not a backlog yet


def writes(records: Iterable[Record], stored: Collection[str], id_of: str) -> Writes:
    """Args: records: of the pulse that wrote. stored: ids that were found at the end. id_of: ``{index}`` and
    ``{stream}`` as in the pulse's path."""
    known = set(stored)
    acknowledged: list[str] = []
    others: list[str] = []
    for record in records:
        name = id_of.replace("{index}", str(record.index)).replace("{stream}", record.stream)
        (acknowledged if record.ok else others).append(name)
    lost = [name for name in acknowledged if name not in known]
    return Writes(acknowledged=len(acknowledged), stored=len(acknowledged) - len(lost), lost=len(lost),
                  in_doubt=sum(1 for name in others if name in known), lost_ids=tuple(lost[:NAMED]))


def usual(samples: Iterable[BacklogSample], before: float) -> float:
    """The longest backlog that was seen before anything was done; 0 where none was."""
    return max((one.length for one in samples if one.length is not None and one.at_s < before), default=0.0)


def drained_at(samples: Iterable[BacklogSample], most: float, since: float) -> float | None:
    """From when on no more than ``most`` was left to do, of what was seen from ``since`` on: ``since`` itself where it
    never was more. None where it did not stay so, or nobody looked. What nobody can say is not worked off."""
    after = [one for one in samples if one.at_s >= since]
    above = [one.at_s for one in after if one.length is None or one.length > most]
    if not after or not above:
        return since if after else None
    return next((one.at_s for one in after if one.at_s > above[-1]), None)


def backlog(
    samples: Sequence[BacklogSample], item: Disruption, *, since: float, until: float, every_s: float
) -> Backlog | None:
    """How the backlog went from this disruption on.

    Args: since: when the method began: what was seen before is usual. until: the end of what was watched.
    """
    begin = item.marks.injected
    if begin is None:
        return None
    before = usual(samples, min(since, begin))
    after = [one for one in samples if begin <= one.at_s <= until]
    if not after:
        return None
    lengths = [one.length for one in after if one.length is not None]
    drained = drained_at(after, before + TOLERATED, begin)
    restored = item.marks.restored
    return Backlog(
        peak=max(lengths, default=None), usual=before, uncertainty_s=every_s,
        drained_s=None if drained is None else round(drained - begin, 3),
        drain_s=None if drained is None or restored is None else round(max(0.0, drained - restored), 3),
        unknown_s=round(sum(1 for one in after if one.length is None) * every_s, 3))
