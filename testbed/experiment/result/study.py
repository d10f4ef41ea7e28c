"""Several variants of one command side by side: each with a result of its own, the first one the reference."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Final, Literal

from pydantic import Field

from testbed.experiment.result.comparison import Comparison
from testbed.experiment.result.value import Value
from testbed.experiment.result.verdict import Verdict
from testbed.experiment.result.whole import Result

STUDY_VERSION: Final = "testbed.io/study/v1alpha1"
# What another variant's run may end with so that the whole command has: nobody can say then what the others measured.
SERIOUS = (Verdict.BUG, Verdict.INTERRUPTED, Verdict.UNDO_FAILED, Verdict.ENVIRONMENT)
# The same for a variant that has no run to compare.
_UNMEASURED = (Verdict.STEADY_STATE_NOT_MET, Verdict.NO_EFFECT, Verdict.INCONCLUSIVE)


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
    """What one command measured. The verdict is one variant's, unless another one could not be carried out.

    Attributes:
        decides: whose, counted from 0: the first one's; where a file is held against another, that file's, which is the
            second.
    """

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
    decides: int = 0
    turns: tuple[Turn, ...] = ()

    @property
    def alone(self) -> Result | None:
        """The one result where there is nothing to compare."""
        return self.variants[0].result if len(self.variants) == 1 else None

    @property
    def told_only(self) -> tuple[VariantResult, ...]:
        """Variants that ended badly, which fails nothing: they were tried out, and the verdict is not theirs."""
        return tuple(item for index, item in enumerate(self.variants)
                     if index != self.decides and item.result.exit_code and not _spoils(item.result))

    @property
    def gated(self) -> Comparison | None:
        """The comparison of what decides with what it is held against; None where the first one decides."""
        return self.variants[self.decides].comparison


def judging(results: Sequence[Result], decides: int = 0) -> Result:
    """The one whose verdict is the command's: that which decides, unless another one could not be carried out."""
    spoilt = (result for verdict in SERIOUS for result in results if result.verdict is verdict)
    return next(chain(spoilt, (result for result in results if _spoils(result))), results[decides])


def _spoils(result: Result) -> bool:
    """Whether it fails the command, whichever variant's it is."""
    return result.verdict in SERIOUS or result.verdict in _UNMEASURED and not result.trusted_runs


def study_schema() -> dict[str, Any]:
    """The published JSON schema of ``study.json``, in which the results are left out: each lies in its variant's folder
    as ``result.json``. What ``-o json`` prints has them."""
    schema = Study.model_json_schema(by_alias=True, mode="serialization")
    schema["$defs"]["VariantResult"]["required"].remove("result")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "testbed study"}
