"""``testbed ui``: opens the live page in a browser, or says how to get there.

The page is on the control plane's own address. Its certificate is the cluster's own, so a browser asks once whether to
trust it; the fingerprint to compare is told. Plain HTTP would not ask, but a control plane is killed on purpose here,
and whoever takes its port meanwhile would be handed the session.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import typer

from testbed.api.instance import Instance
from testbed.cli import output as printing
from testbed.cli.connection import connect
from testbed.errors import ApiUnavailable, NotFound

app = typer.Typer()

SESSIONS = "/testbed/v1/sessions"
ASKS = "the browser does not know the cluster's own certificate and will ask once whether to go on"


@app.command()
def ui(
    name: str = printing.Name,
    print_only: bool = typer.Option(False, "--print", help="Only print the address. It opens the page once, within a "
                                    "minute."),
) -> None:
    """Open the live page of a cluster in a browser."""
    api = connect(name)
    try:
        path = api.json("POST", SESSIONS)["path"]
    except NotFound:
        raise ApiUnavailable(f"the control plane of cluster {name!r} is of a version without a page",
                             hint=f"take it down and up again: testbed down --name {name}; testbed up") from None
    address = f"https://127.0.0.1:{api.instance.api_port}{path}"
    why_not = "" if print_only else why_no_browser(os.environ, sys.platform)
    if not print_only and not why_not and _open(address):
        printing.say(f"opened https://127.0.0.1:{api.instance.api_port}/ui/ in your browser\n"
                     f"  nothing there? open it yourself: testbed ui --print{_named(name)}")
    else:
        if not print_only:
            printing.say(f"{why_not or 'no browser could be started'}; open this yourself, once, within a minute:")
        printing.out(address)
        if os.environ.get("SSH_CONNECTION") and not print_only:
            port = api.instance.api_port
            printing.say(f"  from the machine you sit at: ssh -L {port}:127.0.0.1:{port} <this machine>")
    if not print_only:
        printing.say(_about_the_certificate(api.instance))


def why_no_browser(environ: Mapping[str, str], platform: str) -> str:
    """Why a browser that is started here would not be seen; "" when it would."""
    if environ.get("BROWSER"):
        return ""
    screen = environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    if environ.get("SSH_CONNECTION") and not screen:
        return "this is a session over SSH"
    if platform.startswith("linux") and not screen and "WSL_DISTRO_NAME" not in environ:
        return "this machine has no screen"
    return ""


def fingerprint(certificate: str) -> str:
    """SHA-256 of a certificate (PEM), as browsers show it."""
    import hashlib
    import ssl

    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).digest().hex(":").upper()


def _about_the_certificate(instance: Instance) -> str:
    try:
        told = fingerprint(instance.certificate.read_text())
    except (OSError, ValueError):
        return f"  {ASKS}"
    return (f"  {ASKS}; its SHA-256 is\n  {told}\n  to be asked no more, let the browser trust "
            f"{instance.ca_certificate}; nothing else is signed by it")


def _open(address: str) -> bool:
    """The address is in the arguments of the browser, where others on this machine could read it; by then it is
    spent."""
    import webbrowser

    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False


def _named(name: str) -> str:
    return "" if name == "default" else f" --name {name}"
