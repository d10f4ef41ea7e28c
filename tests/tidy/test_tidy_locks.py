"""The locks pin every requirement by hash and are in step with ``pyproject.toml``."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def blocks(lock: str) -> list[str]:
    """Each requirement of a lock with its continuation lines."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def pins(lock: str) -> dict[str, set[Version]]:
    found: dict[str, set[Version]] = {}
    for block in blocks(lock):
        requirement = Requirement(block.split(" --hash")[0].strip())
        (specifier,) = requirement.specifier
        found.setdefault(canonicalize_name(requirement.name), set()).add(Version(specifier.version))
    return found


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt", "requirements-bootstrap.txt"])
def test_every_requirement_is_pinned_by_hash(lock: str) -> None:
    for block in blocks(lock):
        assert re.match(r"[A-Za-z0-9._-]+(\[[^]]+\])?==\S+", block), block[:80]
        assert "--hash=sha256:" in block, block[:80]


@pytest.mark.parametrize("lock, groups", [("requirements.txt", ()), ("requirements-dev.txt", ("dev", "dashboards"))])
def test_locks_are_in_step_with_the_project(lock: str, groups: tuple[str, ...]) -> None:
    wanted = PROJECT["project"]["dependencies"] + [
        entry for group in groups for entry in PROJECT["dependency-groups"][group]]
    locked = pins(lock)
    for text in wanted:
        requirement = Requirement(text)
        versions = locked.get(canonicalize_name(requirement.name))
        assert versions, f"{text} is not in {lock}: run make lock"
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), \
            f"{lock} has {versions}, the project wants {text}: run make lock"


def test_both_locks_agree() -> None:
    development = pins("requirements-dev.txt")
    different = {name for name, versions in pins("requirements.txt").items() if development.get(name) != versions}
    assert not different


def test_the_locks_name_no_index() -> None:
    for lock in ("requirements.txt", "requirements-dev.txt", "requirements-bootstrap.txt"):
        assert not re.search(r"^--|://", (ROOT / lock).read_text(), re.M), lock
