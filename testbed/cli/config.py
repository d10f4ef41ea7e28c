"""``testbed config``: every constant of the cluster's machinery, and the JSON schemas of our kinds."""

from __future__ import annotations

from dataclasses import asdict

import typer

from testbed.cli import output as printing
from testbed.core.profile import PROFILES
from testbed.errors import InvalidInput

app = typer.Typer()


@app.command()
def config(
    output: str = printing.Output,
    schema: str = typer.Option("", "--schema", help="Print a JSON schema instead: experiment, result or "
                                                     "study (study.json)."),
) -> None:
    """Every timing constant, by profile. Values in a manifest always win over these."""
    if schema:
        _schema(schema)
        return
    profiles = {name: asdict(profile) for name, profile in PROFILES.items()}
    if output:
        printing.dump(profiles, output)
        return
    rows = [(field, *(f"{values[field]:g}" for values in profiles.values()))
            for field in next(iter(profiles.values())) if field != "name"]
    printing.out(printing.columns(("CONSTANT", *(f"{name.upper()}" for name in profiles)), rows))


def _schema(which: str) -> None:
    if which == "experiment":
        from testbed.experiment.schema import experiment_schema

        printing.dump(experiment_schema(), "json")
    elif which == "result":
        from testbed.experiment.schema import result_schema

        printing.dump(result_schema(), "json")
    elif which == "study":
        from testbed.experiment.schema import study_schema

        printing.dump(study_schema(), "json")
    else:
        raise InvalidInput(f"there is no schema {which!r}", hint="one of: experiment, result, study")
