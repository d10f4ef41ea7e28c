"""Two results held against each other, as one HTML file that needs nothing else."""

from __future__ import annotations

from testbed.experiment.result.comparison import Comparison
from testbed.report.comparison import as_table
from testbed.report.html import page_environment
from testbed.report.words import clean

_TONES = {"improved": "good", "worse": "bad"}


def render(comparison: Comparison) -> str:
    """The whole page. It has no script."""
    return page_environment().get_template("comparison.html.j2").render(
        a=clean(comparison.a), b=clean(comparison.b), verdict=comparison.verdict, reason=clean(comparison.reason),
        tone=_TONES.get(comparison.verdict, ""), compared=as_table(comparison))
