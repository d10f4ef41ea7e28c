"""What measuring costs: the machine (the pulse, and the runner that records), and the measured (latency and processor
time of a pod that is asked by the pulse besides its own users); and how long a report of a hundred runs takes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cluster import READINESS, BenchCluster, deployment, until
from benchmarks.idle import cpu_shares
from benchmarks.pulse import Pulse, processes_of
from benchmarks.rows import Row, quantile
from testbed.experiment.result import Result
from testbed.experiment.saving import read_result
from testbed.experiment.statistics import over_runs
from testbed.load.records import read
from testbed.report import html, junit, markdown, terminal

RATE = 500
WATCH_S = 25.0
USERS = {"at rest": 20, "under load": 300}  # requests per second of the second client
PULSE_RATE = 200
PAIRS, STRETCH_S = 8, 4.0
RUNS = 100
VOID = 9  # the exit code of a run on a machine too busy to trust its times; what it cost is known all the same
EXPERIMENT = f"""
apiVersion: testbed.io/v1alpha1
kind: Experiment
metadata: {{name: cost}}
spec:
  workload: [web.yaml]
  steadyState: [{{ready: {{deployment: cost}}}}]
  load: {{pulse: {{service: cost, path: /, rate: {RATE}}}}}
  budget: {{failedRequests: 1000000}}
  method:
    - name: watched
      wait: {WATCH_S + 6:g}s
    - name: crash
      fault:
        apiVersion: chaos-mesh.org/v1alpha1
        kind: PodChaos
        spec: {{action: container-kill, mode: one, containerNames: [web], selector: {{labelSelectors: {{app: cost}}}}}}
"""


def measure(cluster: BenchCluster) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from _of_the_machine(cluster, folder)
        yield from _of_the_measured(cluster, folder)


# --- of the machine


def _of_the_machine(cluster: BenchCluster, folder: Path) -> Iterator[Row]:
    """The pulse and the runner while a run watches a workload under load; the report of its result, a hundredfold."""
    (folder / "web.yaml").write_text(deployment("cost", 4, extra=READINESS))
    file, out = folder / "cost.yaml", folder / "out"
    file.write_text(EXPERIMENT)
    runner = subprocess.Popen(
        [sys.executable, "-m", "testbed", "run", str(file), "--name", cluster.name, "--runs", "1", "--out", str(out)],
        env=os.environ | {"XDG_STATE_HOME": str(cluster.home)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until(lambda: _pulse_of(runner.pid) or runner.poll() is not None, "the run's pulse", every_s=0.05)
        pulse = _pulse_of(runner.pid)
        time.sleep(3)
        shares = cpu_shares([runner.pid, pulse], WATCH_S) if pulse is not None else {}
        _, words = runner.communicate(timeout=120)
    finally:
        runner.kill()
        runner.wait()
    if runner.returncode not in (0, VOID) or pulse is None:
        raise SystemExit(f"the run ended with {runner.returncode}: {words.decode()[-500:]}")
    yield Row(f"pulse and recorder at {RATE} requests/s: processor time of one core", sum(shares.values()), 20, "%",
              f"pulse {shares[pulse]:.1f}, runner with its budget watched {shares[runner.pid]:.1f}")
    yield _report(read_result(next(path.parent for path in out.rglob("result.json"))))


def _pulse_of(runner: int) -> int | None:
    try:
        children = Path(f"/proc/{runner}/task/{runner}/children").read_text().split()
        return next((int(pid) for pid in children
                     if b"testbed.load.pulse" in Path(f"/proc/{pid}/cmdline").read_bytes()), None)
    except OSError:
        return None


def _report(result: Result) -> Row:
    runs = tuple(result.runs[0].model_copy(update={"number": number}) for number in range(1, RUNS + 1))
    many = result.model_copy(update={"runs": runs, "statistics": over_runs(runs, 1)})
    began, used = time.monotonic(), time.process_time()
    sizes = [len(render(many)) for render in (html.render, terminal.render, markdown.render, junit.render)]
    return Row(f"a report of {RUNS} runs, in four formats: processor time", time.process_time() - used, 5, "s",
               f"{time.monotonic() - began:.1f} s by the clock, on a machine as busy as this; the page has "
               f"{sizes[0] / 1e6:.1f} MB")


# --- of the measured


def _of_the_measured(cluster: BenchCluster, folder: Path) -> Iterator[Row]:
    """In turns with the pulse and without, beside a second client that is there all along."""
    cluster.apply(deployment("cost", 1, extra=READINESS))
    served = processes_of(cluster.wait_ready(1)[0]["metadata"]["name"])
    for words, rate in USERS.items():
        users = folder / f"users-{rate}"
        with Pulse(cluster, "cost", users, rate):
            turns = [_turn(cluster, folder, served, pulsed=index % 2 == (index // 2) % 2)  # ABBA
                     for index in range(2 * PAIRS)]
        records = read(users).stream()
        medians: dict[bool, list[float]] = {True: [], False: []}
        shares: dict[bool, list[float]] = {True: [], False: []}
        for pulsed, begin_ns, end_ns, share in turns:
            medians[pulsed].append(1000 * quantile([record.latency_s for record in records if record.ok
                                                    and begin_ns <= record.due_ns < end_ns], 0.5))
            shares[pulsed].append(share)
        with_it, without = (statistics.median(medians[pulsed]) for pulsed in (True, False))
        busy, quiet = (statistics.median(shares[pulsed]) for pulsed in (True, False))
        yield Row(f"latency of a client at {rate}/s ({words}), with the pulse to without", with_it / without, 1.25, "",
                  f"median {without:.2f} ms without, {with_it:.2f} ms with it at {PULSE_RATE}/s, {PAIRS} turns each")
        yield Row(f"the pod's processor time for one request of the pulse ({words})",
                  10 * (busy - quiet) / PULSE_RATE, 1.0, "ms", f"{quiet:.1f} % of a core without, {busy:.1f} % with it")
    cluster.testbed("delete", "deploy/cost", "svc/cost")


def _turn(cluster: BenchCluster, folder: Path, served: list[int], *, pulsed: bool) -> tuple[bool, int, int, float]:
    """(with the pulse, from, until in ns, the pod's share of a core in per cent)."""
    with _pulsing(cluster, folder / f"pulse-{time.monotonic_ns()}", pulsed):
        time.sleep(0.5)
        begin_ns = time.monotonic_ns()
        share = sum(cpu_shares(served, STRETCH_S).values())
        return pulsed, begin_ns, time.monotonic_ns(), share


@contextmanager
def _pulsing(cluster: BenchCluster, file: Path, pulsed: bool) -> Iterator[None]:
    if not pulsed:
        yield
        return
    with Pulse(cluster, "cost", file, PULSE_RATE):
        yield
