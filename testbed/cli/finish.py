"""How every measuring command ends: the report on stdout, files where they were asked for, and the exit code."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.cli import output as printing
from testbed.errors import EnvironmentProblem

if TYPE_CHECKING:
    from testbed.experiment.result import Result


def finish(
    result: Result, folder: Path, *, output: str = "", junit: Path | None = None, markdown: Path | None = None,
) -> int:
    """Prints the result, writes the reports beside ``result.json``, says where they are.

    Returns: the exit code that the verdict stands for.
    """
    from testbed.report import html

    write(folder / "report.html", html.render(result))
    if output:
        printing.dump(result.to_json(), output)
    else:
        printing.out(terminal_text(result))
    if junit:
        from testbed.report import junit as junit_report

        write(junit, junit_report.render(result))
    if markdown:
        from testbed.report import markdown as markdown_report

        write(markdown, markdown_report.render(result))
    _for_github(result)
    printing.say(f"report:  {folder / 'report.html'}")
    printing.say(f"data:    {folder / 'result.json'}")
    return result.exit_code


def terminal_text(result: Result) -> str:
    """The report for a terminal of this width, in colour only on one."""
    from testbed.report import terminal

    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return terminal.render(result, width=shutil.get_terminal_size((100, 24)).columns, color=color).rstrip("\n")


def write(path: Path, text: str) -> None:
    """Raises: EnvironmentProblem that names the file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EnvironmentProblem(f"{path} cannot be written: {error.strerror}") from error


def _for_github(result: Result) -> None:
    """A summary on the page of a GitHub Actions step (1 MiB is its limit)."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        from testbed.report import markdown

        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(markdown.render(result)[: 1 << 19] + "\n")
