"""How dashboards look: nothing overlaps, lines are full, one state has one colour, empty panels say why, links lead
somewhere."""

from __future__ import annotations

import json
import re
from itertools import combinations, groupby
from urllib.parse import urlsplit

from support.boards import FILES, Json, annotations, every_board, panels, variables

COLUMNS = 24
# Labels whose values are states: a graph of one series for each of them shows each in its colour.
STATE_LABELS = {"state", "phase", "outcome", "verdict", "result"}
BOARDS = [json.loads(file.read_text()) for file in FILES]


def box(panel: Json) -> tuple[int, int, int, int]:
    """Left, top, right, bottom."""
    place = panel["gridPos"]
    return place["x"], place["y"], place["x"] + place["w"], place["y"] + place["h"]


@every_board
def test_nothing_overlaps_and_nothing_juts_out(board: Json) -> None:
    boxes = {panel["title"]: box(panel) for panel in board["panels"]}
    assert len(boxes) == len(board["panels"]), "two panels have the same title"
    for title, (left, _, right, _) in boxes.items():
        assert 0 <= left < right <= COLUMNS, title
    for (one, (l1, t1, r1, b1)), (two, (l2, t2, r2, b2)) in combinations(boxes.items(), 2):
        assert l1 >= r2 or l2 >= r1 or t1 >= b2 or t2 >= b1, f"{one} and {two} overlap"


@every_board
def test_lines_are_full_and_even_and_follow_each_other(board: Json) -> None:
    bottom = 0
    for top, line in groupby(board["panels"], key=lambda panel: panel["gridPos"]["y"]):
        boxes = [box(panel) for panel in line]
        assert top == bottom, f"a gap above {top}"
        assert sum(right - left for left, _, right, _ in boxes) == COLUMNS, f"line at {top}"
        assert len({low for _, _, _, low in boxes}) == 1, f"line at {top}"
        bottom = boxes[0][3]


@every_board
def test_panels_and_queries_can_be_named(board: Json) -> None:
    assert [panel["id"] for panel in board["panels"]] == list(range(1, len(board["panels"]) + 1))
    for panel in panels(board):
        references = [target["refId"] for target in panel["targets"]]
        assert all(references) and len(references) == len(set(references)), panel["title"]


@every_board
def test_a_dashboard_has_a_stable_identity_and_shows_the_last_quarter_of_an_hour(board: Json) -> None:
    assert 0 < len(board["uid"]) <= 40 and board["title"].startswith("Testbed / ") and board["description"]
    assert board["tags"] == ["testbed"] and board["schemaVersion"] >= 39
    assert board["time"] == {"from": "now-15m", "to": "now"} and board["refresh"] == "5s"
    assert board["graphTooltip"] == 1, "one cross-hair for all"


@every_board
def test_variables_begin_with_everything(board: Json) -> None:
    for variable in variables(board):
        assert variable["current"]["value"] == ["$__all"], variable["name"]


@every_board
def test_an_empty_panel_says_what_is_missing(board: Json) -> None:
    for panel in panels(board):
        assert panel["fieldConfig"]["defaults"].get("noValue"), panel["title"]


@every_board
def test_gaps_stay_gaps_and_no_second_is_passed_over(board: Json) -> None:
    for panel in panels(board):
        if panel["type"] in ("timeseries", "state-timeline", "heatmap"):
            assert panel["interval"] == "1s", panel["title"]
        if panel["type"] == "timeseries":
            assert panel["fieldConfig"]["defaults"]["custom"]["spanNulls"] is False, panel["title"]


@every_board
def test_fault_windows_are_drawn_on_every_graph(board: Json) -> None:
    faults, kills = [item for item in annotations(board) if "testbed_fault_active" in item["expr"]]
    assert (faults["name"], kills["name"]) == ("Faults", "Kills")
    for item in (faults, kills):
        assert item["enable"] and item["step"] == "1s" and not item.get("filter")


def test_faults_are_also_a_state_timeline_of_the_experiment() -> None:
    (board,) = [board for board in BOARDS if board["uid"] == "testbed-experiment"]
    assert [panel["title"] for panel in panels(board) if panel["type"] == "state-timeline"
            and "testbed_fault_active" in panel["targets"][0]["expr"]] == ["Fault windows"]


# --- colours


def coloured(panel: Json) -> list[tuple[str, str]]:
    """(word, colour) of everything in a panel that has a fixed one."""
    words = [(result["text"], result["color"]) for mapping in panel["fieldConfig"]["defaults"].get("mappings") or ()
             for result in mapping["options"].values()]
    for override in panel["fieldConfig"]["overrides"]:
        for change in override["properties"]:
            if change["id"] == "color":
                word = re.fullmatch(r"/\(\^\| \)(.+)\$/", override["matcher"]["options"])
                assert word, override
                words.append((word[1], change["value"]["fixedColor"]))
    return words


def test_one_state_has_one_colour_on_every_dashboard() -> None:
    colours: dict[str, set[str]] = {}
    for board in BOARDS:
        for panel in panels(board):
            for word, colour in coloured(panel):
                colours.setdefault(word, set()).add(colour)
    assert colours["ok"] == colours["ready"] == colours["all ready"] == {"green"}
    assert {word: found for word, found in colours.items() if len(found) != 1} == {}


@every_board
def test_series_that_are_states_have_their_colours(board: Json) -> None:
    for panel in panels(board):
        for target in panel["targets"]:
            label = re.fullmatch(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))
            if panel["type"] == "timeseries" and label and label[1] in STATE_LABELS:
                assert coloured(panel), panel["title"]


# --- links


@every_board
def test_links_lead_to_dashboards_that_are_there_and_keep_the_choice(board: Json) -> None:
    (sisters,) = [link for link in board["links"] if link["type"] == "dashboards"]
    assert sisters["tags"] == ["testbed"] and sisters["includeVars"] and sisters["keepTime"]
    there = {one["uid"]: {variable["name"] for variable in one["templating"]["list"]} for one in BOARDS}
    for panel in panels(board):
        for link in panel["fieldConfig"]["defaults"].get("links") or ():
            address = urlsplit(link["url"])
            uid = address.path.removeprefix("/d/")
            carried = set(re.findall(r"\$\{(\w+):queryparam\}", address.query))
            assert {"datasource", "job", "instance"} <= carried <= there[uid], link
            assert "${__url_time_range}" in address.query, link
