"""What tests of faults are given: a chaos daemon on a bench of fakes, and a ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fault_bench import Bench

from faults.ledger import Ledger


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    await bench.begin()
    bench.start_daemon()
    yield bench
    await bench.kill_daemon()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()
