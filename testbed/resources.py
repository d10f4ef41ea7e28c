"""Where the files lie that travel with the code: Dockerfiles and compose files, dashboards, examples,
runbooks.

In a checkout they are at its root; in an installed wheel they lie inside the package (``pyproject.toml``,
force-include). Both hold the same files.
"""

from __future__ import annotations

from pathlib import Path

from testbed.errors import EnvironmentProblem

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder ``compose``, ``dashboards``, ``docs`` (an installation has the runbooks of it) or ``examples``.

    Raises: EnvironmentProblem when the installation is incomplete.
    """
    installed, checkout = _PACKAGE / "data" / name, _PACKAGE.parent / name
    in_checkout = (_PACKAGE.parent / "pyproject.toml").is_file()
    for candidate in (checkout, installed) if in_checkout else (installed,):
        if candidate.is_dir():
            return candidate
    raise EnvironmentProblem(f"the folder {name!r} is missing from this installation",
                             hint="install it again: pip install --force-reinstall selfheal-testbed")


def rule_files() -> list[Path]:
    """Rules for Prometheus, one file per subject."""
    return sorted((folder("dashboards") / "prometheus" / "rules").glob("*.yml"))


def board_files() -> list[Path]:
    """Dashboards for Grafana."""
    return sorted((folder("dashboards") / "grafana").glob("*.json"))


def runbooks() -> Path:
    """What each alert means and what to do then: Markdown, a section of its name for each."""
    return folder("docs") / "runbooks.md"


def image_context(name: str) -> Path:
    """The build context of one of our images."""
    return folder("compose") / "images" / name
