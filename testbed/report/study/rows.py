"""The one table of a study: for each disruption a row per variant, the same in every format. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from testbed.experiment.result import Study, VariantResult
from testbed.report.statistics_words import whole_run_lines
from testbed.report.words import clean, columns, say_quantity, statistics_of


@dataclass(frozen=True)
class Row:
    """``cells``: one for each of the study's ``titles``. ``against``: how its repair compares with the first variant's,
    as ``× 1.52, worse``; "" for the first one."""

    variant: str
    runs: str
    cells: tuple[str, ...]
    against: str


def disruption_names(study: Study) -> tuple[str, ...]:
    """In the order in which they first appear in any variant."""
    return tuple(dict.fromkeys(name for item in study.variants for name in item.result.disruption_names()
                               if statistics_of(item.result, name)))


def titles(study: Study) -> tuple[str, ...]:
    return tuple(_shown(study).values())


def _shown(study: Study) -> dict[str, str]:
    return columns(*(item.result for item in study.variants))


def rows(study: Study, disruption: str) -> Iterator[Row]:
    shown = _shown(study)
    for item in study.variants:
        yield Row(clean(item.name), say_runs(item),
                  tuple(say_quantity(item.result, disruption, quantity) for quantity in shown),
                  _against(item, disruption))


def say_runs(item: VariantResult) -> str:
    """``10``, ``9 + 1 void``, ``9 + 2 broken off``."""
    trusted, void = len(item.result.trusted_runs), sum(1 for run in item.result.runs if run.void_reason)
    broken_off = len(item.result.runs) - trusted - void
    return f"{trusted}" + (f" + {void} void" if void else "") + (f" + {broken_off} broken off" if broken_off else "")


def _against(item: VariantResult, disruption: str) -> str:
    found = item.comparison.of(disruption, "repair") if item.comparison else None
    if found is None:
        return ""
    return f"× {found.ratio:.2f}, {found.verdict}" if found.ratio is not None else found.verdict


def judged_badly(study: Study) -> Iterator[str]:
    """What stands in the way of reading the table as it is."""
    for item in study.variants:
        if item.result.exit_code:
            yield clean(f"{item.name}: {item.result.verdict.value}: {item.result.reason}".rstrip(": "))


def whole_runs(study: Study) -> Iterator[str]:
    """What no disruption has: ``web-v2: acknowledged writes lost: 3 in 2 of 10 runs``."""
    for item in study.variants:
        yield from (f"{clean(item.name)}: {line}" for line in whole_run_lines(item.result))


def say_timing(item: VariantResult) -> str:
    """``node is lost after 1.5 s; crash back-off 1 s doubling to 30 s``."""
    return clean("; ".join(f"{what} {value}" for what, value in item.timing)) or "–"
