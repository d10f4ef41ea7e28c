"""What is compared: values of a matrix, a second experiment, platforms; and whose turn it is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_world import WEB, write_experiment

from testbed.errors import InvalidInput, UsageError
from testbed.experiment.documents import read_text
from testbed.experiment.loading import LoadedExperiment, load_experiment
from testbed.experiment.matrix import Setting, combinations, name_of, with_settings
from testbed.experiment.turns import Repetitions, order
from testbed.experiment.variants import variants_of

Json = dict[str, Any]
MANIFESTS = tuple(document.value for document in read_text(WEB))
NOWHERE = read_text("spec: {}")[0]


def deployment(manifests: tuple[Json, ...]) -> Json:
    found: Json = next(item for item in manifests if item["kind"] == "Deployment")["spec"]
    return found


def container(manifests: tuple[Json, ...]) -> Json:
    found: Json = deployment(manifests)["template"]["spec"]["containers"][0]
    return found


def put(key: str, value: Any) -> tuple[Json, ...]:
    return with_settings(MANIFESTS, [Setting(key, value)], NOWHERE)


# --- where a key belongs


def test_a_key_is_set_in_the_containers_where_it_stands_there() -> None:
    changed = put("livenessProbe.periodSeconds", 5)
    assert container(changed)["livenessProbe"]["periodSeconds"] == 5
    assert container(changed)["readinessProbe"]["periodSeconds"] == 1


def test_a_key_is_set_in_the_pod_template_or_the_spec_where_it_stands_there() -> None:
    assert deployment(put("terminationGracePeriodSeconds", 3))["template"]["spec"]["terminationGracePeriodSeconds"] == 3
    assert deployment(put("strategy.rollingUpdate.maxSurge", 2))["strategy"]["rollingUpdate"]["maxSurge"] == 2
    assert deployment(put("replicas", 7))["replicas"] == 7


def test_a_field_that_stands_nowhere_is_added_where_the_api_has_it() -> None:
    assert deployment(put("minReadySeconds", 2))["minReadySeconds"] == 2
    assert deployment(put("hostname", "web"))["template"]["spec"]["hostname"] == "web"
    assert container(put("imagePullPolicy", "Never"))["imagePullPolicy"] == "Never"
    assert container(put("resources.limits.memory", "64Mi"))["resources"]["limits"]["memory"] == "64Mi"


def test_items_of_lists_are_meant_by_their_name() -> None:
    assert container(put("env.DRAIN_S.value", "0"))["env"][0] == {"name": "DRAIN_S", "value": "0"}


def test_one_object_can_be_meant() -> None:
    changed = put("service/web:sessionAffinity", "ClientIP")
    assert changed[0]["spec"]["sessionAffinity"] == "ClientIP"
    assert deployment(put("deployment/web:replicas", 2))["replicas"] == 2


def test_the_workload_that_was_given_stays_as_it_was() -> None:
    put("livenessProbe.periodSeconds", 5)
    assert container(MANIFESTS)["livenessProbe"]["periodSeconds"] == 1


@pytest.mark.parametrize(("key", "value", "words"), [
    ("livenesProbe.periodSeconds", 5, "no object of the workload has or may have such a field"),
    ("deployment/shop:replicas", 5, "no object of the workload has or may have such a field"),
    ("startupProbe.periodSeconds", 5, "no object of the workload has or may have such a field"),  # of what probe?
    ("env.MISSING.value", "x", "no object of the workload has or may have such a field"),
    ("livenessProbe.periodSeconds", "often", "periodSeconds"),
    ("replicas", -1, "replicas"),
])
def test_what_cannot_be_set_is_refused_with_its_line(key: str, value: Any, words: str) -> None:
    document = read_text(f"spec:\n  matrix:\n    {key}: [1]\n", "experiment.yaml")[0]
    with pytest.raises(InvalidInput) as told:
        with_settings(MANIFESTS, [Setting(key, value)], document)
    mistake = told.value.mistakes[0]
    assert words in mistake.message
    assert (mistake.file, mistake.line) == ("experiment.yaml", 3)


# --- variants


def loaded_with(folder: Path, more: str) -> LoadedExperiment:
    return write_experiment(folder, more=more)


def test_a_matrix_makes_every_combination(tmp_path: Path) -> None:
    loaded = loaded_with(tmp_path, "  matrix:\n    livenessProbe.periodSeconds: [1, 5]\n    replicas: [2, 4]\n")
    variants = variants_of(loaded)
    assert [item.name for item in variants] == [
        "periodSeconds=1, replicas=2", "periodSeconds=1, replicas=4", "periodSeconds=5, replicas=2",
        "periodSeconds=5, replicas=4"]
    assert deployment(variants[2].loaded.manifests)["replicas"] == 2
    assert container(variants[2].loaded.manifests)["livenessProbe"]["periodSeconds"] == 5


def test_names_are_long_where_short_ones_would_be_the_same() -> None:
    settings = (Setting("livenessProbe.periodSeconds", 1), Setting("readinessProbe.periodSeconds", 2))
    assert name_of(settings) == "livenessProbe.periodSeconds=1, readinessProbe.periodSeconds=2"


def test_without_anything_to_compare_there_is_one_variant(tmp_path: Path) -> None:
    variants = variants_of(loaded_with(tmp_path, ""))
    assert [(item.name, item.platform) for item in variants] == [("small", "testbed")]


def test_a_second_experiment_gets_the_seed_and_the_runs_of_the_first(tmp_path: Path) -> None:
    first = loaded_with(tmp_path, "  seed: 5\n  runs: 3\n")
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    loaded_with(other_folder, "  seed: 6\n")
    (other_folder / "small.yaml").rename(other_folder / "slow.yaml")
    variants = variants_of(first, against=load_experiment(other_folder / "slow.yaml"))
    assert [item.name for item in variants] == ["slow", "small"], "the first is what the other is held against"
    assert {(item.loaded.experiment.spec.seed, item.loaded.experiment.spec.runs) for item in variants} == {(5, 3)}


def test_files_of_one_name_are_told_apart_by_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("main", "mine"):
        (tmp_path / folder).mkdir()
        loaded_with(tmp_path / folder, "")
    monkeypatch.chdir(tmp_path)

    def names(*files: Path) -> list[str]:
        reference, mine = map(load_experiment, files)
        return [item.name for item in variants_of(mine, against=reference)]

    main, mine = Path("main/small.yaml"), Path("mine/small.yaml")
    assert names(main, mine) == ["main/small.yaml", "mine/small.yaml"]
    assert names(main.resolve(), mine) == ["main/small.yaml", "mine/small.yaml"]
    assert names(main, main) == ["main/small.yaml", "main/small.yaml (2)"]


def test_platforms_multiply_and_name_themselves(tmp_path: Path) -> None:
    plain = variants_of(loaded_with(tmp_path, ""), platforms=("testbed", "compose"))
    assert [(item.name, item.platform) for item in plain] == [("testbed", "testbed"), ("compose", "compose")]
    swept = variants_of(loaded_with(tmp_path, "  matrix: {replicas: [1, 2]}\n"), platforms=("testbed", "compose"))
    assert [item.name for item in swept] == [
        "testbed, replicas=1", "compose, replicas=1", "testbed, replicas=2", "compose, replicas=2"]


def test_too_many_variants_are_refused(tmp_path: Path) -> None:
    loaded = loaded_with(tmp_path, f"  matrix: {{replicas: {list(range(1, 52))}}}\n")
    with pytest.raises(UsageError, match="51 variants"):
        variants_of(loaded)


def test_a_matrix_and_a_second_file_are_two_ways_to_say_it(tmp_path: Path) -> None:
    loaded = loaded_with(tmp_path, "  matrix: {replicas: [1, 2]}\n")
    with pytest.raises(UsageError, match="--against"):
        variants_of(loaded, against=loaded)


@pytest.mark.parametrize("values", ["[]", "[1, 1]"])
def test_a_matrix_needs_values_and_each_once(tmp_path: Path, values: str) -> None:
    with pytest.raises(InvalidInput, match="each once"):
        loaded_with(tmp_path, f"  matrix: {{replicas: {values}}}\n")


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.lists(st.integers(), min_size=1, max_size=4,
                                                                        unique=True), min_size=1, max_size=3))
def test_every_combination_comes_once(matrix: dict[str, list[int]]) -> None:
    found = list(combinations(matrix))
    size = 1
    for values in matrix.values():
        size *= len(values)
    assert len(found) == size == len(set(found))
    assert all([item.key for item in settings] == list(matrix) for settings in found)


# --- turns


@given(st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=6, unique=True), st.integers(),
       st.integers(1, 20))
def test_in_a_round_everyone_has_one_turn_and_the_same_seed_gives_the_same_order(
    names: list[str], seed: int, number: int,
) -> None:
    assert Counter(order(names, seed, number)) == Counter(names)
    assert order(names, seed, number) == order(names, seed, number)


def test_rounds_differ_in_their_order() -> None:
    firsts = Counter(order(("a", "b"), 7, number)[0] for number in range(100))
    assert 30 < firsts["a"] < 70


@given(st.integers(1, 100), st.integers(0, 100))
def test_void_runs_are_made_up_for_within_half_as_many(runs: int, most: int) -> None:
    for wanted, top in ((Repetitions(runs), runs), (Repetitions(runs, 0.1, most), max(runs, most))):
        assert top <= wanted.limit <= top + top // 2 + 1


def test_names_of_folders_are_plain() -> None:
    from testbed.experiment.runner import folder_name

    assert folder_name(2, "compose, periodSeconds=5") == "2-compose-periodseconds-5"
    assert re.fullmatch(r"1", folder_name(1, "../.."))
