"""``testbed run`` for Chaos Toolkit experiments: their options, and a run from its file to its report."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.cli import output as printing
from testbed.errors import UsageError

if TYPE_CHECKING:
    from testbed.experiment.toolkit.values import Options


@dataclass(frozen=True)
class ToolkitAsked:
    """Options of ``run`` that only a Chaos Toolkit experiment has, as typed."""

    rollback_strategy: str = ""
    hypothesis_strategy: str = ""
    hypothesis_frequency: float = 1.0
    fail_fast: bool = False
    variables: Sequence[str] = ()
    variable_files: Sequence[Path] = ()
    control_files: Sequence[Path] = ()
    dry: str = ""
    activity_timeout: str = "1h"
    journal_path: Path | None = None

    def refuse_for_an_experiment(self) -> None:
        """Raises: UsageError when one is given with a file of another kind."""
        nothing = ToolkitAsked()
        names = {"variables": "var", "variable_files": "var-file", "control_files": "control-file"}
        given = [f"--{names.get(key, key.replace('_', '-'))}" for key, value in vars(self).items()
                 if (value or None) != (getattr(nothing, key) or None)]
        if given:
            raise UsageError(f"{', '.join(given)}: only for Chaos Toolkit experiments (docs/chaos-toolkit.md)")

    def options(self) -> Options:
        """Raises: UsageError, InvalidInput. Files of NAME=VALUE lines go into the environment, as upstream."""
        from testbed.experiment.toolkit.loading import read_controls
        from testbed.experiment.toolkit.values import (
            DRY,
            HYPOTHESIS_STRATEGIES,
            MISSPELT,
            ROLLBACK_STRATEGIES,
            Options,
        )
        from testbed.experiment.toolkit.variables import parse_variables, read_variable_files

        _one_of("--rollback-strategy", self.rollback_strategy, ROLLBACK_STRATEGIES)
        _one_of("--hypothesis-strategy", self.hypothesis_strategy, (*HYPOTHESIS_STRATEGIES, *MISSPELT))
        _one_of("--dry", self.dry, DRY)
        configuration, secrets, environment = read_variable_files(self.variable_files)
        os.environ.update(environment)
        return Options(
            hypothesis=MISSPELT.get(self.hypothesis_strategy, self.hypothesis_strategy),
            rollbacks=self.rollback_strategy, frequency_s=self.hypothesis_frequency, fail_fast=self.fail_fast,
            dry=self.dry, variables=configuration | parse_variables(self.variables), secret_variables=secrets,
            global_controls=read_controls(self.control_files), limit_s=printing.seconds(self.activity_timeout))


def _one_of(option: str, value: str, known: Sequence[str]) -> None:
    if value and value not in known:
        raise UsageError(f"{option} {value!r} is not one of " + ", ".join(filter(None, known)))


def run_toolkit(
    file: Path, asked: ToolkitAsked, *, name: str, out: Path | None, output: str, junit: Path | None,
    markdown: Path | None,
) -> int:
    """Returns: the exit code. Raises: TestbedError for what is wrong before anything is done."""
    import asyncio

    from testbed.api.instance_files import instance_directory
    from testbed.cli.finish import finish
    from testbed.cli.places import check_places
    from testbed.experiment.toolkit.loading import load_toolkit
    from testbed.experiment.toolkit.running import ToolkitRun

    os.environ["TESTBED_NAME"] = name  # for `testbed ...` as a process and testbed.toolkit as a python provider
    with contextlib.redirect_stdout(sys.stderr):  # modules are imported, and may print: stdout belongs to the report
        options = asked.options()
        loaded = load_toolkit(file, options)
    check_places({"--junit": junit, "--markdown": markdown, "--journal-path": asked.journal_path})
    job = ToolkitRun(loaded, options, out or instance_directory(name) / "runs", printing.say,
                     asked.journal_path)
    result = asyncio.run(job.run())
    return finish(result, job.folder, output=output, junit=junit, markdown=markdown)
