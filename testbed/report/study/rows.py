"""The one table of a study: for each disruption a row per variant, the same in every format. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from testbed.experiment.result import Statistic, Study, VariantResult
from testbed.report.words import clean, say_quantity, statistics_of

QUANTITIES = ("detection", "isolation", "repair", "outage", "failed")
TITLES = ("noticed", "isolated", "restored", "outage", "failed")


@dataclass(frozen=True)
class Row:
    """``cells``: one for each of ``QUANTITIES``. ``against``: its repair's median as a multiple of the first variant's;
    "" for the first one, and where either is unknown."""

    variant: str
    runs: str
    cells: tuple[str, ...]
    against: str


def disruption_names(study: Study) -> tuple[str, ...]:
    """In the order in which they first appear in any variant."""
    return tuple(dict.fromkeys(name for item in study.variants for name in item.result.disruption_names()
                               if statistics_of(item.result, name)))


def rows(study: Study, disruption: str) -> Iterator[Row]:
    reference = statistics_of(study.variants[0].result, disruption).get("repair")
    for index, item in enumerate(study.variants):
        found = statistics_of(item.result, disruption)
        yield Row(clean(item.name), say_runs(item),
                  tuple(say_quantity(item.result, disruption, quantity) for quantity in QUANTITIES),
                  "" if index == 0 else _multiple(found.get("repair"), reference))


def say_runs(item: VariantResult) -> str:
    """``10``, ``9 + 1 void``."""
    void = len(item.result.runs) - len(item.result.trusted_runs)
    return f"{len(item.result.trusted_runs)}" + (f" + {void} void" if void else "")


def _multiple(found: Statistic | None, reference: Statistic | None) -> str:
    if found is None or reference is None or found.median is None or not reference.median:
        return ""
    return f"× {found.median / reference.median:.2f}"


def judged_badly(study: Study) -> Iterator[str]:
    """What stands in the way of reading the table as it is."""
    for item in study.variants:
        if item.result.exit_code:
            yield clean(f"{item.name}: {item.result.verdict.value}: {item.result.reason}".rstrip(": "))


def say_timing(item: VariantResult) -> str:
    """``node is lost after 1.5 s; crash back-off 1 s doubling to 30 s``."""
    return clean("; ".join(f"{what} {value}" for what, value in item.timing)) or "–"
