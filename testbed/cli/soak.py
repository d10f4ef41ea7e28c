"""``testbed soak``: random faults for a while, and whether the workload is whole in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from testbed.cli import output as printing
from testbed.errors import UsageError

if TYPE_CHECKING:
    from testbed.experiment.soaking import Tally

app = typer.Typer()
NOT_WHOLE = 7


@app.command()
def soak(
    fault: list[str] = typer.Argument(..., metavar="FAULT=MEAN...", help="A fault and the mean time between two."),
    selector: str = typer.Option(..., "-l", "--selector", help="Whom: labels, e.g. app=web."),
    duration: str = typer.Option("5m", "--for", help="How long."),
    hold: str = typer.Option("5s", "--hold", help="How long each is held: half to one and a half of it, at random."),
    settle: str = typer.Option("60s", "--settle", help="How long it may take afterwards until all pods are ready."),
    seed: int = typer.Option(0, "--seed", help="Of what is drawn, and when."),
    name: str = printing.Name,
    namespace: str = printing.Namespace,
) -> int:
    """Random faults for a while:  testbed soak container-kill=30s network-delay=1m -l app=web --for 10m"""
    import asyncio
    import random

    from testbed.api.instance_files import instance_directory, load_instance
    from testbed.cli.inject import containers_of, labels_of
    from testbed.client.aio import HttpClient
    from testbed.experiment.inject import Whom, fault_object
    from testbed.experiment.soaking import Soak, draw, whole_within

    labels = labels_of(selector)
    means_s = dict(_mean(item) for item in fault)
    needed = containers_of(name, namespace, selector, []) if "container-kill" in means_s else []

    def make(short: str, hold_s: float) -> dict[str, Any]:
        containers = needed if short == "container-kill" else ()
        return fault_object(short, Whom(namespace, labels, containers=containers), duration=f"{hold_s:.2f}s")

    for short in means_s:
        make(short, 1.0)  # a wrong name is told before anything begins
    span_s = printing.seconds(duration)
    dues = draw(means_s, span_s, printing.seconds(hold), random.Random(seed))
    instance = load_instance(instance_directory(name))

    async def run() -> tuple[dict[str, Tally], str]:
        client = HttpClient.of_instance(instance)
        made = Soak(client, dues, make, soak_id=f"{random.SystemRandom().getrandbits(24):06x}", namespace=namespace,
                    say=printing.say)
        try:
            await made.run(span_s)
            return made.tallies, await whole_within(client, namespace, labels, printing.seconds(settle))
        finally:
            await client.close()

    printing.say(f"{len(dues)} faults within {duration}, seed {seed}")
    tallies, problem = asyncio.run(run())
    rows = [(short, str(tally.drawn), str(tally.injected), str(sum(tally.problems.values())))
            for short, tally in sorted(tallies.items())]
    printing.out(printing.columns(("FAULT", "DRAWN", "INJECTED", "WITHOUT EFFECT"), rows))
    printing.say(f"not whole after {settle}: {problem}" if problem else "everything is taken back and whole")
    return NOT_WHOLE if problem else 0


def _mean(text: str) -> tuple[str, float]:
    """Raises: UsageError."""
    short, equals, mean = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r} is not FAULT=MEAN", hint="testbed soak container-kill=30s -l app=web")
    mean_s = printing.seconds(mean)
    if mean_s <= 0:
        raise UsageError(f"{text!r}: the mean time must be more than 0")
    return short, mean_s
