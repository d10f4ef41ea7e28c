"""``python -m benchmarks.comparison``: runs what is missing, then writes the page."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison.document import page
from benchmarks.comparison.plan import RECOVERIES, SHIPPED, Comparison
from benchmarks.comparison.records import Records
from testbed.cli.platforms import Opening, cluster_source
from testbed.errors import TestbedError
from testbed.experiment.loading import load_experiment
from testbed.experiment.result import Verdict
from testbed.experiment.runner import ExperimentRun
from testbed.experiment.turns import Repetitions
from testbed.experiment.variants import variants_of

IN_A_ROW = 5  # repetitions after which results are written and clusters made anew


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def fill(comparison: Comparison, wanted: int, records: Records, folder: Path) -> None:
    """Runs repetitions until every platform has ``wanted``.

    Raises: TestbedError when one cannot be opened; SystemExit when it was interrupted (130: nothing of that round is
    kept) or nothing comes of it.
    """
    attempts = 0
    while missing := {platform: wanted - count for platform in comparison.platforms
                      if (count := records.count(comparison.name, platform)) < wanted}:
        attempts += 1
        if attempts > 2 * wanted:
            raise SystemExit(f"{comparison.name}: {missing} runs are still missing after {attempts} attempts")
        chunk = min(IN_A_ROW, *missing.values())
        say(f"--- {comparison.name}: {chunk} on each of {', '.join(missing)}")
        done = sum(1 for _ in records.read())
        loaded = load_experiment(comparison.file, runs=chunk, seed=1000 * attempts + done)
        run = ExperimentRun(
            variants_of(loaded, platforms=tuple(missing)),
            lambda platform: cluster_source(Opening(platform, "comparison", say)), folder, say,
            repetitions=Repetitions(chunk))
        study = asyncio.run(run.run())
        if study.verdict is Verdict.INTERRUPTED:
            raise SystemExit(study.exit_code)
        for variant in study.variants:
            records.append(comparison.name, variant)
            say(f"{variant.name}: {variant.result.verdict.value} {variant.result.reason}")
        if not any(variant.result.runs for variant in study.variants):
            raise SystemExit(f"{comparison.name}: nothing could be run: {study.reason}")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison", description=(__doc__ or "").strip())
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results.jsonl")
    parser.add_argument("--runs", type=int, default=10, help="trusted repetitions of each, at least")
    parser.add_argument("--only", action="append", default=[], help="one comparison by its name")
    parser.add_argument("--page", type=Path, default=Path("docs/comparison.md"))
    parser.add_argument("--no-runs", action="store_true", help="write the page from what is there")
    return parser.parse_args(argv)


def main() -> int:
    options = arguments(sys.argv[1:])
    records = Records(options.results)
    known = {item.name: item for item in (*RECOVERIES, *SHIPPED)}
    unknown = [name for name in options.only if name not in known]
    if unknown:
        raise SystemExit(f"there is no comparison {unknown[0]!r}; known: {', '.join(known)}")
    if not options.no_runs:
        for name in options.only or known:
            try:
                fill(known[name], options.runs, records, Path("build/comparison/runs"))
            except TestbedError as error:
                say(f"{name}: {error}")
                return error.exit_code
    options.page.write_text(page(list(records.read())), encoding="utf-8")
    say(f"written: {options.page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
