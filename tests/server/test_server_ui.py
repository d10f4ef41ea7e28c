"""The files of the live page fit together: what one names is there, and what is there is named. No browser needed."""

from __future__ import annotations

import re
from pathlib import Path

from testbed.api.experiment_status import SILENT_S
from testbed.server import page

FILES = {path.name: path.read_text() for path in page.FILES.iterdir()}
INDEX = FILES["index.html"]
MODULES = {name: text for name, text in FILES.items() if name.endswith(".js")}
IMPORT = re.compile(r'from "\./([^"]+)"')


def test_every_file_is_served_and_asked_for() -> None:
    asked = set(re.findall(r'(?:src|href)="([^"#:]+)"', INDEX))
    asked |= {name for text in MODULES.values() for name in IMPORT.findall(text)}
    assert asked == set(FILES) - {"index.html"}
    assert set(FILES) | {""} == set(page.files())


def test_what_a_module_imports_is_exported_there() -> None:
    for name, text in MODULES.items():
        for wanted, source in re.findall(r'import \{([^}]+)\} from "\./([^"]+)"', text):
            for word in wanted.split(","):
                assert re.search(rf"export (?:async )?(?:function|const|class) {word.strip()}\b", FILES[source]), (
                    name, source, word)
                assert len(re.findall(rf"\b{word.strip()}\b", text)) > 1, f"{name} imports {word} and does not use it"


def test_elements_that_modules_look_for_are_there_once() -> None:
    ids = re.findall(r'\bid="([^"]+)"', INDEX)
    assert len(ids) == len(set(ids))
    for name, text in MODULES.items():
        for wanted in re.findall(r'(?:\$|getElementById)\("([^"]+)"\)', text):
            assert wanted in ids, f"{name}: #{wanted}"


def test_elements_refer_to_elements_that_are_there() -> None:
    ids = set(re.findall(r'\bid="([^"]+)"', INDEX))
    for words in re.findall(r'(?:aria-labelledby|aria-describedby|for)="([^"]+)"', INDEX):
        assert set(words.split()) <= ids, words
    shapes = {name for name in ids if name.startswith("shape-")}
    assert shapes >= {f"shape-{word}" for word in re.findall(r'shape: "(\w+)"', FILES["words.js"] + FILES["plans.js"])}


def test_nothing_needs_what_the_content_security_policy_forbids() -> None:
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)", INDEX)
    for name, text in MODULES.items():
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://(?!www\.w3\.org/)",
                             text), name


def test_each_module_is_one_small_subject_and_says_which() -> None:
    for name, text in MODULES.items():
        assert text.startswith("/**"), name
        assert text.count("\n") < 300, name
        assert max(map(len, text.splitlines())) <= 120, name


def test_a_run_is_silent_for_as_long_as_everywhere_else() -> None:
    assert f"SILENT_S = {SILENT_S:g};" in FILES["story.js"]


def test_no_address_of_another_machine_is_named() -> None:
    for path in Path(page.FILES).iterdir():
        others = set(re.findall(r"https?://[\w.]+", path.read_text())) - {"http://www.w3.org"}
        assert not others, path.name
