"""How often the statistics err, simulated: the tables of docs/statistics.md.

``python -m benchmarks.errors [--samples N]``: minutes; fixed seeds, so the same numbers each time. Values are drawn
as runs scatter, with a mean of 1.5 s: lognormal, and a fixed part with a uniform one, as where a probe's phase decides.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from testbed.experiment.compare import judged
from testbed.experiment.contrast import sample
from testbed.experiment.quantities import of_disruption
from testbed.experiment.run_values import Observed
from testbed.experiment.sequential import MINIMUM_RUNS, narrow
from testbed.experiment.statistics import median_interval

Noise = Callable[[random.Random, float], float]
MEAN_S = 1.5
MOST_RUNS = 40
TARGET = 0.10  # of --until-ci


def lognormal(draw: random.Random, cv: float) -> float:
    """Of mean 1 and this coefficient of variation."""
    sigma = math.sqrt(math.log(1 + cv * cv))
    return math.exp(draw.gauss(-sigma * sigma / 2, sigma))


def jittered(draw: random.Random, cv: float) -> float:
    """A fixed part and a uniform one, of mean 1."""
    return 1 + cv * math.sqrt(12) * (draw.random() - 0.5)


def verdicts(noise: Noise, cv: float, slowdown: float, runs: int, pairs: int) -> Counter[str]:
    """What pairs of results are called, of which the second is ``slowdown`` times as slow."""
    repair = of_disruption("repair")
    assert repair is not None
    draw = random.Random(f"{noise.__name__} {cv} {slowdown}")

    def side(factor: float) -> list[Observed]:
        return [Observed(number, MEAN_S * factor * noise(draw, cv)) for number in range(1, runs + 1)]

    found: Counter[str] = Counter()
    for _ in range(pairs):
        both = sample(repair, side(1.0), side(slowdown), seed=0)
        found[judged("", repair, both, both.p).verdict] += 1
    return found


def comparison_rows(samples: int) -> Iterator[str]:
    yield "| runs each | scatter (CV) | A/A: same | +10 %: worse | +20 %: worse | +20 %: same | +50 %: worse |"
    yield "|---|---|---|---|---|---|---|"
    for runs in (10, 20, 40):
        for cv in (0.05, 0.10, 0.15, 0.20, 0.30):
            told = [sum((verdicts(noise, cv, slowdown, runs, samples // 2) for noise in (lognormal, jittered)),
                        Counter[str]()) for slowdown in (1.0, 1.1, 1.2, 1.5)]
            shares = (told[0]["same"], told[1]["worse"], told[2]["worse"], told[2]["same"], told[3]["worse"])
            yield f"| {runs} | {cv * 100:.0f} % | {' | '.join(f'{100 * share / samples:.0f}' for share in shares)} |"


def runs_taken(draw: random.Random, cv: float, seed: int) -> list[float]:
    """Values until their median's interval is narrow enough, or there are as many as there may be."""
    values = [lognormal(draw, cv) for _ in range(MINIMUM_RUNS)]
    while len(values) < MOST_RUNS and not narrow([Observed(0, value) for value in values], TARGET, 0.0, seed)[0]:
        values.append(lognormal(draw, cv))
    return values


def holds(values: list[float], cv: float, seed: int) -> bool:
    """Whether their interval holds the true median."""
    interval = median_interval(values, seed)
    return interval is not None and interval[0] <= 1 / math.sqrt(1 + cv * cv) <= interval[1]


def sequential_rows(samples: int) -> Iterator[str]:
    yield "| scatter (CV) | runs it took | interval holds the median | the same number of runs, fixed |"
    yield "|---|---|---|---|"
    for cv in (0.10, 0.15, 0.20):
        draw = random.Random(f"until-ci {cv}")
        taken = [runs_taken(draw, cv, seed) for seed in range(samples)]
        held = sum(holds(values, cv, seed) for seed, values in enumerate(taken))
        fixed = sum(holds([lognormal(draw, cv) for _ in values], cv, seed) for seed, values in enumerate(taken))
        mean_runs = sum(map(len, taken)) / samples
        yield f"| {cv * 100:.0f} % | {mean_runs:.1f} | {100 * held / samples:.0f} % | {100 * fixed / samples:.0f} % |"


def say(title: str, rows: Iterable[str]) -> None:
    print(f"{title}\n", flush=True)  # noqa: T201
    for row in rows:
        print(row, flush=True)  # noqa: T201
    print(flush=True)  # noqa: T201


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.errors", description=__doc__)
    parser.add_argument("--samples", type=int, default=400, help="pairs, and sequences, for each row")
    samples = parser.parse_args().samples
    say(f"--until-ci {TARGET:.0%}: {samples} sequences each", sequential_rows(samples))
    say(f"comparisons: {samples} pairs each", comparison_rows(samples))
    return 0


if __name__ == "__main__":
    sys.exit(main())
