"""How every measuring command ends: the report on stdout, files where they were asked for, and the exit code."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.cli import output as printing
from testbed.errors import EnvironmentProblem

if TYPE_CHECKING:
    from testbed.experiment.result import Result, Study


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
    from testbed.report import markdown as markdown_report

    if markdown:
        write(markdown, markdown_report.render(result))
    _for_github(markdown_report.render(result))
    printing.say(f"report:  {folder / 'report.html'}")
    printing.say(f"data:    {folder / 'result.json'}")
    return result.exit_code


def finish_study(
    study: Study, folder: Path, *, output: str = "", junit: Path | None = None, markdown: Path | None = None,
) -> int:
    """The same for several variants: each has its report in its own folder, and one page compares them."""
    if study.alone is not None:
        return finish(study.alone, folder, output=output, junit=junit, markdown=markdown)
    from testbed.report import html
    from testbed.report import junit as junit_report
    from testbed.report.study import html as study_html
    from testbed.report.study import markdown as study_markdown

    for item in study.variants:
        write(folder / item.folder / "report.html", html.render(item.result))
    write(folder / "report.html", study_html.render(study))
    if output:
        printing.dump(study.to_json(), output)
    else:
        printing.out(study_text(study))
    if junit:
        write(junit, junit_report.render(*(item.result for item in study.variants)))
    if markdown:
        write(markdown, study_markdown.render(study))
    _for_github(study_markdown.render(study))
    printing.say(f"report:  {folder / 'report.html'}")
    printing.say(f"data:    {folder / 'study.json'}")
    return study.exit_code


def terminal_text(result: Result) -> str:
    """The report for a terminal of this width, in colour only on one."""
    from testbed.report import terminal

    return terminal.render(result, **_terminal()).rstrip("\n")


def study_text(study: Study) -> str:
    """The same for several variants."""
    from testbed.report.study import terminal

    return terminal.render(study, **_terminal()).rstrip("\n")


def _terminal() -> dict[str, Any]:
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return {"width": shutil.get_terminal_size((100, 24)).columns, "color": color}


def write(path: Path, text: str) -> None:
    """Raises: EnvironmentProblem that names the file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EnvironmentProblem(f"{path} cannot be written: {error.strerror}") from error


def _for_github(text: str) -> None:
    """A summary on the page of a GitHub Actions step (1 MiB is its limit)."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            with Path(summary).open("a", encoding="utf-8") as stream:
                stream.write(text[: 1 << 19] + "\n")
        except OSError as error:  # the result is worth more than its summary
            printing.say(f"no summary: {summary} cannot be written: {error.strerror}")
