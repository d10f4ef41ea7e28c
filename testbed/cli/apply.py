"""``testbed apply``: client-side apply as kubectl does it, with one difference: every object of every file is first
sent as a dry run, so that either all mistakes are told and nothing is applied, or everything is.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from testbed.cli import output as printing
from testbed.cli.connection import Answer, Api, connect
from testbed.errors import ApiError, InvalidInput, Mistake, NotFound, UsageError

if TYPE_CHECKING:
    from testbed.experiment.documents import Document, Location

app = typer.Typer()

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
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
    for path in _expanded(files):
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


def _expanded(files: Sequence[Path]) -> list[Path]:
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
    wanted = annotated(obj)
    try:
        current = api.json("GET", resource.path(scope, metadata["name"]))
    except NotFound:
        return api.request("POST", resource.path(scope), query=query, body=wanted), "created"
    last = json.loads((current["metadata"].get("annotations") or {}).get(LAST_APPLIED, "{}"))
    custom = "." in resource.group and resource.group not in _STRATEGIC_GROUPS
    patch = difference(last, wanted, merge_lists=not custom)
    answer = api.request(
        "PATCH", resource.path(scope, metadata["name"]), query=query, body=patch,
        content_type=f"application/{'merge' if custom else 'strategic-merge'}-patch+json",
    )
    same = answer.json()["metadata"].get("resourceVersion") == current["metadata"].get("resourceVersion")
    return answer, "unchanged" if same and not dry_run else "configured"


_STRATEGIC_GROUPS = ("discovery.k8s.io", "coordination.k8s.io", "scheduling.k8s.io", "storage.k8s.io",
                     "networking.k8s.io", "rbac.authorization.k8s.io")


def annotated(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object with itself as its last applied configuration, so that the next apply knows what was dropped."""
    copy: dict[str, Any] = json.loads(json.dumps(obj))
    annotations = copy["metadata"].setdefault("annotations", {})
    annotations.pop(LAST_APPLIED, None)
    annotations[LAST_APPLIED] = json.dumps(copy, separators=(",", ":"), sort_keys=True)
    return copy


def difference(last: Mapping[str, Any], wanted: Mapping[str, Any], *, merge_lists: bool) -> dict[str, Any]:
    """``wanted`` as a patch that also removes what ``last`` had and ``wanted`` has not.

    ``merge_lists``: the server merges lists of named things by name (strategic merge); what was dropped from such a
    list is deleted by a directive.
    """
    patch: dict[str, Any] = {}
    for key, value in wanted.items():
        before = last.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            patch[key] = difference(before, value, merge_lists=merge_lists)
        elif merge_lists and isinstance(before, list) and _named(value) and _named(before):
            patch[key] = _list_difference(before, value)
        else:
            patch[key] = value
    patch.update({key: None for key in last if key not in wanted})
    return patch


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) and "name" in item for item in value)


def _list_difference(before: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    earlier = {item["name"]: item for item in before}
    names = {item["name"] for item in wanted}
    changed = [difference(earlier[item["name"]], item, merge_lists=True) if item["name"] in earlier else item
               for item in wanted]
    return changed + [{"$patch": "delete", "name": name} for name in earlier if name not in names]
