"""``testbed load``: a load test of a Service, with the report, objectives and exit codes of an experiment."""

from __future__ import annotations

from pathlib import Path

import typer

from testbed.cli import output as printing
from testbed.errors import UsageError

app = typer.Typer()


@app.command()
def load(
    services: list[str] = typer.Argument(..., metavar="SERVICE...", help="What is loaded; several get a pulse each, "
                                                                         "and recovery is computed from the first."),
    rate: float = typer.Option(None, "--rate", help="Requests per second, on schedule whatever happens. Default 100; "
                                                    "20 beside a locustfile; 0: none."),
    stage: list[str] = typer.Option([], "--stage", "-s", metavar="DURATION:TARGET", help="How the rate changes, e.g. "
                                    "30s:500, as k6's; may be given again. --rate is where it starts."),
    duration: str = typer.Option("30s", "--for", help="How long."),
    file: Path = typer.Option(None, "-f", "--locustfile", help="A locustfile: realistic users beside the pulse."),
    users: int = typer.Option(10, "--users", "-u", min=1, help="Locust's users."),
    spawn_rate: float = typer.Option(10.0, "--spawn-rate", "-r", min=0.1, help="Users that begin per second."),
    processes: int = typer.Option(None, "--processes", min=1, help="Locust's workers on this machine."),
    workers: int = typer.Option(None, "--workers", min=1, help="Locust's workers from elsewhere, so many of them."),
    bind: str = typer.Option("", "--bind", help="Where Locust's master listens for them (127.0.0.1:5557), and asks "
                                                "for no password: loopback, or a network you trust."),
    port: int = typer.Option(None, "--port", help="The Service's port; its first when absent."),
    path: str = typer.Option(None, "--path", help="What the pulse asks for; {index} in it is the arrival's number."),
    method: str = typer.Option(None, "--method", help="The pulse's method; default GET."),
    header: list[str] = typer.Option([], "--header", help="'Name: value' of the pulse; may be given again."),
    body: str = typer.Option(None, "--body", help="What the pulse sends; {index} as in --path."),
    status: list[int] = typer.Option([], "--status", help="The right status; default any 2xx or 3xx."),
    tcp: bool = typer.Option(False, "--tcp", help="Connections instead of HTTP requests."),
    send: str = typer.Option(None, "--send", help="With --tcp: what is sent."),
    expect: str = typer.Option(None, "--expect", help="With --tcp: what the answer must contain."),
    keep_alive: bool = typer.Option(False, "--keep-alive", help="Also a second stream over kept connections."),
    deadline: str = typer.Option("1s", "--deadline", help="A later answer counts as late."),
    inject: list[Path] = typer.Option([], "--inject", help="A fault object to inject meanwhile."),
    inject_at: str = typer.Option("", "--inject-at", help="When; default: after a quarter of the time."),
    objective: list[str] = typer.Option([], "--objective", help="A condition, e.g. 'latency.p99 < 50ms'."),
    runs: int = typer.Option(1, "--runs", help="How often, 1 to 1000."),
    seed: int = typer.Option(0, "--seed", help="Seed of all random choices."),
    out: Path = typer.Option(None, "--out", help="Folder for the run's own folder; default: the cluster's state."),
    junit: Path = typer.Option(None, "--junit", help="Also write JUnit XML there."),
    markdown: Path = typer.Option(None, "--markdown", help="Also write Markdown there."),
    output: str = printing.Output,
    name: str = printing.Name,
    namespace: str = printing.Namespace,
) -> int:
    """Load-test a Service:  testbed load web --rate 200 --for 60s"""
    import asyncio

    from testbed.api.instance_files import instance_directory, load_instance
    from testbed.cli.finish import finish
    from testbed.cli.places import check_places
    from testbed.cli.platforms import own_cluster
    from testbed.experiment.inject import read_fault
    from testbed.experiment.runner import ExperimentRun
    from testbed.experiment.variants import alone
    from testbed.load.alone import LoadTest, load_test
    from testbed.load.ask import parse_header

    _check(file, processes, workers, bind, inject, inject_at)
    given = {"path": path, "method": method, "headers": dict(parse_header(text) for text in header), "body": body,
             "status": status, "send": send, "expect": expect, "keepAlive": keep_alive,
             "protocol": "tcp" if tcp else ""}
    loaded = load_test(LoadTest(
        services[0], printing.seconds(duration), port=port, also=tuple(services[1:]), rate=rate, stages=tuple(stage),
        asking={name: value for name, value in given.items() if value}, deadline_s=printing.seconds(deadline),
        locustfile=file, users=users, spawn_rate=spawn_rate, processes=processes,
        workers={"expect": workers, **({"bind": bind} if bind else {})} if workers else None,
        faults=tuple(read_fault(item) for item in inject),
        inject_at_s=printing.seconds(inject_at) if inject_at else None, objectives=tuple(objective), runs=runs,
        seed=seed, namespace=namespace,
    ))
    check_places({"--junit": junit, "--markdown": markdown})
    load_instance(instance_directory(name))  # a load test needs a cluster with something in it
    job = ExperimentRun(alone(loaded), own_cluster(name, printing.say), out or instance_directory(name) / "runs",
                        printing.say, keep=True, command="load")
    result = asyncio.run(job.run_alone())
    return finish(result, job.folder, output=output, junit=junit, markdown=markdown)


def _check(
    file: Path | None, processes: int | None, workers: int | None, bind: str, inject: list[Path], inject_at: str,
) -> None:
    """Raises: UsageError for options that would do nothing."""
    if bind and not workers:
        raise UsageError("--bind says where the workers from elsewhere join, and there are none",
                         hint="say how many: --workers 2")
    if (processes or workers) and file is None:
        raise UsageError("--processes and --workers are Locust's, and there is no locustfile", hint="give one: -f")
    if inject_at and not inject:
        raise UsageError("--inject-at says when, and nothing is injected", hint="give a fault: --inject FILE")
