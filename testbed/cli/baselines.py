"""``testbed baseline`` and ``compare``: whether something became worse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from testbed.api.instance_files import state_root
from testbed.cli import output as printing
from testbed.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from testbed.experiment.archive import KeptBaseline
    from testbed.experiment.gate import Gate
    from testbed.experiment.loading import LoadedExperiment

app = typer.Typer()
baseline = typer.Typer(no_args_is_help=True, help="Results that later runs are held against: save, list, remove.")
app.add_typer(baseline, name="baseline")


@baseline.command("save")
def save(
    run: str = typer.Argument("", metavar="[RUN]", help="Id of a run or its beginning, or a file; default: the newest "
                              "run."),
    name: str = typer.Option("", "--as", metavar="NAME", help="What to call it; default: the experiment's name."),
    file: Path = typer.Option(None, "--file", help="Write it there instead, to keep it beside the experiment."),
) -> None:
    """Save a run's result as a baseline."""
    from testbed.experiment.archive import baseline_path, find_baseline, write_baseline
    from testbed.experiment.compare import values_at_once
    from testbed.experiment.enough_runs import too_few

    if name and file:
        raise UsageError("a baseline has a name or a file", hint="keep one of --as and --file")
    found = find_baseline(state_root(), run)[1]
    trusted = len(found.trusted_runs)
    if not trusted:
        raise InvalidInput(f"{found.run_id} has no run that can be trusted: it cannot be a baseline")
    path = file or baseline_path(state_root(), name or found.name)
    replaced = path.exists()
    write_baseline(found, path)
    use = str(file) if file else path.stem
    printing.say(f"{'replaced' if replaced else 'saved'} baseline {use}: {trusted} run{'s' if trusted != 1 else ''} of "
                 f"{found.name}\n  hold a run against it: testbed run {found.file or 'FILE'} --baseline {use}")
    if why := too_few((trusted, trusted), values_at_once(found.trusted_runs)):
        printing.say(f"  too few to tell: {why}, and 20 to find a slowdown of a fifth")


@baseline.command("list")
def list_baselines(output: str = printing.Output) -> None:
    """List saved baselines."""
    from testbed.experiment.archive import baselines

    found = baselines(state_root())
    if output:
        printing.dump([{"name": item.name, "file": str(item.path), **_fields(item)} for item in found], output)
        return
    if not found:
        printing.say("there are no baselines yet\n  save one: testbed baseline save")
        return
    printing.out(printing.columns(("BASELINE", "EXPERIMENT", "RUNS", "PROFILE", "OF RUN", "STARTED"),
                                  [(item.name, *_cells(item)) for item in found]))
    for item in found:
        if item.problem:
            printing.say(item.problem)


def _fields(item: KeptBaseline) -> dict[str, Any]:
    if item.result is None:
        return {"problem": item.problem}
    return {"experiment": item.result.name, "runs": len(item.result.trusted_runs), "run": item.result.run_id,
            "specHash": item.result.spec_hash, "startedAt": item.result.started_at.isoformat()}


def _cells(item: KeptBaseline) -> tuple[Any, ...]:
    if item.result is None:
        return "unreadable", "–", "–", "–", "–"
    return (item.result.name, len(item.result.trusted_runs), item.result.profile or "–", item.result.run_id,
            f"{item.result.started_at:%Y-%m-%d %H:%M}")


@baseline.command("rm")
def remove(names: list[str] = typer.Argument(..., metavar="NAME...", help="Names of baselines.")) -> None:
    """Remove baselines."""
    from testbed.experiment.archive import baseline_path, remove_baseline

    for name in names:
        baseline_path(state_root(), name)
    for name in names:
        remove_baseline(state_root(), name)
        printing.say(f"removed baseline {name}")


@app.command()
def compare(
    a: str = typer.Argument(..., metavar="A", help="The reference: a baseline, a run (ID/VARIANT of several), a file."),
    b: str = typer.Argument(..., metavar="B", help="What is held against it."),
    fail_on: list[str] = typer.Option([], "--fail-on", metavar="JUDGEMENT", help="End with 1 when it is worse, or "
                                      "'cannot tell'; may be given twice."),
    format: str = printing.output_option("terminal", "html", "json", "yaml", "markdown", default="terminal"),
) -> int:
    """Compare two results: improved, same, worse, or cannot tell."""
    from testbed.cli.finish import terminal_form
    from testbed.experiment.archive import find_baseline
    from testbed.experiment.compare import compare as held_against
    from testbed.experiment.gate import check_same_results
    from testbed.report import comparison as words

    judgements = check_fail_on(fail_on)
    (name_a, one), (name_b, other) = find_baseline(state_root(), a), find_baseline(state_root(), b)
    check_same_results(one, other)
    found = held_against(one, other, name_a=name_a, name_b=name_b)
    if format == "terminal":
        printing.out(words.render(found, **terminal_form(120)).rstrip("\n"))
    elif format == "html":
        from testbed.report import comparison_page

        printing.out(comparison_page.render(found).rstrip("\n"))
    elif format == "markdown":
        printing.out("\n".join(words.markdown_lines(found)).rstrip("\n"))
    else:
        printing.dump(found.to_json(), format)
    return 1 if found.verdict in judgements else 0


def gate_for(
    loaded: LoadedExperiment, baseline: str, fail_on: tuple[str, ...], variants: int, *, against: bool = False,
) -> Gate | None:
    """What a run of ``loaded`` is held against, checked before anything starts; None without a baseline.

    Args: against: whether it is held against another file that is run in turns with it.

    Raises: InvalidInput when there is no such baseline, it is of another experiment, or an objective asks for one that
        is not given; UsageError when it cannot be meant.
    """
    from testbed.experiment.archive import find_baseline
    from testbed.experiment.gate import Gate, check_objectives, check_same_experiment

    check_objectives(loaded.objectives, has_baseline=bool(baseline))
    if not baseline:
        if fail_on and not against:
            raise UsageError("--fail-on needs something to compare with",
                             hint="add --baseline NAME|FILE, or --against FILE")
        if fail_on and variants > 2:
            raise UsageError("--fail-on judges one comparison, and several platforms are several",
                             hint="name one --platform")
        return None
    if variants > 1:
        raise UsageError("a baseline is for one variant", hint="several variants are compared with each other")
    name, result = find_baseline(state_root(), baseline)
    check_same_experiment(result, name, loaded.experiment)
    return Gate(result, name, fail_on)


def warn_of_few(loaded: LoadedExperiment, reference: int | None, runs: int) -> None:
    """Says before an hour of runs when nothing can come out of the comparison. Args: reference: its runs, where they
    are there already."""
    from testbed.experiment.gate import powerless

    if why := powerless(loaded.experiment, runs if reference is None else reference, runs):
        printing.say(f"warning: {why}; with fewer --fail-on has nothing to judge by")


def check_fail_on(values: list[str]) -> tuple[str, ...]:
    """``worse``, ``cannot tell`` (also with a dash). Raises: UsageError."""
    from testbed.experiment.gate import FAIL_ON

    found = tuple(dict.fromkeys(value.strip().replace("-", " ") for value in values))
    for value in found:
        if value not in FAIL_ON:
            raise UsageError(f"--fail-on {value!r} is no judgement", hint="one of: worse, cannot-tell")
    return found
