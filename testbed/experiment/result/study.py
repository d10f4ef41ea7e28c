"""Several variants of one command side by side: each with a result of its own, the first one the reference."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field

from testbed.experiment.result.comparison import Comparison
from testbed.experiment.result.value import Value
from testbed.experiment.result.verdict import Verdict
from testbed.experiment.result.whole import Result

STUDY_VERSION: Final = "testbed.io/study/v1alpha1"


class VariantResult(Value):
    """``settings``: what its matrix gave it. ``timing``: what sets the pace of recovery on its platform, in words.
    ``folder``: inside the run's own, "" where it is alone."""

    name: str
    platform: str
    settings: dict[str, Any] = Field(default_factory=dict)
    timing: tuple[tuple[str, str], ...] = ()
    folder: str = ""
    comparison: Comparison | None = None  # with the first variant
    result: Result


class Turn(Value):
    """One repetition, in the order in which they were run."""

    variant: str
    number: int


class Study(Value):
    """What one command measured. The verdict is the first variant's, unless another one could not be carried out."""

    schema_version: Literal["testbed.io/study/v1alpha1"] = STUDY_VERSION
    run_id: str
    name: str
    file: str = ""
    seed: int = 0
    started_at: datetime
    ended_at: datetime
    verdict: Verdict
    exit_code: int
    reason: str = ""
    variants: tuple[VariantResult, ...]
    turns: tuple[Turn, ...] = ()

    @property
    def alone(self) -> Result | None:
        """The one result where there is nothing to compare."""
        return self.variants[0].result if len(self.variants) == 1 else None
