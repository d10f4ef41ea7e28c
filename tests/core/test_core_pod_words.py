"""What a pod says at its end: termination messages, image names that cannot be read, verdicts on the whole pod."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.api.core_v1 import Pod
from testbed.core.image_names import mistake
from testbed.core.pod_seen import ContainerSeen, Life, PodSeen, SandboxSeen
from testbed.core.pod_status import StatusInput, pod_status
from testbed.core.pods import Waiting
from testbed.core.termination import StopCause, grace_s
from testbed.core.termination_messages import of_file, of_log, share_bytes, shortened, wants_log

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(("policy", "left", "code", "wanted"), [
    ("File", b"", 1, False), ("FallbackToLogsOnError", b"", 1, True), ("FallbackToLogsOnError", b"", 0, False),
    ("FallbackToLogsOnError", b"OK", 1, False),
])
def test_rt_04_the_log_counts_only_on_error_and_without_a_file(
    policy: str, left: bytes, code: int, wanted: bool
) -> None:
    assert wants_log(policy, left, code) is wanted


@given(st.binary(max_size=20_000))
def test_messages_are_the_end_of_what_was_written(data: bytes) -> None:
    assert of_file(data) == data[-4096:].decode("utf-8", "replace")
    assert of_log(data) == data[-2048:].decode("utf-8", "replace")


@given(st.text(max_size=5000), st.integers(1, 30))
def test_all_messages_of_a_pod_are_at_most_12_kib(text: str, containers: int) -> None:
    short = shortened(text, share_bytes(containers))
    assert text.startswith(short)
    assert len(short.encode()) * containers <= 12 * 1024


@pytest.mark.parametrize(("name", "wrong"), [
    ("sample:v1", ""), ("sample", ""), ("localhost:5000/a/b_c:V1.x", ""), ("Registry.example.com/a/b", ""),
    ("example.org/library/busybox@sha256:" + "a" * 64, ""), ("testbed-base:bookworm", ""),
    ("FOO", "invalid reference format: repository name (library/FOO) must be lowercase"),
    ("example.com/Foo:1", "invalid reference format: repository name (Foo) must be lowercase"),
    ("a b", "invalid reference format"), ("a:b:c", "invalid reference format"), ("a:", "invalid reference format"),
    ("a@sha256:12", "invalid reference format"), ("/a", "invalid reference format"),
    (":v1", "invalid reference format"),
    ("a" * 300, "repository name must not be more than 255 characters"),
])
def test_rt_05_image_names_are_read_as_upstream_reads_them(name: str, wrong: str) -> None:
    assert mistake(name) == wrong


def status(life: Life, before: dict[str, object], *, message: str = "", pending: bool = False) -> dict[str, object]:
    pod = Pod.of({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "app"}, {"name": "two"}]}})
    items = {name: ContainerSeen(
        name, name, 0, life, sandbox="s0", exit_code=137 if life is Life.EXITED else None, started_at=NOW,
        finished_at=NOW, message=message, message_pending=pending,
    ) for name in ("app", "two")}
    given = StatusInput(
        pod, PodSeen(SandboxSeen("s0", 0, True, "10.0.0.2"), items), NOW, NOW, "10.0.0.1",
        failed=Waiting("Evicted", "why"), disruption=Waiting("TerminationByKubelet", "why"),
    )
    return pod_status(given, before)


def test_a_condemned_pod_is_failed_only_when_nothing_runs_any_more() -> None:
    running = status(Life.RUNNING, {"phase": "Running"})
    assert (running["phase"], running.get("reason")) == ("Running", None)
    ended = status(Life.EXITED, {"phase": "Running"})
    assert (ended["phase"], ended["reason"], ended["message"]) == ("Failed", "Evicted", "why")
    kinds = {item["type"]: item["reason"] for item in ended["conditions"]}  # type: ignore[attr-defined]
    assert kinds["DisruptionTarget"] == "TerminationByKubelet"


def test_an_end_is_not_told_before_its_message_was_read() -> None:
    waiting = status(Life.EXITED, {"phase": "Running"}, pending=True)
    assert waiting["phase"] == "Running"
    ended = status(Life.EXITED, {"phase": "Running"}, message="x" * 10_000)
    states = [item["state"]["terminated"]["message"] for item in ended["containerStatuses"]]  # type: ignore[attr-defined]
    assert [len(text) for text in states] == [6144, 6144]


def test_an_evicted_pod_has_one_second() -> None:
    spec = Pod.of({"metadata": {"name": "p"}, "spec": {"terminationGracePeriodSeconds": 60}}).spec
    assert grace_s(spec, None, StopCause.EVICTED, None) == 1.0
