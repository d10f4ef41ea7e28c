"""The three patches: JSON (RFC 6902), merge (RFC 7386) and strategic merge with its keys and directives.

Sources: kubernetes apimachinery pkg/util/strategicpatch/patch.go, apiserver pkg/endpoints/handlers/patch.go. Merge
keys come from ``schema``; a custom resource has none, so a strategic patch of one is refused (415), as upstream.
"""

from __future__ import annotations

import copy
from typing import Any

from testbed.errors import BadRequest, Invalid
from testbed.server.schema import Field, Type, fields_of

Json = dict[str, Any]

MAX_OPERATIONS = 10_000


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386. Changes ``target`` in place where it is a map."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = merge_patch(target.get(key), value)
    return target


# --- JSON patch


def json_patch(target: Json, operations: Any) -> Json:
    """Returns the patched document; ``target`` is not to be used afterwards.

    Raises: BadRequest when an operation is malformed, Invalid when one cannot be applied (a failed ``test`` too).
    """
    if not isinstance(operations, list):
        raise BadRequest("a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise BadRequest(f"a JSON patch has at most {MAX_OPERATIONS} operations, this one {len(operations)}")
    document: Any = target
    for index, operation in enumerate(operations):
        try:
            document = _operate(document, operation)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise Invalid(f"the server rejected our request due to an error in our request: operation {index} of the "
                          "JSON "
                          f"patch cannot be applied: {error}") from None
    if not isinstance(document, dict):
        raise Invalid("the JSON patch leaves no object")
    return document


def _operate(document: Any, operation: Any) -> Any:
    name, path = operation["op"], _pointer(operation["path"])
    if name in ("add", "replace", "test") and "value" not in operation:
        raise ValueError(f"{name} needs a value")
    if name == "add":
        return _add(document, path, copy.deepcopy(operation["value"]))
    if name == "remove":
        return _remove(document, path)[0]
    if name == "replace":
        _at(document, path)
        return _add(_remove(document, path)[0] if path else document, path, copy.deepcopy(operation["value"]))
    if name == "move":
        document, value = _remove(document, _pointer(operation["from"]))
        return _add(document, path, value)
    if name == "copy":
        return _add(document, path, copy.deepcopy(_at(document, _pointer(operation["from"]))))
    if name == "test":
        if _at(document, path) != operation["value"]:
            raise ValueError(f"test of {operation['path']} failed")
        return document
    raise ValueError(f"unknown operation {name!r}")


def _pointer(text: str) -> list[str]:
    if text == "":
        return []
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _index(container: list[Any], part: str, *, new: bool = False) -> int:
    if part == "-" and new:
        return len(container)
    if not part.isdigit():
        raise ValueError(f"{part!r} is not an index")
    index = int(part)
    if index > len(container) - (0 if new else 1):
        raise IndexError(f"index {index} is out of range")
    return index


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(document, list):
            document = document[_index(document, part)]
        elif isinstance(document, dict) and part in document:
            document = document[part]
        else:
            raise KeyError(f"/{'/'.join(path)} does not exist")
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _at(document, path[:-1])
    if isinstance(parent, list):
        parent.insert(_index(parent, path[-1], new=True), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise ValueError(f"/{'/'.join(path[:-1])} is neither a map nor a list")
    return document


def _remove(document: Any, path: list[str]) -> tuple[Any, Any]:
    value = _at(document, path)
    if not path:
        return None, value
    parent = _at(document, path[:-1])
    if isinstance(parent, list):
        del parent[_index(parent, path[-1])]
    else:
        del parent[path[-1]]
    return document, value


# --- strategic merge


def strategic_patch(target: Json, patch: Any, kind: str) -> Json:
    """Merges ``patch`` into ``target`` by the merge keys of ``kind``; changes ``target``.

    Raises: BadRequest when the patch is malformed.
    """
    if not isinstance(patch, dict):
        raise BadRequest("a strategic merge patch is a map")
    try:
        merged = _merge_map(target, patch, Type("struct", name=kind), "")
    except TypeError as error:  # a merge key that is itself a list or a map
        raise BadRequest(f"the strategic merge patch cannot be applied: {error}") from None
    return merged if isinstance(merged, dict) else {}


def _child(kind: Type | None, key: str) -> tuple[Type | None, Field | None]:
    if kind is None:
        return None, None
    if kind.form == "struct":
        field = fields_of(kind.name).get(key)
        return (field.type, field) if field else (None, None)
    return (kind.item, None) if kind.form == "map" else (None, None)


def _merge_map(target: Json, patch: Json, kind: Type | None, path: str) -> Json:
    directive = patch.get("$patch")
    if directive == "replace":
        replaced: Json = _plain({key: value for key, value in patch.items() if key != "$patch"})
        return replaced
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise BadRequest(f"{path or 'patch'}: unknown directive $patch: {directive!r}")
    if "$retainKeys" in patch:
        keep = _list(patch["$retainKeys"], f"{path}.$retainKeys")
        for key in [key for key in target if key not in keep]:
            del target[key]
    for key, value in patch.items():
        if key in ("$patch", "$retainKeys") or key.startswith("$setElementOrder/"):
            continue
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            removed = _list(value, f"{path}.{key}")
            if isinstance(target.get(name), list):
                target[name] = [item for item in target[name] if item not in removed]
            continue
        _merge_key(target, patch, key, value, kind, path)
    for key in patch:
        if key.startswith("$setElementOrder/"):
            _order(target, patch, key.partition("/")[2], kind, path)
    return target


def _merge_key(target: Json, patch: Json, key: str, value: Any, kind: Type | None, path: str) -> None:
    here = f"{path}.{key}" if path else key
    child, field = _child(kind, key)
    if value is None:
        target.pop(key, None)
    elif isinstance(value, dict):
        current = target.get(key)
        target[key] = _merge_map(current if isinstance(current, dict) else {}, value, child, here)
    elif isinstance(value, list) and field is not None and field.merge_key:
        current = target.get(key)
        merged = _merge_list(current if isinstance(current, list) else [], value, field, here)
        if merged:
            target[key] = merged
        else:
            target.pop(key, None)
    else:
        target[key] = _plain(value)


def _merge_list(target: list[Any], patch: list[Any], field: Field, path: str) -> list[Any]:
    if field.merge_key == "*":
        return target + [item for item in patch if item not in target]
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [_plain(item) for item in patch if not (isinstance(item, dict) and item.get("$patch") == "replace")]
    item_type = field.type.item
    for item in patch:
        if not isinstance(item, dict):
            raise BadRequest(f"{path}: expected a list of maps")
        if field.merge_key not in item:
            raise BadRequest(f"{path}: map does not contain declared merge key: {field.merge_key}")
        wanted = item[field.merge_key]
        position = next((index for index, have in enumerate(target)
                         if isinstance(have, dict) and have.get(field.merge_key) == wanted), None)
        if item.get("$patch") == "delete":
            target = [have for have in target if not (isinstance(have, dict) and have.get(field.merge_key) == wanted)]
        elif position is None:
            target.append(_merge_map({}, item, item_type, path))
        else:
            target[position] = _merge_map(target[position], item, item_type, path)
    return target


def _order(target: Json, patch: Json, name: str, kind: Type | None, path: str) -> None:
    """``$setElementOrder/x``: the listed items in that order; the others keep their place relative to the left."""
    _, field = _child(kind, name)
    items = target.get(name)
    if not isinstance(items, list) or field is None or not field.merge_key:
        return
    order = _list(patch[f"$setElementOrder/{name}"], f"{path}.$setElementOrder/{name}")

    def identity(item: Any) -> Any:
        return item.get(field.merge_key) if field.merge_key != "*" and isinstance(item, dict) else item

    ranks = {identity(item): rank for rank, item in enumerate(order)}
    listed = iter(sorted((item for item in items if identity(item) in ranks), key=lambda item: ranks[identity(item)]))
    target[name] = [next(listed) if identity(item) in ranks else item for item in items]


def _plain(value: Any) -> Any:
    """``value`` without directives and nulls: what is added, not merged."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if not key.startswith("$") and item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value
                if not (isinstance(item, dict) and item.get("$patch") in ("delete", "replace"))]
    return value


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"{path}: expected a list")
    return value
