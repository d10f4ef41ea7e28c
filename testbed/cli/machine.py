"""``testbed doctor``, ``setup`` and ``image``: the machine itself, before there is a cluster."""

from __future__ import annotations

from pathlib import Path

import typer

from testbed.cli import output
from testbed.errors import UsageError

app = typer.Typer()
image_app = typer.Typer(no_args_is_help=True, help="Build, load and list images.")
app.add_typer(image_app, name="image")


@app.command()
def doctor(format: str = output.Output) -> int:
    """What this machine can do, and the line that mends each "no"."""
    from dataclasses import asdict

    from faults.abilities import carried_by
    from testbed.machines.doctor import examine, healthy

    checks = examine()
    well = healthy(checks)
    if format:
        told = [asdict(check) | {"faults": list(carried_by(check.ability))} for check in checks]
        output.dump({"healthy": well, "checks": told}, format)
    else:
        words = {True: "yes", False: "no", None: "?"}
        rows = [(check.name, words[check.ok], check.found, kinds(carried_by(check.ability)), check.mend)
                for check in checks]
        output.out(output.columns(("CHECK", "OK", "FOUND", "FAULTS", "WHAT MENDS IT"), rows))
        output.say("this machine is ready" if well else "this machine is not ready: run: testbed setup")
    return 0 if well else 4


def kinds(faults: tuple[str, ...]) -> str:
    return ", ".join(dict.fromkeys(name.partition("/")[0] for name in faults))


@app.command()
def setup() -> int:
    """Do what is missing on this machine: engine, tools, base image, images."""
    from testbed.machines.narration import narrator
    from testbed.machines.setup import set_up

    teller = narrator()
    done = set_up(teller)
    teller.say("set up: " + ", ".join(
        (["engine started"] if done.engine_started else []) + [f"{name} installed" for name in done.installed]
        + [f"{tag} built" for tag in done.built]) if done.changed else "nothing to do: this machine is set up")
    if done.stays:
        teller.say(done.stays)
    return 0


@image_app.command("build")
def image_build(
    folder: Path = typer.Argument(..., help="Folder with the Dockerfile."),
    tag: str = typer.Option(..., "-t", "--tag", help="Name of the image, NAME:TAG."),
    file: str = typer.Option("Dockerfile", "-f", "--file", help="Dockerfile, relative to the folder."),
    build_arg: list[str] = typer.Option([], "--build-arg", help="NAME=VALUE, may be repeated."),
) -> int:
    """Build an image for use in pods. `ARG BASE` in its Dockerfile gets a Debian base that is there."""
    from testbed.machines.narration import narrator
    from testbed.runtime.images import Images

    arguments = {}
    for pair in build_arg:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--build-arg {pair!r} is not NAME=VALUE")
        arguments[name] = value
    teller = narrator()
    with Images() as images, teller.task(f"image {tag}") as task:
        images.build_user(folder, tag, dockerfile=file, arguments=arguments, progress=task.update)
    output.out(tag)
    return 0


@image_app.command("load")
def image_load(
    archive: Path = typer.Argument(..., help="What `docker save` wrote."),
) -> int:
    """Bring in an image from a file."""
    from testbed.machines.narration import narrator
    from testbed.runtime.images import Images

    with Images() as images, narrator().task(f"loading {archive}"):
        loaded = images.load(archive)
    for reference in loaded:
        output.out(reference)
    return 0


@image_app.command("list")
def image_list(
    format: str = output.Output,
    all: bool = typer.Option(False, "-A", "--all", help="Foreign ones too."),
) -> int:
    """List the images that pods may use: ours, yours and, with --all, every other of the engine."""
    from testbed.runtime.images import Images

    with Images() as images:
        found = [image for image in images.list() if all or image.kind != "engine"]
    if format:
        output.dump([{"tag": image.tag, "id": image.id, "sizeBytes": image.size_bytes, "kind": image.kind,
                      "created": image.created_at.isoformat()} for image in found], format)
    else:
        rows = [(image.tag, image.kind, image.id.removeprefix("sha256:")[:12], f"{image.size_bytes / 1e6:.0f} MB",
                 image.created_at.strftime("%Y-%m-%d %H:%M")) for image in found]
        output.out(output.columns(("IMAGE", "KIND", "ID", "SIZE", "CREATED (UTC)"), rows))
    return 0
