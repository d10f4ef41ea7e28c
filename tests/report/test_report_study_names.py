"""What variants are called in tables and charts: short, whole, and never two alike."""

from __future__ import annotations

from typing import Any

import pytest
from support.report_sample import STARTED, sample_result

from testbed.experiment.result import Study, VariantResult, Verdict
from testbed.report.study import html, terminal
from testbed.report.study.names import caption, in_lines, named

READY, LIVE = "readinessProbe.periodSeconds", "livenessProbe.periodSeconds"


def study(*settings: dict[str, Any], platforms: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> Study:
    """A variant for each of these settings, named as a matrix names them."""
    result = sample_result(3)
    return Study(
        run_id="r", name="probes", started_at=STARTED, ended_at=STARTED, verdict=Verdict.PASSED, exit_code=0,
        variants=tuple(VariantResult(
            name=names[index] if names else ", ".join(f"{key}={value}" for key, value in one.items()),
            platform=platforms[index] if platforms else "simulation", settings=one, result=result, folder=str(index))
            for index, one in enumerate(settings)))


def short(made: Study) -> list[str]:
    return [name for name, _ in named(made)]


SWEEP = [{READY: ready, LIVE: live} for ready in (1, 5) for live in (1, 5)]


def test_what_all_keys_have_in_common_is_left_out_and_told_once() -> None:
    made = study(*SWEEP)
    assert short(made) == ["readinessProbe=1, livenessProbe=1", "readinessProbe=1, livenessProbe=5",
                           "readinessProbe=5, livenessProbe=1", "readinessProbe=5, livenessProbe=5"]
    assert caption(made) == f"variants of {READY}, {LIVE}"


def test_one_key_is_called_by_its_last_word() -> None:
    assert short(study({LIVE: 1}, {LIVE: 5})) == ["periodSeconds=1", "periodSeconds=5"]
    assert short(study({"env.DRAIN_S.value": 1}, {"env.DRAIN_S.value": 5})) == ["DRAIN_S=1", "DRAIN_S=5"]


def test_what_all_variants_share_is_in_the_caption_alone() -> None:
    made = study({LIVE: 1, "replicas": 3}, {LIVE: 5, "replicas": 3})
    assert short(made) == ["periodSeconds=1", "periodSeconds=5"]
    assert "all with replicas=3" in caption(made)


def test_platforms_are_named_where_they_differ() -> None:
    made = study({LIVE: 1}, {LIVE: 1}, {LIVE: 5}, {LIVE: 5}, platforms=("testbed", "swarm") * 2)
    assert short(made)[:2] == ["testbed, periodSeconds=1", "swarm, periodSeconds=1"]


@pytest.mark.parametrize("made", [
    study({}, {}, names=("crash", "crash")),
    study({LIVE: 1}, {LIVE: "1"}),
    study({"deployment/a:replicas": 1}, {"deployment/b:replicas": 1}),
    study(*({"a.x.periodSeconds": one, "b.x.periodSeconds": other} for one in (1, 2) for other in (1, 2))),
], ids=["equal names", "equal words", "other objects", "common words inside"])
def test_no_two_are_called_alike(made: Study) -> None:
    assert len(set(short(made))) == len(made.variants)


def test_lines_hold_the_whole_name() -> None:
    name = "readinessProbe=1, image=" + "x" * 70
    lines = in_lines(name, 22).splitlines()
    assert "".join(lines) == name.replace(", ", ",") and all(len(line) <= 22 for line in lines)


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_a_terminal_cuts_no_name_and_breaks_no_word_of_one(width: int) -> None:
    text = terminal.render(study(*SWEEP), width=width)
    assert "…" not in text
    for word in ("readinessProbe=1,", "readinessProbe=5,", "livenessProbe=1", "livenessProbe=5"):
        assert text.count(word) >= 2
    assert all(len(line.rstrip()) <= width for line in text.splitlines())


@pytest.mark.parametrize("room", range(10, 60, 5))
def test_columns_fill_the_room_and_break_no_word(room: int) -> None:
    cells = [["variant", "restored"], ["a=1", "1.16 s (1.06 s – 1.72 s)"]]
    found = terminal.widths(cells, room)
    if room < len("variant") + len("restored"):
        assert found is None
    else:
        assert found is not None and sum(found) <= room and found[0] == 7 and 8 <= found[1] <= 24
        assert sum(found) == room or found[1] == 24


def test_charts_have_a_row_for_each_variant_under_its_whole_name() -> None:
    charts = html.chart_data(study(*SWEEP), "crash")
    assert [chart["title"] for chart in charts] == ["isolated after", "restored after", "outage for users"]
    for chart in charts:
        labels = [item["label"] for item in chart["statistics"]]
        assert labels == ["readinessProbe=1,\nlivenessProbe=1", "readinessProbe=1,\nlivenessProbe=5",
                          "readinessProbe=5,\nlivenessProbe=1", "readinessProbe=5,\nlivenessProbe=5"]
        assert {item["label"] for item in chart["values"]} == set(labels)
