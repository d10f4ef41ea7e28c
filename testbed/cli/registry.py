"""``testbed registry``: a registry of images for one cluster, so that its pulls are real and can be broken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import typer

from testbed.api.instance import Instance
from testbed.api.instance_files import instance_directory, load_instance
from testbed.cli import output as printing
from testbed.cli.engine import on_engine

if TYPE_CHECKING:
    from testbed.runtime.protocol import Engine

T = TypeVar("T")
app = typer.Typer()
registry = typer.Typer(no_args_is_help=True, help="A registry of images for one cluster.")
app.add_typer(registry, name="registry")


@registry.command("start")
def start(
    name: str = printing.Name,
    port: int = typer.Option(0, "--port", min=0, max=65535, help="On 127.0.0.1; default a free one."),
) -> None:
    """Start it; prints what stands before the names of its images."""
    from testbed.machines.registry import address_of, start_registry

    printing.out(address_of(_with_engine(name, lambda engine, instance: start_registry(engine, instance, port))))


@registry.command("push")
def push(
    image: str = typer.Argument(..., help="An image that the engine has, such as sample:v1."),
    name: str = printing.Name,
) -> None:
    """Bring an image into it; prints the name to use in manifests."""
    from testbed.errors import NotFound
    from testbed.machines.registry import address_of, find_registry
    from testbed.runtime.images import Images

    found = _with_engine(name, lambda engine, instance: find_registry(engine, instance.id))
    if found is None or not found.running:
        raise NotFound("no registry runs", hint=f"testbed registry start --name {name}")
    with Images(load_instance(instance_directory(name)).engine_url) as images:
        printing.out(images.push(image, address_of(found)))


@registry.command("stop")
def stop(name: str = printing.Name) -> None:
    """Remove it, with all that was pushed."""
    from testbed.machines.registry import stop_registry

    _with_engine(name, stop_registry)


def _with_engine(name: str, act: Callable[[Engine, Instance], Awaitable[T]]) -> T:
    instance = load_instance(instance_directory(name))
    return on_engine(instance, lambda engine: act(engine, instance))
