"""How every measuring command ends: the report on stdout, files where they were asked for, and the exit code."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.cli import output as printing
from testbed.errors import EnvironmentProblem, TestbedError

if TYPE_CHECKING:
    from testbed.experiment.result import Result, Study


def finish(
    result: Result, folder: Path, *, output: str = "", junit: Path | None = None, markdown: Path | None = None,
) -> int:
    """Prints the result, writes the reports beside ``result.json``, says where they are.

    Returns: the exit code that the verdict stands for; of a result that passed, what kept a report from being written.
    """
    from testbed.report import html
    from testbed.report import junit as junit_report
    from testbed.report import markdown as markdown_report

    ending = _Ending(result.exit_code)
    ending.show(result, output, lambda: terminal_text(result))
    written = ending.file(folder / "report.html", lambda: html.render(result))
    ending.file(junit, lambda: junit_report.render(result))
    ending.file(markdown, lambda: markdown_report.render(result))
    ending.do("the summary", lambda: _for_github(markdown_report.render(result)))
    return ending.code(folder / "report.html" if written else None, folder / "result.json")


def finish_study(
    study: Study, folder: Path, *, output: str = "", junit: Path | None = None, markdown: Path | None = None,
) -> int:
    """The same for several variants: each has its report in its own folder, and one page compares them."""
    if study.alone is not None:
        return finish(study.alone, folder, output=output, junit=junit, markdown=markdown)
    from testbed.report import html
    from testbed.report.study import html as study_html
    from testbed.report.study import junit as study_junit
    from testbed.report.study import markdown as study_markdown

    ending = _Ending(study.exit_code)
    ending.show(study, output, lambda: study_text(study))
    for item in study.variants:
        ending.file(folder / item.folder / "report.html", partial(html.render, item.result))
    written = ending.file(folder / "report.html", lambda: study_html.render(study))
    ending.file(junit, lambda: study_junit.render(study))
    ending.file(markdown, lambda: study_markdown.render(study))
    ending.do("the summary", lambda: _for_github(study_markdown.render(study)))
    return ending.code(folder / "report.html" if written else None, folder / "study.json")


class _Ending:
    """Shows first and writes then, each by itself: neither a full disk nor a bug of ours in one page may hide what took
    an hour to measure, nor its exit code."""

    def __init__(self, exit_code: int) -> None:
        self._exit_code = exit_code
        self._reader_gone: BrokenPipeError | None = None

    def show(self, value: Result | Study, output: str, text: Callable[[], str]) -> None:
        """On stdout."""
        self.do("the report", lambda: printing.dump(value.to_json(), output) if output else printing.out(text()))

    def file(self, path: Path | None, text: Callable[[], str]) -> bool:
        """Whether there is such a file now; none is wanted without a path."""
        return path is not None and self.do(path.name, lambda: write(path, text()))

    def do(self, what: str, work: Callable[[], None]) -> bool:
        """Whether it was done. What kept it from that is told."""
        try:
            work()
        except BrokenPipeError as error:
            self._reader_gone = error
        except TestbedError as error:
            self._missed(str(error), error.exit_code)
        except Exception as error:
            self._missed(f"{what} could not be made: a bug of ours: {error!r}", TestbedError.exit_code)
        else:
            return True
        return False

    def _missed(self, words: str, exit_code: int) -> None:
        printing.say(words)
        self._exit_code = self._exit_code or exit_code

    def code(self, report: Path | None, data: Path) -> int:
        """Says where the files are. Raises: BrokenPipeError when nobody read the report."""
        if report is not None:
            printing.say(f"report:  {report}")
        printing.say(f"data:    {data}")
        if self._reader_gone is not None:
            raise self._reader_gone
        return self._exit_code


def terminal_text(result: Result) -> str:
    """The report for a terminal of this width, in colour only on one."""
    from testbed.report import terminal

    return terminal.render(result, **terminal_form()).rstrip("\n")


def study_text(study: Study) -> str:
    """The same for several variants."""
    from testbed.report.study import terminal

    return terminal.render(study, **terminal_form()).rstrip("\n")


def terminal_form(unknown: int = 100) -> dict[str, Any]:
    """Its width, ``unknown`` columns when it does not tell, and whether it has colours."""
    return {"width": shutil.get_terminal_size((unknown, 24)).columns, "color": printing.coloured()}


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
