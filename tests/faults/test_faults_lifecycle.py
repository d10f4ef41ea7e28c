"""The lifecycle and the ledger: whatever happens in whatever order, nothing stays in effect after its time."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.ledger import Entry, Ledger, Phase
from faults.lifecycle import MAX_ATTEMPTS, Act, Fault, Step, next_step
from faults.protocol import Target
from faults.status import status
from testbed.errors import EnvironmentProblem

S = 1_000_000_000


def entry(phase: Phase = Phase.CHOSEN, deadline_ns: int = 100 * S, **more: object) -> Entry:
    base = Entry("u-0000", "u", "FreezeChaos", "default", "f", "FreezeChaos/", Target("default", "web", "p", "app"))
    return replace(base, phase=phase, deadline_ns=deadline_ns, **more)  # type: ignore[arg-type]


ALIVE = Fault(present=True, finalized=True)


@pytest.mark.parametrize(("fault", "entries", "now_ns", "act"), [
    (Fault(present=True), [], 0, Act.FINALIZE),
    (Fault(present=True, refused=True), [], 0, Act.WAIT),
    (ALIVE, [], 0, Act.SELECT),
    (ALIVE, [entry()], 0, Act.INJECT),
    (ALIVE, [entry(Phase.PREPARED)], 0, Act.INJECT),
    (ALIVE, [entry(Phase.INJECTED)], 0, Act.WAIT),
    (ALIVE, [entry(Phase.INJECTED)], 100 * S, Act.RECOVER),
    (ALIVE, [entry(Phase.UNDONE)], 100 * S, Act.WAIT),
    (ALIVE, [entry(Phase.UNDONE)], 50 * S, Act.INJECT),
    (ALIVE, [entry(Phase.UNDONE, spent=True)], 50 * S, Act.WAIT),
    (ALIVE, [entry(Phase.INJECTED, 0)], 10**6 * S, Act.WAIT),
    (replace(ALIVE, paused=True), [entry(Phase.INJECTED)], 0, Act.RECOVER),
    (replace(ALIVE, paused=True), [entry()], 0, Act.WAIT),
    (replace(ALIVE, deleting=True), [entry(Phase.INJECTED)], 0, Act.RECOVER),
    (replace(ALIVE, deleting=True), [entry(Phase.UNDONE)], 0, Act.RELEASE),
    (replace(ALIVE, deleting=True), [entry(Phase.INJECTED, 0)], 0, Act.RELEASE),
    (Fault(present=False), [entry(Phase.INJECTED)], 0, Act.RECOVER),
    (Fault(present=False), [entry(Phase.UNDONE)], 0, Act.FORGET),
    (Fault(present=None), [entry(Phase.INJECTED)], 0, Act.WAIT),
    (Fault(present=None), [entry(Phase.CHOSEN)], 0, Act.WAIT),
    (Fault(present=None), [entry(Phase.INJECTED)], 100 * S, Act.RECOVER),
])
def test_next_step(fault: Fault, entries: list[Entry], now_ns: int, act: Act) -> None:
    assert next_step(fault, entries, now_ns).act is act


def test_waiting_ends_at_the_deadline_or_the_next_attempt() -> None:
    assert next_step(ALIVE, [entry(Phase.INJECTED)], 0).until_ns == 100 * S
    assert next_step(ALIVE, [entry(retry_ns=5 * S)], 0) == Step(Act.WAIT, until_ns=5 * S)
    assert next_step(replace(ALIVE, deleting=True), [entry(Phase.UNDOING, retry_ns=5 * S)], 0).until_ns == 5 * S


@given(st.lists(st.sampled_from(["pass", "pause", "resume", "api-down", "api-up", "delete", "fail", "crash"]),
                max_size=40), st.integers(0, 1000))
def test_nothing_is_in_effect_after_the_deadline_whatever_happens(happenings: list[str], seed: int) -> None:
    """A model of the daemon: carries steps out, sometimes failing, sometimes dying between the plan and the act."""
    chance = random.Random(seed)
    fault, entries, damaged, now_ns = ALIVE, [entry(deadline_ns=20 * S)], False, 0
    for happening in [*happenings, *["pass"] * 60]:
        if happening in ("pause", "resume"):
            fault = replace(fault, paused=happening == "pause")
        elif happening in ("api-down", "api-up"):
            fault = replace(fault, present=None if happening == "api-down" else True)
        elif happening == "delete":
            fault = replace(fault, deleting=True)
        step = next_step(fault, entries, now_ns)
        if step.act is Act.INJECT:
            assert now_ns < 20 * S and not fault.paused and not fault.deleting and fault.present
            damaged = True
            if happening == "crash":  # died after the act, before it was written: the plan is on disk
                entries = [replace(entries[0], phase=Phase.PREPARED)]
            elif happening == "fail":
                attempts = entries[0].attempts + 1
                damaged, spent = False, attempts >= MAX_ATTEMPTS
                entries = [replace(entries[0], phase=Phase.UNDONE if spent else Phase.CHOSEN, attempts=attempts,
                                   spent=spent, retry_ns=now_ns + S)]
            else:
                entries = [replace(entries[0], phase=Phase.INJECTED)]
        elif step.act is Act.RECOVER:
            if happening != "fail" or chance.random() < 0.5:
                damaged, entries = False, [replace(entries[0], phase=Phase.UNDONE)]
            else:
                entries = [replace(entries[0], phase=Phase.UNDOING, retry_ns=now_ns + S)]
        elif step.act is Act.RELEASE:
            assert not damaged
            break
        now_ns += S
    assert not damaged


# --- status


def test_status_has_chaos_meshs_form() -> None:
    injected = entry(Phase.INJECTED, injected_count=1, events=({"type": "Succeeded", "operation": "Apply"},))
    value = status([injected], desired="Run", paused=False, problem=None, time_over=False)
    assert {item["type"]: item["status"] for item in value["conditions"]} == {
        "Selected": "True", "AllInjected": "True", "AllRecovered": "False", "Paused": "False"}
    (record,) = value["experiment"]["containerRecords"]
    assert (record["id"], record["phase"]) == ("default/web/app", "Injected")
    over = status([replace(injected, phase=Phase.UNDONE, recovered_count=1)], desired="Stop", paused=False,
                  problem=None, time_over=True)
    assert {item["type"]: item["status"] for item in over["conditions"]}["AllRecovered"] == "True"


def test_a_record_says_whether_it_is_done_once_and_over_then() -> None:
    def told(deadline_ns: int) -> bool | None:
        value = status([entry(Phase.INJECTED, deadline_ns)], desired="Run", paused=False, problem=None, time_over=False)
        found: bool | None = value["experiment"]["containerRecords"][0].get("oneShot")
        return found

    assert (told(0), told(100 * S)) == (True, None)


# --- ledger


def test_what_was_written_is_read_after_a_crash(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "l")
    written = entry(Phase.PREPARED, plan={"cgroup": "/x"}, holder=(12, 34)).noted({"type": "Started"})
    first.write(written, replace(written, id="u-0001", phase=Phase.UNDONE), replace(written, id="v-0", uid="v"))
    second = Ledger(tmp_path / "l")  # the first was never closed: its process was killed
    assert second.of("u")[0] == written
    assert [found.id for found in second.active()] == ["u-0000", "v-0"]
    assert second.uids() == ("u", "v")
    second.forget("u")
    assert second.of("u") == ()
    assert second.get("v-0") is not None
    assert second.get("nothing") is None


def test_rows_of_an_earlier_boot_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Ledger(tmp_path / "l").write(entry(Phase.INJECTED))
    monkeypatch.setattr("faults.ledger.boot_id", lambda: "another boot")
    assert Ledger(tmp_path / "l").active() == ()


def test_a_broken_ledger_is_an_environment_problem(tmp_path: Path) -> None:
    (tmp_path / "l").write_text("not a database, but long enough to be looked at as one" * 50)
    with pytest.raises(EnvironmentProblem, match="cannot be used"):
        Ledger(tmp_path / "l")


def test_only_the_last_events_are_kept() -> None:
    full = entry()
    for number in range(50):
        full = full.noted({"number": number})
    assert [event["number"] for event in full.events] == list(range(30, 50))
