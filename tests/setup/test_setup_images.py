"""Images: when ours are stale, what goes into a build, how a user's own come in."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import EngineError, EnvironmentProblem, InvalidInput, NoSuchImage
from testbed.resources import folder, image_context
from testbed.runtime import images as subject
from testbed.runtime import recipes
from testbed.runtime.contexts import packed
from testbed.runtime.docker_sdk import translated
from testbed.runtime.images import Images
from testbed.runtime.recipes import ON_DEMAND, OWN_BASE, RECIPES, Recipe, source_hash


def test_every_recipe_has_a_dockerfile_that_takes_a_base() -> None:
    for recipe in (*RECIPES, *ON_DEMAND):
        text = (image_context(recipe.context) / "Dockerfile").read_text()
        assert "ARG BASE=debian:bookworm-slim\nFROM ${BASE}" in text, recipe.tag


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nCOPY words /words\n")
    (tmp_path / "words").write_text("one")
    for module in (subject, recipes):
        monkeypatch.setattr(module, "image_context", lambda name: tmp_path)
    return tmp_path


def test_an_image_is_stale_when_a_source_or_an_argument_changes(context: Path) -> None:
    recipe = Recipe("x:1", "x")
    first = source_hash(recipe)
    assert source_hash(recipe) == first
    (context / "words").write_text("two")
    second = source_hash(recipe)
    (context / "more").touch()
    third = source_hash(recipe)
    assert len({first, second, third, source_hash(Recipe("x:1", "x", (("VERSION", "v2"),)))}) == 4


def test_files_that_python_leaves_behind_do_not_count(context: Path) -> None:
    before = source_hash(Recipe("x:1", "x"))
    (context / "__pycache__").mkdir()
    (context / "__pycache__/x.pyc").touch()
    assert source_hash(Recipe("x:1", "x")) == before


def test_ignored_files_are_not_sent_to_the_engine(context: Path) -> None:
    (context / "secret").touch()
    (context / ".dockerignore").write_text("# not for others\nsecret\n")
    with packed(context) as stream, tarfile.open(fileobj=stream) as archive:
        names = archive.getnames()
        assert all(member.mtime == 0 and member.uid == 0 for member in archive.getmembers())
    assert "words" in names and "secret" not in names


def test_a_missing_folder_of_the_installation_is_named() -> None:
    with pytest.raises(EnvironmentProblem, match="nonsense"):
        folder("nonsense")


def test_without_mmdebstrap_and_registry_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "which", lambda name: None)
    lonely = object.__new__(Images)
    monkeypatch.setattr(lonely, "present", lambda tag: False, raising=False)
    monkeypatch.setattr(lonely, "pull", lambda tag: False, raising=False)
    with pytest.raises(EnvironmentProblem, match="mmdebstrap") as caught:
        lonely.base()
    assert "apt-get install mmdebstrap" in caught.value.hint


@pytest.fixture
def engine_images() -> Iterator[Images]:
    with Images() as images:
        yield images
        for tag in ("setup-test-yours:1", "setup-test-twin:1"):
            images.remove(tag)


@pytest.mark.engine
def test_a_users_image_is_built_on_a_base_that_is_there(engine_images: Images, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG BASE=nowhere/nothing:1\nFROM ${BASE}\nENV WORDS=one\n")
    lines: list[str] = []
    engine_images.build_user(tmp_path, "setup-test-yours:1", progress=lambda line, done: lines.append(line))
    assert any("Step 1/" in line for line in lines)
    mine = next(image for image in engine_images.list() if image.tag == "setup-test-yours:1")
    assert mine.kind == "yours"


@pytest.mark.engine
def test_a_rebuilt_image_leaves_no_nameless_one(engine_images: Images, context: Path) -> None:
    recipe, base = Recipe("testbed-test-rebuilt:1", "x"), engine_images.base()
    client = engine_images._client
    try:
        engine_images.build(recipe, base)
        first = client.inspect_image(recipe.tag)["Id"]
        (context / "words").write_text("two")
        engine_images.build(recipe, base)
        with pytest.raises(NoSuchImage), translated():
            client.inspect_image(first)
        client.tag(recipe.tag, "testbed-test-kept", "1")
        kept = client.inspect_image(recipe.tag)["Id"]
        (context / "words").write_text("three")
        engine_images.build(recipe, base)
        assert client.inspect_image("testbed-test-kept:1")["Id"] == kept
    finally:
        engine_images.remove(recipe.tag)
        engine_images.remove("testbed-test-kept:1")


@pytest.mark.engine
def test_an_image_comes_back_from_a_file(engine_images: Images, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    engine_images.build_user(tmp_path, "setup-test-twin:1")
    archive = tmp_path / "image.tar"
    subprocess.run(["docker", "save", "-o", str(archive), "setup-test-twin:1"], check=True)
    engine_images.remove("setup-test-twin:1")
    assert not engine_images.present("setup-test-twin:1")
    assert engine_images.load(archive) == ("setup-test-twin:1",)
    assert engine_images.present("setup-test-twin:1")


@pytest.mark.engine
def test_a_failing_build_says_where(engine_images: Images, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {OWN_BASE}\nRUN echo before; exit 7\n")
    if not engine_images.present(OWN_BASE):
        pytest.skip("this machine builds on a pulled base")
    with pytest.raises(EngineError, match="(?s)setup-test-twin:1.*before"):
        engine_images.build_user(tmp_path, "setup-test-twin:1")


@pytest.mark.engine
def test_bad_input_is_told_before_anything_is_built(engine_images: Images, tmp_path: Path) -> None:
    for build in (lambda: engine_images.build_user(tmp_path / "absent", "x:1"),
                  lambda: engine_images.build_user(tmp_path, "x:1"),
                  lambda: engine_images.load(tmp_path / "absent.tar")):
        with pytest.raises(InvalidInput):
            build()
    (tmp_path / "Dockerfile").write_text(f"FROM {OWN_BASE}\n")
    with pytest.raises(InvalidInput, match="sample:v1"):
        engine_images.build_user(tmp_path, "sample:v1")
    (tmp_path / "text.tar").write_text("not an archive")
    with pytest.raises((InvalidInput, EngineError)):
        engine_images.load(tmp_path / "text.tar")


def test_a_wheel_carries_what_the_command_needs(tmp_path: Path) -> None:
    """Installed files are found without a checkout: the wheel is unpacked, and looked into from an empty folder."""
    root = Path(__file__).resolve().parents[2]
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
             "--wheel-dir", str(tmp_path / "wheels"), str(root)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(installed)], check=True)
    empty.mkdir()
    page = Path("testbed/server/ui")
    assert {path.name for path in (installed / page).iterdir()} == {path.name for path in (root / page).iterdir()}
    program = f"""
import sys
sys.path.insert(0, {str(installed)!r})
import testbed
from testbed.resources import folder, image_context
from testbed.runtime.recipes import ON_DEMAND, RECIPES, source_hash
assert testbed.__file__.startswith({str(installed)!r}), testbed.__file__
for recipe in (*RECIPES, *ON_DEMAND):
    assert (image_context(recipe.context) / "Dockerfile").is_file()
    print(recipe.tag, source_hash(recipe))
for name in ("dashboards/grafana/overview.json", "dashboards/prometheus/rules/workloads.yml", "compose/compose.yaml",
             "docs/runbooks.md", "examples"):
    top, _, rest = name.partition("/")
    assert (folder(top) / rest).exists(), name
    assert str(folder(top)).startswith({str(installed)!r})
from testbed.server.runbooks import whole_page
assert 'id="deploymentdown"' in whole_page()[0], "alerts link to it"
sys.argv = ["testbed", "--help"]
from testbed.cli.main import main
main()
"""
    said = subprocess.run([sys.executable, "-c", program], cwd=empty, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert "Usage: testbed" in said.stdout
    for recipe in (*RECIPES, *ON_DEMAND):
        assert f"{recipe.tag} {source_hash(recipe)}" in said.stdout, "built from a wheel or a checkout: the same image"
