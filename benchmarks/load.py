"""The load generators: what sending on schedule costs at scale, and the pulse as a Locust user beside the pulse.

Against a server on this machine (`truth_server.py`), so nothing but the generators is measured. No cluster is needed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.rows import Row, quantile
from benchmarks.truth import Known, Server
from testbed.experiment.clients import Clients
from testbed.load.locust import LocustProcess, Users
from testbed.load.locust_samples import LocustData
from testbed.load.records import PulseData, Record, read

SECONDS = 15
RATES = ((500, 20.0), (2000, 80.0))  # requests per second, and how much of a core they may cost, in percent
TARGETS = 4
RATE = 200  # of the comparison
FREEZES = 3
FREEZE_S = 1.0
CALM_S = 4.0
LOCUSTFILE = f"""
from testbed.load.locust_user import PulseUser

class Steady(PulseUser):
    rate = {RATE}
"""


def measure_alone() -> Iterator[Row]:
    """Rows as they are measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server()
        try:
            yield from _at_scale(server, folder)
            yield from _targets(server, folder)
            for processes in (None, 2):
                own = folder / f"user-{processes}"
                own.mkdir()
                (own / "locustfile.py").write_text(LOCUSTFILE)
                yield from asyncio.run(_as_user(server, own, processes))
        finally:
            server.end()


def _argv(server: Server, file: Path, rate: int) -> list[str]:
    return [sys.executable, "-m", "testbed.load.pulse", "--url", f"http://127.0.0.1:{server.port}/",
            "--rate", str(rate), "--out", str(file)]


def _used(data: PulseData) -> float:
    """Percent of one core."""
    first, last = data.ticks[0], data.ticks[-1]
    return 100 * float(last["cpu_s"] - first["cpu_s"]) / (float(last["at_ns"] - first["at_ns"]) / 1e9)


def _late_ms(data: PulseData) -> list[float]:
    return [record.lateness_s * 1000 for record in data.records if record.sent_ns]


# --- the pulse


def _at_scale(server: Server, folder: Path) -> Iterator[Row]:
    for rate, limit in RATES:
        file = folder / f"pulse-{rate}"
        subprocess.run([*_argv(server, file, rate), "--for", str(SECONDS)], check=True)
        data = read(file)
        late, failed = _late_ms(data), sum(not record.ok for record in data.records)
        yield Row(f"pulse at {rate}/s: lateness of sending, p99", quantile(late, 0.99), 10, "ms",
                  f"p50 {quantile(late, 0.5):.2f}, longest {max(late):.1f}, n {len(late)}, failed {failed}")
        yield Row(f"pulse at {rate}/s: processor time of one core", _used(data), limit, "%")


def _targets(server: Server, folder: Path) -> Iterator[Row]:
    """As many targets as one process would have streams, at the same rate in all; one process each is what is done."""
    each = RATES[0][0] // TARGETS
    files = [folder / f"target-{index}" for index in range(TARGETS)]
    processes = [subprocess.Popen([*_argv(server, file, each), "--for", str(SECONDS)]) for file in files]
    for process in processes:
        process.wait()
    data = [read(file) for file in files]
    late = [value for one in data for value in _late_ms(one)]
    yield Row(f"{TARGETS} targets at {each}/s, a process each: lateness, p99", quantile(late, 0.99), 10, "ms",
              f"p50 {quantile(late, 0.5):.2f}, longest {max(late):.1f}")
    yield Row(f"{TARGETS} targets at {each}/s: processor time, all together", sum(map(_used, data)), 2 * RATES[0][1],
              "%", f"one process at {RATES[0][0]}/s: the row further up")


# --- the pulse as a Locust user


async def _as_user(server: Server, folder: Path, processes: int | None) -> list[Row]:
    """Both ask at the same rate while the server is frozen a few times."""
    file = folder / "pulse"
    users = Users(processes or 1, 10, processes)
    locust = LocustProcess(folder / "locustfile.py", f"http://127.0.0.1:{server.port}", users,
                           samples=folder / "samples.tsv", html=folder / "report.html")
    await locust.start()
    pulse = await asyncio.create_subprocess_exec(*_argv(server, file, RATE))
    await asyncio.sleep(CALM_S)
    begin_ns = time.monotonic_ns()
    known = []
    for _ in range(FREEZES):
        known.append(await server.go_out("frozen", FREEZE_S))
        await asyncio.sleep(CALM_S)
    data = await locust.stop()
    pulse.terminate()
    await pulse.wait()
    name = f"PulseUser at {RATE}/s, {'one process' if processes is None else f'{processes} workers'}"
    return _compared(name, data, read(file), known, begin_ns)


def _compared(name: str, locust: LocustData, pulse: PulseData, known: Sequence[Known], begin_ns: int) -> list[Row]:
    users = [sample.record() for sample in locust.samples if sample.due_ns]
    shares = {process: _share(ticks) for process, ticks in locust.ticks.items()}
    told = ", ".join(f"{process.removeprefix('locust ')} {share:.0f} %" for process, share in shares.items())
    told += f"; the pulse {_used(pulse):.0f} %"
    late = [[record.latency_s * 1000 for record in records if record.ok and record.due_ns < begin_ns]
            for records in (users, pulse.stream())]
    errors = [_errors_ms(records, known, begin_ns) for records in (users, pulse.stream())]
    numbers = sorted(record.index for record in users)
    gone = numbers[-1] - numbers[0] + 1 - len(numbers)
    return [
        Row(f"{name}: latency from due time, p99, calm", quantile(late[0], 0.99), 50, "ms",
            f"p50 {quantile(late[0], 0.5):.2f}; the pulse beside it p99 {quantile(late[1], 0.99):.2f}, "
            f"p50 {quantile(late[1], 0.5):.2f}; {len(users)} sent, {gone} numbers missing"),
        Row(f"{name}: {FREEZE_S:g} s freeze, largest error", max(map(abs, errors[0])), 50, "ms",
            f"{_said(errors[0])}; the pulse: {_said(errors[1])}"),
        Row(f"{name}: processor time of the busiest process", max(shares.values()), 80, "%", told),
    ]


def _said(errors: Sequence[float]) -> str:
    return " ".join(f"{error:+.1f}" for error in errors)


def _share(ticks: Sequence[dict[str, float]]) -> float:
    return 100 * (ticks[-1]["cpu_s"] - ticks[0]["cpu_s"]) / ((ticks[-1]["at_ns"] - ticks[0]["at_ns"]) / 1e9)


def _errors_ms(records: Sequence[Record], known: Sequence[Known], begin_ns: int) -> list[float]:
    """Reported less true length of each freeze. Raises: SystemExit when one was not seen."""
    clients = Clients(records, start_ns=0, rate=RATE, deadline_s=1.0, healthy_until_s=begin_ns / 1e9)
    errors = []
    for freeze in known:
        seen = [window for window in clients.outages() if window.start_s < freeze.end_ns / 1e9
                and window.end_s > freeze.begin_ns / 1e9]
        if not seen:
            raise SystemExit("a freeze of the server was not seen")
        errors.append((sum(window.seconds for window in seen) - freeze.length_s) * 1000)
    return errors
