"""``testbed``: finds the family of a command, loads that file alone, and turns every error into words and a code.

Families are loaded lazily, so that a read-only command answers at once: only the file that holds the asked command is
imported. Data goes to stdout, messages to stderr.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from testbed.errors import InvalidInput, NotFound, TestbedError, UsageError

# command -> (file under testbed.cli, one line of help). The order is the order of `testbed --help`.
COMMANDS: dict[str, tuple[str, str]] = {
    "doctor": ("machine", "What this machine can do, and what mends each 'no'."),
    "setup": ("machine", "Do what is missing: engine, base image, images."),
    "up": ("cluster", "Bring a cluster up."),
    "down": ("cluster", "Take a cluster down and remove exactly what it made."),
    "status": ("cluster", "Processes, nodes and ports of a cluster; without a name, all clusters."),
    "apply": ("apply", "Create or change objects from manifests."),
    "get": ("get", "List objects as kubectl does."),
    "describe": ("describe", "One object with its events."),
    "delete": ("delete", "Delete objects."),
    "logs": ("logs", "Print a container's log, many merged, or those of the cluster's own processes."),
    "events": ("events", "What happened, in the order of its times."),
    "exec": ("exec", "Run a program in a container."),
    "scale": ("scale", "Set the number of replicas."),
    "rollout": ("rollout", "Status, undo, history, restart of a Deployment, StatefulSet or DaemonSet."),
    "drain": ("drain", "Move all pods off a node."),
    "cordon": ("drain", "Take a node out of scheduling."),
    "uncordon": ("drain", "Take a node back into scheduling."),
    "node": ("nodes", "Add, remove, replace and list nodes of a running cluster."),
    "image": ("machine", "Build, load and list images."),
    "registry": ("registry", "A registry of images for one cluster: start, push, stop."),
    "monitor": ("monitor", "Prometheus, Alertmanager and Grafana beside a cluster: up, down, status, config."),
    "top": ("top", "The cluster live on this terminal; or what nodes or pods use."),
    "ui": ("ui", "Open the live page of a cluster in a browser."),
    "run": ("experiment", "Run an experiment and print its recovery report."),
    "load": ("load", "Load-test a Service."),
    "inject": ("inject", "Inject one fault now and print its timeline."),
    "soak": ("soak", "Inject random faults for a while, each kind with a mean time between two."),
    "validate": ("experiment", "Check manifests, faults and experiments; apply nothing."),
    "report": ("runs", "Write a run's report as HTML, JSON, JUnit or Markdown."),
    "runs": ("runs", "Earlier runs: list, show, remove."),
    "baseline": ("baselines", "Save a run as a baseline; list and remove baselines."),
    "compare": ("baselines", "Compare two results: improved, same, worse, or cannot tell."),
    "examples": ("experiment", "List the experiments that ship inside the package."),
    "config": ("config", "Every timing constant of a cluster, and the kinds' JSON schemas."),
    "faults": ("faults", "Fault kinds, and what is injected now."),
    "kubeconfig": ("cluster", "Print the kubeconfig of a cluster, or its path."),
}


class LazyCommands(TyperGroup):
    """Imports a command's file when the command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"testbed.cli.{COMMANDS[cmd_name][0]}")
        return typer.main.get_group(module.app).commands[cmd_name]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """One line per command from the table above: help must not import every family."""
        width = max(len(name) for name in COMMANDS)
        formatter.write("Usage: testbed [--version] COMMAND [ARGS]...\n\n")
        formatter.write("  A chaos and self-healing testbed: break a small cluster of real containers and\n"
                        "  measure how it heals.\n\n")
        formatter.write("Commands:\n")
        for name, (_, text) in COMMANDS.items():
            formatter.write(f"  {name:<{width}}  {text}\n")
        formatter.write("\nFirst:  testbed setup && testbed run quickstart\n")
        formatter.write("Help of a command:  testbed COMMAND --help\n"
                        "Shell completion:   testbed --install-completion\n")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            hint = did_you_mean(name, list(COMMANDS)) or "see: testbed --help"
            raise UsageError(f"there is no command {name!r}", hint=hint)
        return super().resolve_command(ctx, args)


def did_you_mean(word: str, known: list[str]) -> str:
    """``did you mean 'x'?``, or nothing when no known word is near."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


app = typer.Typer(cls=LazyCommands, no_args_is_help=True, pretty_exceptions_enable=False,
                  context_settings={"help_option_names": ["-h", "--help"]})


def _print_version(asked: bool) -> None:
    if asked:
        from testbed import __version__

        typer.echo(f"testbed {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True,
                                 callback=_print_version),
) -> None:
    """A chaos and self-healing testbed."""


def explain(error: TestbedError) -> str:
    """An error as it is told on stderr: every mistake on a line of its own, the hint last."""
    prefix = "error: "
    lines = error.message.split("\n")
    text = "\n".join(prefix + line if line else line for line in lines)
    return f"{text}\n  {error.hint}" if error.hint else text


def refuse_empty(words: Sequence[str]) -> None:
    """An empty word is what a script's unset variable leaves behind. Taken for "not given", a gate would stay open.

    Raises: UsageError that names the option. What follows ``--`` is another program's, and may be anything.
    """
    if words[:1] == ["exec"] and "--" not in words:
        return
    before = ""
    for word in words:
        if word == "--":
            return
        option = word[:-1] if re.fullmatch("--[a-z-]+=", word) else before if not word else ""
        if option.startswith("-"):
            raise UsageError(f"{option} has an empty value", hint="an unset variable? give a value, or leave it out")
        if not word:
            raise UsageError(f"an empty argument behind {before or 'testbed'}",
                             hint="an unset variable? give a value, or leave it out")
        before = word


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command ``testbed``. Always exits through ``sys.exit`` with a documented code."""
    try:
        refuse_empty(sys.argv[1:] if arguments is None else arguments)
        result = app(args=arguments, standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except TestbedError as error:
        print(explain(error), file=sys.stderr)  # noqa: T201
        # A name that the cluster does not have is a wrong argument, not something that this machine lacks.
        code = InvalidInput.exit_code if isinstance(error, NotFound) else error.exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = _reader_gone()
    except SystemExit as ended:
        # click ends with 1 when the reader has gone, and leaves this wrapper behind as the sign of it.
        gone = type(sys.stdout).__name__ == "PacifyFlushWrapper"
        code = _reader_gone() if gone else ended.code if isinstance(ended.code, int) else 0
    except Exception as error:
        code = _foreign(error)
    sys.exit(code)


def _reader_gone() -> int:
    """The reader (head, less) has all it wanted: nothing more can be said, and Python must not try at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return 0


def _foreign(error: Exception) -> int:
    """What typer raises about the command line, and what is a bug of ours."""
    if type(error).__name__ == "NoArgsIsHelpError":
        text = str(getattr(error, "format_message", str)())  # empty when typer has printed the help already
        print(text, end="\n" if text else "")  # noqa: T201
        return 0
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        context = getattr(error, "ctx", None)
        print(f"error: {error.format_message()}", file=sys.stderr)  # noqa: T201
        if context is not None:
            print(f"  see: {context.command_path} --help", file=sys.stderr)  # noqa: T201
        return 2
    if type(error).__name__ == "Abort":
        return 130
    if type(error).__name__ == "Exit":
        return int(getattr(error, "exit_code", 0))
    if os.environ.get("TESTBED_DEBUG"):
        raise error
    print(f"error: a bug of ours: {type(error).__name__}: {error}\n"  # noqa: T201
          "  run it again with TESTBED_DEBUG=1 and report what it prints", file=sys.stderr)
    return 70
