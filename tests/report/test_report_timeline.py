"""How timelines are told: parts, uncertainties, witnesses, and an injection of which nothing came."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.report_sample import sample_result

from testbed.experiment.result import Disruption, Gap, Marks, Result
from testbed.experiment.result.timeline import Part, Sighting
from testbed.report import html, markdown, terminal
from testbed.report.timeline_words import at_mark, length, parts_line, parts_of, why_not_faster, witnesses_line

HANG = Disruption(
    name="hang", kind="fault", what="FreezeChaos", targets=("default/web-1",), window_s=(10.0, 17.0),
    marks=Marks(injected=10.0, detected=11.2, acted=13.6, running=14.0),
    mark_uncertainties={"injected": 0.001, "detected": 0.001, "acted": 0.001, "running": 0.2},
    gaps=(
        Gap(path="repair", start_mark="injected", end_mark="detected", start_s=10.0, end_s=11.2, cause="next probe",
            parts=(Part(kind="probe", seconds=1.2, uncertainty_s=0.002, words="periodSeconds 1"),),
            uncertainty_s=0.002),
        Gap(path="repair", start_mark="detected", end_mark="acted", start_s=11.2, end_s=13.6, cause="liveness probe",
            parts=(Part(kind="probe", seconds=2.0, uncertainty_s=0.002, words="periodSeconds 1 × failureThreshold 3"),
                   Part(kind="unexplained", seconds=0.4, uncertainty_s=0.002, words="longer than it explains")),
            uncertainty_s=0.002),
        Gap(path="repair", start_mark="acted", end_mark="running", start_s=13.6, end_s=14.0, cause="image start",
            parts=(Part(kind="container-start", seconds=0.4, uncertainty_s=0.201, words="made"),), uncertainty_s=0.201),
    ),
    sightings=(Sighting(mark="running", witness="api", at_s=14.0, uncertainty_s=0.2),
               Sighting(mark="running", witness="engine", at_s=13.8, uncertainty_s=0.05, what="start web"),
               Sighting(mark="detected", witness="api", at_s=11.2, uncertainty_s=0.001)),
)


def with_disruption(item: Disruption) -> Result:
    result = sample_result()
    run = result.runs[0].model_copy(update={"disruptions": (item,)})
    return result.model_copy(update={"runs": (run,), "statistics": ()})


def rendered(result: Result, form: str) -> str:
    if form == "terminal":
        return terminal.render(result, width=200)
    return markdown.render(result) if form == "markdown" else html.render(result)


def test_the_reason_why_it_was_not_faster_is_the_largest_cause_with_its_arithmetic() -> None:
    said = why_not_faster(HANG, "repair")
    assert said.startswith("why not faster: probe 3.2 s of 4.0 s ± 0.2 s (periodSeconds 1 × failureThreshold 3)")
    assert said.endswith("unexplained 0.4 s, container start 0.4 s ± 0.2 s")


def test_a_gap_of_one_part_is_told_once_and_what_is_unexplained_always() -> None:
    assert parts_line(HANG, HANG.gaps[0]) == ""
    assert parts_line(HANG, HANG.gaps[1]) == "probe 2.00 s · unexplained 0.40 s (longer than it explains)"


def told(start: float, end: float, *parts: Part, uncertainty_s: float = 0.002) -> Disruption:
    """One gap between two marks that are known to a millisecond."""
    gap = Gap(path="repair", start_mark="running", end_mark="ready", start_s=start, end_s=end, parts=parts,
              uncertainty_s=uncertainty_s)
    return HANG.model_copy(update={"gaps": (gap,), "mark_uncertainties": dict.fromkeys(("injected", "ready"), 0.001),
                                   "marks": Marks(injected=start, ready=end)})


def test_parts_are_shown_so_that_they_add_up_to_their_gap() -> None:
    """A border that is known to a second does not hide a fifth of it: its uncertainty stands beside."""
    item = told(10.0, 11.0, Part(kind="container-start", seconds=0.2234, uncertainty_s=0.002),
                Part(kind="readiness", seconds=0.7766, uncertainty_s=1.0))
    assert length(item, item.gaps[0]) == "1.00 s"
    assert parts_line(item, item.gaps[0]) == "waiting for readiness 0.78 s ± 1 s · container start 0.22 s"


def test_what_is_shorter_than_the_last_figure_is_told_only_where_nothing_explains_it() -> None:
    item = told(10.0, 11.0, Part(kind="control", seconds=0.002), Part(kind="unexplained", seconds=0.002, words="?"),
                Part(kind="readiness", seconds=0.996))
    assert parts_line(item, item.gaps[0]) == "waiting for readiness 1.00 s · unexplained 2.0 ms (?)"


def test_a_gap_is_what_lies_between_its_marks_as_they_are_shown() -> None:
    exact = {"injected": 0.001, "detected": 0.001, "isolated": 0.001}
    gaps = tuple(Gap(path="isolation", start_mark=start, end_mark=end, start_s=begin, end_s=until, uncertainty_s=0.002)
                 for start, end, begin, until in (("injected", "detected", 10.0, 10.0006),
                                                  ("detected", "isolated", 10.0006, 10.0034)))
    item = HANG.model_copy(update={"gaps": gaps, "mark_uncertainties": exact})
    assert [at_mark(item, gap) for gap in gaps] == ["1 ms ± 2 ms", "3 ms ± 2 ms"]
    assert [length(item, gap) for gap in gaps] == ["1 ms ± 2 ms", "2 ms ± 2 ms"]


@given(st.lists(st.floats(0.0001, 3.0), min_size=1, max_size=6), st.sampled_from([0.0, 0.001, 0.02, 0.3]))
def test_parts_as_shown_make_the_gap_as_shown(seconds: list[float], uncertainty_s: float) -> None:
    kinds = ("probe", "noticing", "control", "back-off", "scheduling", "image")
    parts = [Part.model_validate({"kind": kind, "seconds": value}) for kind, value in zip(kinds, seconds, strict=False)]
    item = told(10.0, 10.0 + sum(seconds), *parts, uncertainty_s=uncertainty_s)

    def figure(text: str) -> Decimal:
        number, unit = text.split()[:2]
        return Decimal(number) * (1000 if unit == "s" else 1)

    gap = item.gaps[0]
    assert sum(figure(said) for _, said in parts_of(item, gap)) == figure(length(item, gap))


def test_only_marks_of_several_witnesses_name_them() -> None:
    assert witnesses_line(HANG) == "running: API 4.0 s ± 0.2 s, engine 3.80 s ± 0.05 s (start web)"


@pytest.mark.parametrize("form", ["terminal", "markdown", "html"])
def test_every_report_tells_parts_and_uncertainties(form: str) -> None:
    text = rendered(with_disruption(HANG), form)
    for words in ("why not faster", "unexplained 0.40 s", "± 0.2 s", "engine 3.80 s"):
        assert words in text, words


@pytest.mark.parametrize("form", ["terminal", "markdown", "html"])
def test_where_nothing_came_of_it_no_recovery_is_told(form: str) -> None:
    nothing = HANG.model_copy(update={"disrupted": False, "sightings": ()})
    text = rendered(with_disruption(nothing), form)
    assert "no disruption came of it" in text and "why not faster" not in text


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_a_result_of_before_has_no_parts_and_is_told_all_the_same(form: str) -> None:
    bare = HANG.model_copy(update={
        "gaps": tuple(gap.model_copy(update={"parts": (), "uncertainty_s": 0.0}) for gap in HANG.gaps),
        "mark_uncertainties": {}, "sightings": ()})
    text = rendered(with_disruption(Disruption.from_json(bare.to_json())), form)
    assert "liveness probe" in text and "why not faster" not in text
