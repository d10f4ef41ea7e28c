"""The colours of reports, light and dark, can be told from what they stand on, as WCAG 2 AA asks of text and pictures.

A browser's axe does not judge text in charts nor signs of one letter; here it is the colours themselves.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testbed.report import html

TEXT, PICTURE = 4.5, 3.0
GROUNDS = {
    **{name: ("page", "card") for name in ("ink", "muted", "good", "bad", "warm", "accent")},
    **{f"gap{number}": ("card",) for number in range(1, 8)},
}
SOFT = {"good": "good-soft", "bad": "bad-soft", "warm": "warm-soft", "ink": "warm-soft", "muted": "warm-soft"}


def themes() -> dict[str, dict[str, str]]:
    style = (Path(html.__file__).parent / "style.css").read_text()
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
                   for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL))
    return {"light": light, "dark": light | dark}


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[start:start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_and_charts_can_be_told_from_their_ground(theme: str) -> None:
    colours = themes()[theme]
    pairs = [(name, ground, PICTURE if name.startswith("gap") or name == "accent" else TEXT)
             for name, grounds in GROUNDS.items() for ground in grounds]
    pairs += [(name, ground, TEXT) for name, ground in SOFT.items()]
    faint = {f"{name} on {ground}": round(found, 2) for name, ground, least in pairs
             if (found := contrast(colours[name], colours[ground])) < least}
    assert faint == {}


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
