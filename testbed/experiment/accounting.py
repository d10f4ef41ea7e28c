"""Accounts for what was written: which acknowledged writes are lost, and how the backlog behind them went. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from testbed.experiment.result import Backlog, BacklogSample, Disruption, Writes
from testbed.load.records import Record

NAMED = 10


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


def backlog(
    samples: Sequence[BacklogSample], item: Disruption, *, since: float, until: float, every_s: float
) -> Backlog | None:
    """How the backlog went from this disruption on.

    Args: since: when the method began: what was seen before is usual. until: the end of what was watched.
    """
    begin = item.marks.injected
    if begin is None:
        return None
    # The usual is what was seen before anything was done; one more is not a backlog yet.
    usual = max((one.length for one in samples if one.length is not None and one.at_s < max(since, begin)), default=0.0)
    after = [one for one in samples if begin <= one.at_s <= until]
    if not after:
        return None
    lengths = [one.length for one in after if one.length is not None]
    last_above = max((one.at_s for one in after if one.length is None or one.length > usual + 1), default=None)
    drained = begin if last_above is None else next((one.at_s for one in after if one.at_s > last_above), None)
    restored = item.marks.restored
    return Backlog(
        peak=max(lengths, default=None), usual=usual, uncertainty_s=every_s,
        drained_s=None if drained is None else round(drained - begin, 3),
        drain_s=None if drained is None or restored is None else round(max(0.0, drained - restored), 3),
        unknown_s=round(sum(1 for one in after if one.length is None) * every_s, 3))
