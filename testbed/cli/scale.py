"""``testbed scale``."""

from __future__ import annotations

import typer

from testbed.cli import output as printing
from testbed.cli.connection import connect
from testbed.cli.get import wanted

app = typer.Typer()


@app.command()
def scale(
    what: list[str] = typer.Argument(..., metavar="KIND/NAME ...", help="deploy/web"),
    replicas: int = typer.Option(..., "--replicas", min=0, help="How many."),
    name: str = printing.Name,
    namespace: str = printing.Namespace,
) -> None:
    """Set the number of replicas."""
    api = connect(name)
    for resource, object_name in wanted(api, what):
        api.request("PATCH", resource.path(namespace, object_name, "scale"), body={"spec": {"replicas": replicas}},
                    content_type="application/merge-patch+json")
        printing.out(f"{resource.kind.lower()}.{resource.group}/{object_name} scaled")
