"""``testbed exec``: runs a program in a container over the API's WebSocket (v5.channel.k8s.io)."""

from __future__ import annotations

import typer

from testbed.cli import output as printing

app = typer.Typer()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def exec(
    context: typer.Context,
    what: str = typer.Argument(..., metavar="POD | KIND/NAME", help="A pod, or deploy/web for one of its pods."),
    container: str = typer.Option("", "-c", "--container", help="Which container."),
    stdin: bool = typer.Option(False, "-i", "--stdin", help="Pass this program's input on."),
    tty: bool = typer.Option(False, "-t", "--tty", help="A terminal."),
    name: str = printing.Name,
    namespace: str = printing.Namespace,
) -> int:
    """Run a program in a container:  testbed exec POD -- COMMAND ..."""
    from testbed.cli.connection import connect
    from testbed.cli.exec_stream import run_remote
    from testbed.cli.logs import pod_of
    from testbed.errors import UsageError

    command = [word for word in context.args if word != "--"] if context.args[:1] == ["--"] else context.args
    if not command:
        raise UsageError("which program?", hint="testbed exec POD -- ls /")
    api = connect(name)
    return run_remote(api, namespace, pod_of(api, what, namespace), container, command, stdin=stdin, tty=tty)
