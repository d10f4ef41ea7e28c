"""``testbed apply``: client-side apply as kubectl does it, with one difference: every object of every file is first
sent as a dry run, so that either all mistakes are told and nothing is applied, or everything is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from testbed.cli import output as printing
from testbed.cli.connection import Answer, Api, connect
from testbed.client.applying import three_way_patch, with_last_applied
from testbed.errors import ApiError, InvalidInput, Mistake, NotFound, UsageError

if TYPE_CHECKING:
    from testbed.experiment.documents import Document, Location

app = typer.Typer()

_STEP = re.compile(r"\[(\d+)\]|\[\"?([^\]\"]+)\"?\]|([^.\[\]]+)")


@app.command()
def apply(
    files: list[Path] = typer.Option(..., "-f", "--filename", help="File, folder, or - for standard input."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only check: ask the server, change nothing."),
    name: str = printing.Name,
    namespace: str = printing.Namespace,
) -> None:
    """Create or change objects from manifests."""
    documents = read_objects(files)
    api = connect(name)
    check(api, documents, namespace)
    for document in documents:
        answer, word = send(api, document.value, namespace, dry_run=dry_run)
        for warning in answer.warnings:
            printing.say(f"warning: {warning}")
        printing.out(f"{title(document.value)} {word}{' (dry run)' if dry_run else ''}")


def title(obj: Mapping[str, Any]) -> str:
    """``deployment.apps/web``."""
    group = str(obj["apiVersion"]).rpartition("/")[0]
    return f"{obj['kind'].lower()}{'.' + group if group else ''}/{obj['metadata']['name']}"


def read_objects(files: Sequence[Path]) -> list[Document]:
    """All objects of the files, Lists taken apart, as documents that know their lines.

    Raises: InvalidInput with every file's mistakes; UsageError when there is nothing in them.
    """
    from testbed.experiment.documents import read_file, read_text

    found: list[Document] = []
    mistakes: list[Mistake] = []
    for path in expanded(files):
        try:
            documents = read_text(sys.stdin.read(), "(standard input)") if str(path) == "-" else read_file(path)
        except InvalidInput as error:
            mistakes += error.mistakes
            continue
        for document in documents:
            found += _taken_apart(document)
    for document in found:
        mistakes += _identity_mistakes(document)
    if mistakes:
        raise InvalidInput(mistakes)
    if not found:
        raise UsageError("there are no objects in " + ", ".join(str(path) for path in files))
    return found


def expanded(files: Sequence[Path]) -> list[Path]:
    """Folders replaced by the manifests in them."""
    found: list[Path] = []
    for path in files:
        if path.is_dir():
            found += sorted(item for item in path.iterdir() if item.suffix in (".yaml", ".yml", ".json"))
        else:
            found.append(path)
    return found


def _taken_apart(document: Document) -> list[Document]:
    value = document.value
    if isinstance(value, dict) and value.get("kind") == "List" and isinstance(value.get("items"), list):
        return [document.part(("items", index)) for index in range(len(value["items"]))]
    return [document]


def _identity_mistakes(document: Document) -> list[Mistake]:
    value = document.value
    if not isinstance(value, dict):
        return [document.mistake((), "an object is expected here")]
    missing = [key for key in ("apiVersion", "kind") if not isinstance(value.get(key), str)]
    mistakes = [document.mistake((key,), "is missing") for key in missing]
    metadata = value.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        mistakes.append(document.mistake(("metadata", "name"), "is missing, or not a text"))
    return mistakes


def check(api: Api, documents: Sequence[Document], namespace: str) -> None:
    """Asks the server about every object without changing anything.

    Raises: InvalidInput with all mistakes of all objects.
    """
    made = {document.value["metadata"]["name"] for document in documents if document.value["kind"] == "Namespace"}
    defined = {document.value["spec"]["names"]["kind"] for document in documents
               if document.value["kind"] == "CustomResourceDefinition"}
    mistakes: list[Mistake] = []
    for document in documents:
        value = document.value
        if value["kind"] in defined:
            continue  # its kind comes into being with this very apply
        try:
            send(api, value, namespace, dry_run=True)
        except NotFound as error:
            if (value["metadata"].get("namespace") or namespace) not in made:
                mistakes.append(document.mistake((), error.message))
        except ApiError as error:
            mistakes += server_mistakes(document, error)
        except InvalidInput as error:
            mistakes.append(document.mistake(("kind",), error.message))
    if mistakes:
        raise InvalidInput(mistakes)


def server_mistakes(document: Document, error: ApiError) -> list[Mistake]:
    """The causes of a refusal, each at its line. Raises ``error`` itself when it is not about the object."""
    if error.code not in (400, 403, 409, 422):
        raise error
    causes = error.details.get("causes") or []
    if not causes:
        return [document.mistake((), error.message)]
    return [document.mistake(_location(cause.get("field", ""), document), cause.get("message", error.message))
            for cause in causes]


def _location(field: str, document: Document) -> Location:
    """``spec.containers[0].image`` as a location in the document."""
    steps: list[int | str] = []
    for index, key, word in _STEP.findall(field):
        steps.append(int(index) if index else key or word)
    return tuple(steps)


def send(api: Api, obj: Mapping[str, Any], namespace: str, *, dry_run: bool) -> tuple[Answer, str]:
    """Creates or changes one object. Returns the answer, and created, configured or unchanged."""
    resource = api.resource_of(obj)
    metadata = obj["metadata"]
    scope = (metadata.get("namespace") or namespace) if resource.namespaced else None
    query = {"fieldManager": "kubectl-client-side-apply", "fieldValidation": "Strict"}
    if dry_run:
        query["dryRun"] = "All"
    wanted = with_last_applied(dict(obj))
    try:
        found = api.request("GET", resource.path(scope, metadata["name"]))
    except NotFound:
        return api.request("POST", resource.path(scope), query=query, body=wanted), "created"
    current = found.json()
    patch = three_way_patch(current, wanted)
    if not patch:
        return found, "unchanged"
    answer = api.request("PATCH", resource.path(scope, metadata["name"]), query=query, body=patch,
                         content_type="application/merge-patch+json")
    same = answer.json()["metadata"].get("resourceVersion") == current["metadata"].get("resourceVersion")
    return answer, "unchanged" if same and not dry_run else "configured"
