"""``testbed runs`` and ``report``: what earlier runs have left behind, of one cluster or of all."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from testbed.api.instance_files import state_root
from testbed.api.printable import printable_json
from testbed.cli import output as printing
from testbed.errors import TestbedError, UsageError

if TYPE_CHECKING:
    from testbed.experiment.archive import KeptRun
    from testbed.experiment.result import Result, Study

app = typer.Typer()
runs = typer.Typer(help="Earlier runs: list, show, remove.")
app.add_typer(runs, name="runs")

Name = typer.Option("", "--name", envvar="TESTBED_NAME", help="Of which cluster; of all when absent.")
HEADER = ("RUN", "EXPERIMENT", "RUNS", "VERDICT", "STARTED")


@runs.callback(invoke_without_command=True)
def default(context: typer.Context, name: str = Name, output: str = printing.Output) -> None:
    """List earlier runs, the newest last; or show or remove them."""
    if context.invoked_subcommand is None:
        list_runs(name, output)
    elif (source := context.get_parameter_source("name")) and source.name == "COMMANDLINE":
        # Never left out of account: runs of another cluster would be removed.
        word = context.invoked_subcommand
        raise UsageError(f"--name stands before {word}", hint=f"write it behind: testbed runs {word} --name {name}")


@runs.command("list")
def list_runs(name: str = Name, output: str = printing.Output) -> None:
    """List earlier runs, the newest last."""
    from testbed.experiment.archive import all_folders, glance, how_to_run, no_runs

    found = [glance(folder) for folder in all_folders(state_root(), name)]
    if output:
        printing.dump([_plain(run) for run in found], output)
        return
    if not found:
        printing.say(f"{no_runs(name)}\n  {how_to_run(name)}")
        return
    printing.out(printing.columns(HEADER, [_cells(run) for run in found]))


def _plain(run: KeptRun) -> dict[str, object]:
    return {"id": run.folder.name, "folder": str(run.folder), "experiment": run.name, "runs": run.runs,
            "variants": run.variants, "verdict": run.verdict, "problem": run.problem,
            "startedAt": run.started_at.isoformat() if run.started_at else None}


def _cells(run: KeptRun) -> tuple[object, ...]:
    count = f"{run.runs} of {run.variants} variants" if run.variants > 1 else run.runs or "–"
    started = f"{run.started_at:%Y-%m-%d %H:%M}" if run.started_at else "–"
    return run.folder.name, run.name or "–", count, run.problem or run.verdict, started


@runs.command("show")
def show(
    run: str = typer.Argument("", metavar="[RUN]", help="Id of a run or its beginning; default: the newest."),
    name: str = Name,
    output: str = printing.Output,
) -> None:
    """Print a run's report, and where its files are."""
    from testbed.experiment.archive import find_run

    folder = find_run(state_root(), run, name)
    found = _of_folder(folder)
    if output:
        printing.dump(found.to_json(), output)
        return
    printing.out(_text(found, "terminal").rstrip("\n"))
    printing.say(f"files:  {folder}")


@runs.command("rm")
def remove(
    run: list[str] = typer.Argument(None, metavar="[RUN]...", help="Ids of runs, or their beginnings."),
    older_than: str = typer.Option("", "--older-than", metavar="TIME", help="All that began before that, e.g. 30d."),
    keep: int = typer.Option(None, "--keep", min=0, help="All but so many of the newest."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    name: str = Name,
) -> None:
    """Remove runs with all their files. What still runs is left alone."""
    from testbed.experiment.archive import all_folders, find_kept, glance, remove_run, to_remove

    if bool(run) == bool(older_than or keep is not None):
        raise UsageError("say which runs, or --older-than or --keep" if not run else
                         "runs by name go without --older-than and --keep")
    if run:
        chosen = [glance(find_kept(state_root(), text, name)) for text in dict.fromkeys(run)]
    else:
        kept = [glance(folder) for folder in all_folders(state_root(), name)]
        chosen = to_remove(kept, now=datetime.now(UTC),
                           older_than=_days(older_than) if older_than else None, keep=keep)
    if not chosen:
        printing.say("there is nothing to remove")
        return
    if not yes:
        _ask(chosen)
    for item in chosen:
        remove_run(item.folder)
        printing.say(f"removed {item.folder.name}")


def _ask(chosen: list[KeptRun]) -> None:
    """Raises: UsageError where nobody can be asked; Abort when the answer is no."""
    printing.say(printing.columns(HEADER, [_cells(run) for run in chosen]))
    if not sys.stdin.isatty():
        raise UsageError("this removes files and nobody can be asked", hint="add --yes")
    typer.confirm(f"remove {len(chosen)} run{'s' if len(chosen) != 1 else ''} with all files?", abort=True, err=True)


def _days(text: str) -> timedelta:
    """``30d``, ``12h``. Raises: UsageError."""
    if text.endswith("d") and text[:-1].isdigit():
        return timedelta(days=int(text[:-1]))
    return timedelta(seconds=printing.seconds(text))


# --- reports


@app.command()
def report(
    run: str = typer.Argument("", metavar="[RUN]", help="Id of a run or its beginning (ID/VARIANT of several), its "
                              "folder, or a bundle; default: the newest."),
    format: str = printing.output_option("terminal", "html", "json", "junit", "markdown", default="terminal"),
    out: Path = typer.Option(None, "--out", help="Write it into this file instead of stdout."),
    bundle: Path = typer.Option(None, "--bundle", metavar="FILE.tar.gz",
                                help="Write everything of the run into one file, without secrets, to study elsewhere."),
    name: str = Name,
) -> None:
    """Write a run's report as HTML, JSON, JUnit or Markdown; or all of the run as one file."""
    from testbed.cli.finish import write
    from testbed.experiment.archive import find_run

    if bundle:
        if out or format != "terminal":
            raise UsageError("--bundle writes all of a run, and its report is in it: -o and --out are for a report "
                             "alone", hint="leave them out, or give two commands")
        _bundle(find_run(state_root(), run, name), bundle)
        return
    text = _text(_found(run, name), format)
    if out:
        write(out, text)
        printing.say(f"written to {out}")
    else:
        printing.out(text.rstrip("\n"))


def _found(run: str, cluster: str) -> Result | Study:
    """Raises: InvalidInput."""
    from testbed.experiment.archive import find_run, read_file
    from testbed.experiment.bundle import open_bundle

    if run.endswith((".tar.gz", ".tgz")):
        return open_bundle(Path(run))
    return read_file(Path(run)) if Path(run).is_file() else _of_folder(find_run(state_root(), run, cluster))


def _of_folder(folder: Path) -> Result | Study:
    from testbed.experiment.saving import read_result, read_study

    return read_study(folder) if (folder / "study.json").exists() else read_result(folder)


def _text(found: Result | Study, format: str) -> str:
    import importlib

    from testbed.cli.finish import study_text, terminal_text
    from testbed.experiment.result import Study

    if not isinstance(found, Study):
        return terminal_text(found) if format == "terminal" else str(
            importlib.import_module(f"testbed.report.{format}").render(found))
    if format == "terminal":
        return study_text(found)
    if format == "json":
        import json

        return printable_json(json.dumps(found.to_json(), ensure_ascii=False, indent=2))
    return str(importlib.import_module(f"testbed.report.study.{format}").render(found))


def _bundle(folder: Path, out: Path) -> None:
    from testbed.experiment.bundle import write_bundle

    if not out.name.endswith((".tar.gz", ".tgz")):
        raise UsageError(f"--bundle {out} is not a name for it", hint=f"write --bundle {out}.tar.gz")
    files = write_bundle(folder, out, {"doctor.txt": _doctor(), "versions.json": _versions()})
    printing.say(f"{files} files of {folder.name} are in {out}\n  elsewhere: testbed report {out}")


def _doctor() -> str:
    """What ``testbed doctor`` says now, or why it cannot."""
    from testbed.machines.doctor import examine

    try:
        checks = examine()
    except TestbedError as error:
        return f"doctor: {error.message}\n"
    words = {True: "yes", False: "no", None: "?"}
    return "".join(f"{words[check.ok]:<4}{check.name}: {check.found}\n" for check in checks)


def _versions() -> str:
    import json
    import platform
    from importlib.metadata import distributions

    from testbed import __version__

    packages = {item.metadata["Name"]: item.version for item in distributions() if item.metadata["Name"]}
    return json.dumps({"testbed": __version__, "python": platform.python_version(), "kernel": platform.release(),
                       "machine": platform.machine(), "cpus": os.cpu_count(),
                       "packages": dict(sorted(packages.items()))}, indent=1)
