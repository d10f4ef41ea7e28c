"""``testbed runs`` and ``report``: what earlier runs have left behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from testbed.api.instance import state_root
from testbed.cli import output as printing
from testbed.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from testbed.experiment.result import Result

app = typer.Typer()

FORMATS = ("terminal", "html", "json", "junit", "markdown")


def folders() -> list[Path]:
    """Folders of all runs of all clusters of this user, oldest first."""
    found = [path.parent for path in state_root().glob("*/runs/*/result.json")]
    return sorted(found, key=lambda folder: (folder / "result.json").stat().st_mtime)


@app.command()
def runs(output: str = printing.Output) -> None:
    """List earlier runs, the newest last."""
    from testbed.experiment.saving import read_result

    printing.check_format(output, ("", "json", "yaml"))
    found: list[tuple[Path, Result]] = [(folder, read_result(folder)) for folder in folders()]
    if output:
        printing.dump([result.to_json() for _, result in found], output)
        return
    if not found:
        printing.say("there are no runs yet\n  make one: testbed run quickstart")
        return
    printing.out(printing.columns(
        ("RUN", "EXPERIMENT", "RUNS", "VERDICT", "STARTED"),
        [(folder.name, result.name, len(result.runs), result.verdict.value, f"{result.started_at:%Y-%m-%d %H:%M}")
         for folder, result in found]))


@app.command()
def report(
    run: str = typer.Argument("", metavar="[RUN]", help="Id of a run or its beginning; default: the newest."),
    format: str = typer.Option("terminal", "-o", "--output", help="terminal, html, json, junit or markdown."),
    out: Path = typer.Option(None, "--out", help="Write it into this file instead of stdout."),
) -> None:
    """Write a run's report as HTML, JSON, JUnit or Markdown."""
    import importlib

    from testbed.cli.finish import terminal_text, write
    from testbed.experiment.saving import read_result

    if format not in FORMATS:
        raise UsageError(f"-o {format!r} is not a format", hint="one of: " + ", ".join(FORMATS))
    result = read_result(find(run))
    text = terminal_text(result) if format == "terminal" else importlib.import_module(
        f"testbed.report.{format}").render(result)
    if out:
        write(out, text)
        printing.say(f"written to {out}")
    else:
        printing.out(text.rstrip("\n"))


def find(run: str) -> Path:
    """The folder of a run. Raises: InvalidInput when there is none, or several."""
    known = folders()
    if not known:
        raise InvalidInput("there are no runs yet", hint="make one: testbed run quickstart")
    if not run:
        return known[-1]
    if (Path(run) / "result.json").is_file():
        return Path(run)
    matching = [folder for folder in known if folder.name.startswith(run)]
    if len(matching) != 1:
        raise InvalidInput(f"{len(matching)} runs begin with {run!r}", hint="see: testbed runs")
    return matching[0]
