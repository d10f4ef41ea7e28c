"""What variants are called in a table: only by what tells them apart, and never two alike. Pure.

Their whole names stay where there is room: in JUnit, in ``study.json`` and on the page.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from testbed.experiment.result import Study, VariantResult
from testbed.report.words import clean


def named(study: Study) -> list[tuple[str, VariantResult]]:
    """Every variant with its short name: ``readinessProbe=1, livenessProbe=5``."""
    names = [_short(study, item) for item in study.variants]
    if len(set(names)) < len(names):
        names = [clean(item.name) for item in study.variants]
    return list(zip(_apart(names), study.variants, strict=True))


def caption(study: Study) -> str:
    """The keys that short names leave parts of out, whole, and what all variants have in common; "" when nothing."""
    keys = _varied(study)
    said = []
    if keys and _short_keys(keys) != keys:
        said.append(f"variants of {', '.join(keys)}")
    said += [f"all with {key}={value}" for key, value in study.variants[0].settings.items() if key not in keys]
    return clean("; ".join(said))


def in_lines(name: str, width: int) -> str:
    """Whole, in lines: what is cut off may be all that tells two apart."""
    parts = name.split(", ")
    ended = [f"{part}," for part in parts[:-1]] + parts[-1:]
    return "\n".join(line for part in ended for line in textwrap.wrap(part, width))


def _short(study: Study, item: VariantResult) -> str:
    keys = _varied(study)
    if not keys:
        return clean(item.name)
    settings = [f"{short}={item.settings.get(key)}" for key, short in zip(keys, _short_keys(keys), strict=True)]
    platform = [item.platform] if len({one.platform for one in study.variants}) > 1 else []
    return clean(", ".join([*platform, *settings]))


def _varied(study: Study) -> list[str]:
    """The keys whose values differ."""
    keys = dict.fromkeys(key for item in study.variants for key in item.settings)
    return [key for key in keys if len({repr(item.settings.get(key)) for item in study.variants}) > 1]


def _short_keys(keys: Sequence[str]) -> list[str]:
    """Their last words where these differ; else without the words that all of them begin or end with."""
    last = [key.removesuffix(".value").rpartition(":")[2].rpartition(".")[2] for key in keys]
    if len(set(last)) == len(last):
        return last
    words = [re.split(r"[.:]", key) for key in keys]
    for end in (-1, 0):
        while all(len(item) > 1 for item in words) and len({item[end] for item in words}) == 1:
            for item in words:
                del item[end]
    short = [".".join(item) for item in words]
    return short if len(set(short)) == len(short) else list(keys)


def _apart(names: Sequence[str]) -> Iterator[str]:
    """Equal names with a number behind them."""
    often, seen = Counter(names), Counter[str]()
    for name in names:
        seen[name] += 1
        yield f"{name} ({seen[name]})" if often[name] > 1 else name
