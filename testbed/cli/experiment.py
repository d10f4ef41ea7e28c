"""``testbed run``, ``validate``, ``examples``: experiments from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from testbed.cli import output as printing
from testbed.errors import InvalidInput, Mistake, UsageError

if TYPE_CHECKING:
    from testbed.experiment.documents import Document
    from testbed.experiment.loading import LoadedExperiment

app = typer.Typer()
TOOLKIT = "Chaos Toolkit experiments"
MOST_RUNS = 30


@app.command()
def run(
    experiment: str = typer.Argument(..., metavar="FILE | NAME", help="An Experiment, or one that `examples` lists; "
                                     "or a Chaos Toolkit experiment."),
    runs: int = typer.Option(None, "--runs", help="How often, 1 to 1000; default: what the file says."),
    seed: int = typer.Option(None, "--seed", help="Seed of all random choices; default: what the file says."),
    until_ci: str = typer.Option("", "--until-ci", metavar="RATIO",
                                 help="Then go on until the intervals are that narrow, e.g. 10%."),
    max_runs: int = typer.Option(None, "--max-runs", min=1, help="The most runs that --until-ci may take; default 30."),
    against: str = typer.Option("", "--against", metavar="FILE", help="Another experiment that this one is held "
                                "against; both are run in turns."),
    platform: str = typer.Option("", "--platform", help="What to run it on, several with commas, in turns; default: "
                                 "what runs the cluster NAME, else testbed."),
    kubeconfig: str = typer.Option("", "--kubeconfig", help="Of platform kubernetes; default: $KUBECONFIG."),
    context: str = typer.Option("", "--context", help="Of the kubeconfig; default: its current one."),
    address: list[str] = typer.Option([], "--address", metavar="SERVICE=HOST:PORT",
                                      help="Where platform kubernetes reaches a Service from here."),
    baseline: str = typer.Option("", "--baseline", metavar="NAME|FILE", help="Hold the result against this one."),
    fail_on: list[str] = typer.Option([], "--fail-on", metavar="JUDGEMENT", help="With --baseline or --against: end "
                                      "with 1 when it is worse, or 'cannot-tell'; may be given twice."),
    jitter: str = typer.Option("", "--jitter", help="Random part of the moment of injection, e.g. 0s."),
    keep: bool = typer.Option(False, "--keep", help="Leave workload and cluster standing."),
    out: Path = typer.Option(None, "--out", help="Folder for the run's own folder; default: the cluster's state."),
    junit: Path = typer.Option(None, "--junit", help="Also write JUnit XML there."),
    markdown: Path = typer.Option(None, "--markdown", help="Also write Markdown there."),
    rollback_strategy: str = typer.Option("", help="default, always, never or deviated.", rich_help_panel=TOOLKIT),
    hypothesis_strategy: str = typer.Option("", rich_help_panel=TOOLKIT, help="default, before-method-only, "
                                            "after-method-only, during-method-only or continuously."),
    hypothesis_frequency: float = typer.Option(1.0, min=0.01, rich_help_panel=TOOLKIT,
                                               help="Seconds between two looks during the method."),
    fail_fast: bool = typer.Option(False, "--fail-fast", rich_help_panel=TOOLKIT,
                                   help="End the method when it deviates meanwhile."),
    var: list[str] = typer.Option([], metavar="NAME[:TYPE]=VALUE", help="A configuration value.",
                                  rich_help_panel=TOOLKIT),
    var_file: list[Path] = typer.Option([], help="Configuration and secrets, or NAME=VALUE lines for the environment.",
                                        rich_help_panel=TOOLKIT),
    control_file: list[Path] = typer.Option([], help="Controls for the whole.", rich_help_panel=TOOLKIT),
    dry: str = typer.Option("", help="Leave out probes, actions, activities or pause.", rich_help_panel=TOOLKIT),
    activity_timeout: str = typer.Option("1h", help="For an activity that has no timeout.", rich_help_panel=TOOLKIT),
    journal_path: Path = typer.Option(None, help="Also write its journal there.", rich_help_panel=TOOLKIT),
    output: str = printing.Output,
    name: str = printing.Name,
) -> int:
    """Run an experiment and print its recovery report.

    Uses the cluster NAME when it is up; else a cluster of its own, which ends with the run. The exit code says what
    came of it: 0 passed, 1 objective missed, 3 invalid input, 4 environment, 5 to 10 see the documentation.
    """
    import asyncio

    from testbed.api.instance_files import instance_directory
    from testbed.cli.baselines import check_fail_on, gate_for, warn_of_few
    from testbed.cli.finish import finish_study
    from testbed.cli.places import check_places
    from testbed.cli.platforms import Opening, cluster_source, platforms_asked
    from testbed.cli.toolkit import ToolkitAsked, run_toolkit
    from testbed.experiment.loading import load_experiment
    from testbed.experiment.runner import ExperimentRun
    from testbed.experiment.sequential import MINIMUM_RUNS
    from testbed.experiment.toolkit.loading import is_toolkit_file
    from testbed.experiment.turns import Repetitions
    from testbed.experiment.variants import variants_of

    asked = ToolkitAsked(rollback_strategy, hypothesis_strategy, hypothesis_frequency, fail_fast, var, var_file,
                         control_file, dry, activity_timeout, journal_path)
    file = find_experiment(experiment)
    if is_toolkit_file(file):
        if (runs is not None or seed is not None or until_ci or against or platform not in ("", "testbed") or jitter
                or baseline or fail_on):
            raise UsageError("a Chaos Toolkit experiment runs once, where it says itself",
                             hint="leave out --runs, --seed, --until-ci, --against, --baseline, --platform, --jitter")
        _refuse({"--max-runs": max_runs, "--keep": keep, "--kubeconfig": kubeconfig, "--context": context,
                 "--address": address}, "not for Chaos Toolkit experiments")
        return run_toolkit(file, asked, name=name, out=out, output=output, junit=junit, markdown=markdown)
    asked.refuse_for_an_experiment()
    platforms = platforms_asked(platform, name)
    if "kubernetes" not in platforms:
        _refuse({"--kubeconfig": kubeconfig, "--context": context, "--address": address},
                "only for --platform kubernetes")
    if not until_ci:
        _refuse({"--max-runs": max_runs}, "only with --until-ci; how often is --runs")

    def load(text: str) -> LoadedExperiment:
        return load_experiment(find_experiment(text), runs=runs, seed=seed,
                               jitter_s=printing.seconds(jitter) if jitter else None)

    judgements = check_fail_on(fail_on)
    loaded = load(experiment)
    first_runs = loaded.experiment.spec.runs
    if max_runs is not None and max_runs < first_runs:
        raise UsageError(f"--max-runs {max_runs} is less than the {first_runs} runs that are made first",
                         hint="--runs says how many these are, else the file's runs")
    variants = variants_of(loaded, against=load(against) if against else None, platforms=platforms)
    gate = gate_for(loaded, baseline, judgements, len(variants), against=bool(against))
    if judgements:
        warn_of_few(loaded, len(gate.baseline.trusted_runs) if gate else None,
                    max(first_runs, MINIMUM_RUNS) if until_ci else first_runs)
    check_places({"--junit": junit, "--markdown": markdown})
    job = ExperimentRun(
        variants,
        lambda wanted: cluster_source(Opening(wanted, name, printing.say, keep, kubeconfig, context, tuple(address))),
        out or instance_directory(name) / "runs", printing.say, keep=keep,
        repetitions=Repetitions(first_runs, printing.ratio(until_ci) if until_ci else None,
                                max_runs or max(MOST_RUNS, first_runs)),
        gate=gate, decides=len(platforms) if against else 0, fail_on=judgements if against else (),
    )
    study = asyncio.run(job.run())
    return finish_study(study, job.folder, output=output, junit=junit, markdown=markdown)


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Raises: UsageError that names those that were given: nothing that is typed is passed over in silence."""
    if given := [name for name, value in options.items() if value]:
        raise UsageError(f"{', '.join(given)}: {why}")


def find_experiment(text: str) -> Path:
    """A file, or an example by its name. Raises: InvalidInput with the nearest name."""
    path = Path(text)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml", ".json"):
        raise InvalidInput([Mistake("there is no such file", file=text)])
    return find_example(text, "there is no file and no example")


def find_example(text: str, missing: str = "there is no example") -> Path:
    """Raises: InvalidInput with the nearest name."""
    known = {file.stem: file for file in example_files()}
    if text in known:
        return known[text]
    from testbed.cli.main import did_you_mean

    raise InvalidInput(f"{missing} {text!r}", hint=did_you_mean(text, list(known)) or "see: testbed examples")


def example_files() -> list[Path]:
    """The experiments that travel with the package."""
    from testbed.resources import folder

    return [file for file in sorted(folder("examples").glob("*.yaml")) if "kind: Experiment" in file.read_text()]


@app.command()
def examples(
    show: str = typer.Argument("", metavar="[NAME]", help="Print one."),
    copy: Path = typer.Option(None, "--copy", help="Copy it with its files, or all of them, into this folder, to "
                              "change them."),
) -> None:
    """List the experiments that ship inside the package:  testbed run NAME"""
    if copy:
        example = find_example(show) if show else None
        _copy_examples(copy, example)
        printing.say(f"copied to {copy}; run {'it' if example else 'one'}: testbed run "
                     f"{copy / (example.name if example else 'quickstart.yaml')}")
        return
    if show:
        printing.out(find_experiment(show).read_text().rstrip("\n"))
        return
    rows = [(file.stem, _first_words(file)) for file in example_files()]
    printing.out(printing.columns(("NAME", "WHAT IT SHOWS"), rows))


def _first_words(file: Path) -> str:
    """The first sentence of the comment at the top of an example says what it shows."""
    comment = []
    for line in file.read_text().splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("#").strip())
    return " ".join(comment).partition(". ")[0].rstrip(".")


@app.command()
def validate(
    files: list[Path] = typer.Argument(..., help="Manifests, faults and experiments."),
) -> None:
    """Check manifests, faults and experiments, Chaos Toolkit's too, without a cluster; apply nothing."""
    from testbed.cli.apply import expanded, read_objects
    from testbed.experiment.embedded import check_fault, check_schedule, misspelt_kind
    from testbed.experiment.loading import load_experiment
    from testbed.experiment.manifests import check_manifests
    from testbed.experiment.toolkit.loading import is_toolkit_file, load_toolkit
    from testbed.experiment.variants import variants_of

    mistakes: list[Mistake] = []
    count = 0
    for path in expanded(files):
        try:
            if path.is_file() and is_toolkit_file(path):
                load_toolkit(path)
                count += 1
                continue
            documents = read_objects([path])
        except InvalidInput as error:
            mistakes += error.mistakes
            continue
        except UsageError as error:
            mistakes.append(Mistake(error.message, file=str(path)))
            continue
        count += len(documents)
        plain: list[Document] = []
        for document in documents:
            kind = str(document.value["kind"])
            if kind == "Experiment":
                try:
                    variants_of(load_experiment(Path(document.file)))
                except InvalidInput as error:
                    mistakes += error.mistakes
            elif kind.endswith("Chaos"):
                mistakes += check_fault(document, ())
            elif kind == "Schedule":
                mistakes += check_schedule(document)
            elif wrong := misspelt_kind(document):
                mistakes.append(wrong)
            else:
                plain.append(document)
        mistakes += check_manifests(plain)
    if mistakes:
        raise InvalidInput(mistakes)
    if not count:
        raise UsageError("there are no objects in " + ", ".join(map(str, files)),
                         hint="name files, or folders that hold some: .yaml, .yml or .json")
    printing.say(f"no mistake in {count} object{'s' if count != 1 else ''}")


def _copy_examples(folder: Path, example: Path | None) -> None:
    """``example``: only this one, with the files that it names.

    Raises: UsageError when the folder cannot be written, or holds other files of these names.
    """
    import shutil

    from testbed import resources
    from testbed.experiment.loading import load_experiment

    files = load_experiment(example).files if example else [
        path for path in sorted(resources.folder("examples").iterdir()) if path.is_file()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        other = [path.name for path in files
                 if (folder / path.name).exists() and (folder / path.name).read_bytes() != path.read_bytes()]
        if other:
            raise UsageError(f"{folder} holds other files of these names already: {', '.join(other)}",
                             hint="copy into another folder")
        for path in files:
            shutil.copyfile(path, folder / path.name)
    except OSError as error:
        raise UsageError(f"the examples cannot be copied to {folder}: {error.strerror}") from error
