"""The one table of a study: for each disruption a row per variant, the same in every format. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from testbed.experiment.result import Study, VariantResult, Verdict
from testbed.report.statistics_words import whole_run_lines
from testbed.report.study.names import named
from testbed.report.words import clean, columns, say_quantity, statistics_of


@dataclass(frozen=True)
class Row:
    """``cells``: one for each of the study's ``titles``. ``against``: how its repair compares with the first variant's,
    as ``× 1.52, worse``; "" for the first one."""

    variant: str
    runs: str
    verdict: str
    passed: bool
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
    for name, item in named(study):
        yield Row(name, say_runs(item), say_verdict(item), item.result.exit_code == 0,
                  tuple(say_quantity(item.result, disruption, quantity) for quantity in shown),
                  _against(item, disruption))


def say_verdict(item: VariantResult) -> str:
    """``passed``, ``missed``; of the others what stands before their explanation."""
    verdict = item.result.verdict
    return "missed" if verdict is Verdict.OBJECTIVE_MISSED else verdict.value.partition(":")[0]


def decision(study: Study) -> str:
    """Whose verdict the command's is, and what that means for the others."""
    name, item = named(study)[study.decides]
    if study.exit_code and not item.result.exit_code:
        return ""  # the reason of the study says who
    if study.decides:
        said = f"{name} decides: {item.result.verdict.value}. It is held against {named(study)[0][0]}"
        return f"{said}, which did not pass itself; that fails nothing." if study.told_only else f"{said}."
    said = f"The first variant decides ({name}): {item.result.verdict.value}."
    others = say_others(study)
    return f"{said} {others}, which fails nothing: they are compared with it." if others else said


def say_others(study: Study) -> str:
    """``3 others did not pass``; "" when none but what fails the command."""
    count = len(study.told_only)
    return f"{count} other{'s' if count > 1 else ''} did not pass" if count else ""


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
    for name, item in named(study):
        if item.result.exit_code:
            yield clean(f"{name}: {item.result.verdict.value}: {item.result.reason}".rstrip(": "))


def whole_runs(study: Study) -> Iterator[str]:
    """What no disruption has: ``web-v2: acknowledged writes lost: 3 in 2 of 10 runs``."""
    for name, item in named(study):
        yield from (f"{name}: {line}" for line in whole_run_lines(item.result))


def common_timing(study: Study) -> str:
    """What sets the pace of all variants: ``node is lost after 1.5 s; crash back-off 1 s doubling to 30 s``."""
    return _say_timing(_common(study))


def own_timing(study: Study) -> Iterator[tuple[str, VariantResult, str]]:
    """Each variant by its name, with what of its timers is not the same everywhere; "" when nothing."""
    common = _common(study)
    for name, item in named(study):
        yield name, item, _say_timing([one for one in item.timing if one not in common])


def timing_lines(study: Study) -> Iterator[str]:
    """All of it, each timer once."""
    if common := common_timing(study):
        yield f"all variants: {common}"
    yield from (f"{name}: {own}" for name, _, own in own_timing(study) if own)


def _common(study: Study) -> list[tuple[str, str]]:
    return [one for one in study.variants[0].timing if all(one in item.timing for item in study.variants)]


def _say_timing(timers: Iterable[tuple[str, str]]) -> str:
    return clean("; ".join(f"{what} {value}" for what, value in timers))
