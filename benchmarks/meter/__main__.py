"""``python -m benchmarks.meter``: ten comparisons of an experiment with itself, and one with a planted slowdown.

Each is an interleaved study on a cluster of its own; its comparison is appended to the results file as soon as it is
known, and what is there already is not run again. Exit code 1 when fewer than 95 % say "same", or the slowdown is not
found.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

from testbed.cli.platforms import Opening, cluster_source
from testbed.experiment.compare import compare_runs
from testbed.experiment.documents import read_file
from testbed.experiment.loading import LoadedExperiment, load_experiment
from testbed.experiment.matrix import Setting, with_settings
from testbed.experiment.result import SERIOUS, RunResult, Study
from testbed.experiment.runner import ExperimentRun
from testbed.experiment.turns import Repetitions
from testbed.experiment.variants import Variant

FILE = Path(__file__).parent / "short.yaml"
KEY = "env.BEFORE_S.value"
USUAL_S = 0.5


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def with_delay(loaded: LoadedExperiment, seconds: float) -> LoadedExperiment:
    manifests = with_settings(loaded.manifests, [Setting(KEY, f"{seconds:g}")], read_file(loaded.file)[0])
    return replace(loaded, manifests=manifests)


def study(variants: list[Variant], runs: int, folder: Path) -> Study:
    run = ExperimentRun(variants, lambda platform: cluster_source(Opening(platform, "meter", say)), folder, say,
                        repetitions=Repetitions(runs))
    return asyncio.run(run.run())


def outages(runs: tuple[RunResult, ...]) -> list[float]:
    return [found.outage_s for run in runs if (found := run.disruption("crash"))]


def measure(name: str, slower_by_s: float, runs: int, folder: Path) -> dict[str, object]:
    """One comparison. ``slower_by_s``: how much longer B's application takes to begin.

    Raises: SystemExit when it was not carried out to its end (130 when it was interrupted): it is to be run again.
    """
    loaded = load_experiment(FILE, runs=runs, seed=sum(name.encode()))
    found = study([Variant("A", loaded), Variant("B", with_delay(loaded, USUAL_S + slower_by_s))], runs, folder)
    if found.verdict in SERIOUS:
        say(f"{name}: {found.verdict.value} {found.reason}")
        raise SystemExit(found.exit_code)
    a, b = (item.result.trusted_runs for item in found.variants)
    compared = compare_runs("A", a, "B", b)
    outage = compared.of("crash", "outage")
    return {"name": name, "n": [len(a), len(b)], "verdict": compared.verdict, "reason": compared.reason,
            "outage": outage.to_json() if outage else None, "a": outages(a), "b": outages(b)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.meter", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results.jsonl")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--runs", type=int, default=10, help="of each side of a pair; the planted one has 20")
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    known = {item["name"]: item for line in (options.results.read_text().splitlines()
             if options.results.exists() else ()) for item in [json.loads(line)]}
    # A fifth of what the outage usually is: the half second, and the start of a container and of Python.
    plan = [(f"same-{number}", 0.0, options.runs) for number in range(1, options.pairs + 1)]
    for name, slower_by_s, runs in plan:
        known[name] = known.get(name) or _append(measure(name, slower_by_s, runs, Path("build/meter/runs")),
                                                 options.results)
    usual = sorted(value for item in known.values() for value in item["a"])
    fifth_s = 0.2 * usual[len(usual) // 2]
    name = "planted-20-percent"
    known[name] = known.get(name) or _append(measure(name, fifth_s, 20, Path("build/meter/runs")),
                                             options.results)
    return _told(known)


def _append(value: dict[str, object], file: Path) -> dict[str, object]:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(value) + "\n")
    say(f"{value['name']}: {value['verdict']} {value['reason']}")
    return value


def _told(known: dict[str, dict[str, object]]) -> int:
    same = [item for name, item in known.items() if name.startswith("same-")]
    fine = sum(1 for item in same if item["verdict"] == "same")
    planted = known["planted-20-percent"]["verdict"]
    print(f"the same against itself: {fine} of {len(same)} say same; 20 % slower: {planted}")  # noqa: T201
    return 0 if fine >= 0.95 * len(same) and planted == "worse" else 1


if __name__ == "__main__":
    sys.exit(main())
