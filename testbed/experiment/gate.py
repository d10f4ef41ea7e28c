"""A run held against a baseline: whether it may be, and what becomes of its verdict. Pure.

``--fail-on worse`` makes a worse run an objective that was missed; ``--fail-on "cannot tell"`` is for those who want to
know that it was not worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from testbed.errors import InvalidInput
from testbed.experiment.compare import compare
from testbed.experiment.enough_runs import too_few, values_expected
from testbed.experiment.fingerprint import spec_hash
from testbed.experiment.kind import Experiment
from testbed.experiment.objectives import Objective
from testbed.experiment.result import Result
from testbed.experiment.result.comparison import Comparison

FAIL_ON: Final = ("worse", "cannot tell")


@dataclass(frozen=True)
class Gate:
    """``fail_on``: judgements that fail the run; empty: it is compared, and only its objectives judge."""

    baseline: Result
    name: str
    fail_on: tuple[str, ...] = ()

    def compared(self, result: Result) -> Comparison:
        found = compare(self.baseline, result, name_a=self.name, name_b=result.run_id)
        return found.model_copy(update={"fail_on": self.fail_on})

    def missed(self, comparison: Comparison) -> str:
        """Why the run fails; "" when it does not."""
        return failed_by(comparison, f"baseline {self.name}")


def failed_by(comparison: Comparison, against: str) -> str:
    """Why a run that was told to fail on some judgements fails; "" when it does not."""
    if comparison.verdict not in comparison.fail_on:
        return ""
    told = "is worse than" if comparison.verdict == "worse" else "cannot be compared with"
    return f"{told} {against}: {comparison.reason}"


def powerless(experiment: Experiment, reference: int, runs: int) -> str:
    """Why so many runs of a reference and of this experiment can show no difference, as far as is known before they are
    made; "" when they can."""
    return too_few((reference, runs), values_expected(experiment))


def check_same_experiment(baseline: Result, name: str, experiment: Experiment) -> None:
    """Raises: InvalidInput when this baseline is of another experiment."""
    wanted = experiment.metadata.name
    if baseline.name != wanted:
        raise InvalidInput(f"baseline {name} is of experiment {baseline.name!r}, not of {wanted!r}")
    if baseline.spec_hash and baseline.spec_hash != spec_hash(experiment):
        raise InvalidInput(
            f"baseline {name} is of another version of {wanted!r}: its spec differs in more than runs, seed and "
            "objectives", hint="save a new one: testbed run FILE, then testbed baseline save")
    if not baseline.trusted_runs:
        raise InvalidInput(f"baseline {name} has no run that can be trusted")


def check_same_results(a: Result, b: Result) -> None:
    """Raises: InvalidInput when these are results of different experiments."""
    if a.name != b.name:
        raise InvalidInput(f"{a.run_id} is of experiment {a.name!r}, {b.run_id} of {b.name!r}",
                           hint="compare two runs of one experiment")
    if a.spec_hash and b.spec_hash and a.spec_hash != b.spec_hash:
        raise InvalidInput(f"{a.run_id} and {b.run_id} are of two versions of {a.name!r}: their specs differ in more "
                           "than runs, seed and objectives")


def check_objectives(objectives: Sequence[Objective], *, has_baseline: bool) -> None:
    """Raises: InvalidInput when an objective asks for a baseline that the run is not given."""
    asking = [objective.text for objective in objectives if objective.needs_baseline]
    if asking and not has_baseline:
        raise InvalidInput(f"an objective needs a baseline: {'; '.join(asking)}", hint="give one: --baseline NAME|FILE")
