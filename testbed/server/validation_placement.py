"""Label selectors, and where pods may run: affinity, spread, gates.

Source: kubernetes pkg/apis/core/validation/validation.go (validateAffinity, validateTopologySpreadConstraints,
validateSchedulingGates), apimachinery apis/meta/v1/validation.
"""

from __future__ import annotations

from typing import Any

from testbed.server.causes import Causes
from testbed.server.names import check_label_name, check_labels, check_qualified

Json = dict[str, Any]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def check_selector(selector: Any, path: str, causes: Causes) -> None:
    """A LabelSelector."""
    check_labels(selector.get("matchLabels") or {}, f"{path}.matchLabels", causes)
    for index, requirement in enumerate(selector.get("matchExpressions") or ()):
        _requirement(requirement, f"{path}.matchExpressions[{index}]", causes)


def _requirement(requirement: Json, path: str, causes: Causes, *, numbers: bool = False) -> None:
    check_qualified(requirement.get("key", ""), f"{path}.key", causes)
    operator, values = requirement.get("operator"), requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            causes.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            causes.forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    elif numbers and operator in ("Gt", "Lt"):
        if len(values) != 1:
            causes.required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    else:
        causes.invalid(f"{path}.operator", operator, "not a valid selector operator")


def check_placement(spec: Json, path: str, causes: Causes) -> None:
    affinity = spec.get("affinity") or {}
    _node_affinity(affinity.get("nodeAffinity") or {}, f"{path}.affinity.nodeAffinity", causes)
    for kind in ("podAffinity", "podAntiAffinity"):
        here, given = f"{path}.affinity.{kind}", affinity.get(kind) or {}
        for index, term in enumerate(given.get(_REQUIRED) or ()):
            _pod_term(term, f"{here}.{_REQUIRED}[{index}]", causes)
        for index, item in enumerate(given.get(_PREFERRED) or ()):
            _weight(item, f"{here}.{_PREFERRED}[{index}]", causes)
            _pod_term(item.get("podAffinityTerm") or {}, f"{here}.{_PREFERRED}[{index}].podAffinityTerm", causes)
    _spread(spec.get("topologySpreadConstraints") or (), f"{path}.topologySpreadConstraints", causes)
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        name = gate.get("name", "")
        check_qualified(name, f"{path}.schedulingGates[{index}]", causes)
        if name in seen:
            causes.duplicate(f"{path}.schedulingGates[{index}]", name)
        seen.add(name)


def _weight(item: Json, path: str, causes: Causes) -> None:
    weight = item.get("weight", 0)
    if isinstance(weight, int) and not 1 <= weight <= 100:
        causes.invalid(f"{path}.weight", weight, "must be in the range 1-100")


def _node_affinity(affinity: Json, path: str, causes: Causes) -> None:
    required = affinity.get(_REQUIRED)
    if required is not None:
        check_node_selector(required, f"{path}.{_REQUIRED}", causes)
    for index, item in enumerate(affinity.get(_PREFERRED) or ()):
        _weight(item, f"{path}.{_PREFERRED}[{index}]", causes)
        _node_term(item.get("preference") or {}, f"{path}.{_PREFERRED}[{index}].preference", causes)


def check_node_selector(selector: Json, path: str, causes: Causes) -> None:
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        causes.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms):
        _node_term(term, f"{path}.nodeSelectorTerms[{index}]", causes)


def _node_term(term: Json, path: str, causes: Causes) -> None:
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        _requirement(requirement, f"{path}.matchExpressions[{index}]", causes, numbers=True)
    for index, requirement in enumerate(term.get("matchFields") or ()):
        here = f"{path}.matchFields[{index}]"
        if requirement.get("operator") not in ("In", "NotIn"):
            causes.invalid(f"{here}.operator", requirement.get("operator"), "not a valid selector operator")
        elif len(requirement.get("values") or ()) != 1:
            causes.required(f"{here}.values",
                            "must be only one value when `operator` is 'In' or 'NotIn' for node field selector")
        if requirement.get("key") != "metadata.name":
            causes.invalid(f"{here}.key", requirement.get("key"), "not a valid field selector key")


def _pod_term(term: Json, path: str, causes: Causes) -> None:
    for key in ("labelSelector", "namespaceSelector"):
        check_selector(term.get(key) or {}, f"{path}.{key}", causes)
    for index, name in enumerate(term.get("namespaces") or ()):
        check_label_name(name, f"{path}.namespaces[{index}]", causes)
    _topology_key(term, path, causes)
    own = {item.get("key") for item in (term.get("labelSelector") or {}).get("matchExpressions") or ()}
    own |= set((term.get("labelSelector") or {}).get("matchLabels") or ())
    for index, key in enumerate(term.get("matchLabelKeys") or ()):
        if key in (term.get("mismatchLabelKeys") or ()):
            causes.invalid(f"{path}.matchLabelKeys[{index}]", key,
                           "exists in both matchLabelKeys and mismatchLabelKeys")
    for kind in ("matchLabelKeys", "mismatchLabelKeys"):
        if term.get(kind) and term.get("labelSelector") is None:
            causes.forbidden(f"{path}.{kind}", "must not be specified when labelSelector is not set")
        for index, key in enumerate(term.get(kind) or ()):
            if key in own:
                causes.invalid(f"{path}.{kind}[{index}]", key, "exists in both matchLabelKeys and labelSelector")


def _topology_key(item: Json, path: str, causes: Causes) -> None:
    if not item.get("topologyKey"):
        causes.required(f"{path}.topologyKey", "can not be empty")
    else:
        check_qualified(item["topologyKey"], f"{path}.topologyKey", causes)


def _spread(constraints: Any, path: str, causes: Causes) -> None:
    seen: set[tuple[Any, Any]] = set()
    for index, item in enumerate(constraints):
        here, when = f"{path}[{index}]", item.get("whenUnsatisfiable")
        if isinstance(item.get("maxSkew", 0), int) and item.get("maxSkew", 0) <= 0:
            causes.invalid(f"{here}.maxSkew", item.get("maxSkew", 0), "must be greater than zero")
        _topology_key(item, here, causes)
        if when not in ("DoNotSchedule", "ScheduleAnyway"):
            causes.not_supported(f"{here}.whenUnsatisfiable", when, ("DoNotSchedule", "ScheduleAnyway"))
        pair = (item.get("topologyKey"), when)
        if pair in seen:
            causes.duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{pair[0]}, {pair[1]}}}")
        seen.add(pair)
        domains = item.get("minDomains")
        if isinstance(domains, int):
            if domains <= 0:
                causes.invalid(f"{here}.minDomains", domains, "must be greater than zero")
            if when != "DoNotSchedule":
                causes.invalid(f"{here}.minDomains", domains,
                               f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}")
        for key in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if item.get(key) not in (None, "Honor", "Ignore"):
                causes.not_supported(f"{here}.{key}", item[key], ("Honor", "Ignore"))
        check_selector(item.get("labelSelector") or {}, f"{here}.labelSelector", causes)


def check_gated_update(before: Json, after: Json, causes: Causes) -> None:
    """What a pod's update may do to gates and placement. Takes what is allowed out of both specs.

    While a pod is gated, its node selector may grow and its required node affinity may be narrowed.
    """
    kept, wanted = before.pop("schedulingGates", None) or [], after.pop("schedulingGates", None) or []
    added = [gate.get("name", "") for gate in wanted if gate not in kept]
    if added:
        names = ", ".join(f"'{name}'" for name in added)
        causes.forbidden("spec.schedulingGates", f"only deletion is allowed, but found new scheduling gate {names}")
    if not kept:
        return
    ours, theirs = before.pop("nodeSelector", None) or {}, after.pop("nodeSelector", None) or {}
    if not ours.items() <= theirs.items():
        causes.invalid("spec.nodeSelector", theirs, "only additions are allowed to spec.nodeSelector (no mutations or "
                                                    "deletions)")
    _narrowed(before, after, causes)


def _narrowed(before: Json, after: Json, causes: Causes) -> None:
    path = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    mine, other = before.get("affinity") or {}, after.get("affinity") or {}
    node, changed = mine.get("nodeAffinity") or {}, other.get("nodeAffinity") or {}
    old = (node.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    new = (changed.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    if old and len(old) != len(new):
        causes.invalid(path, new, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
    elif any(term.get(key, [])[:len(was.get(key, []))] != was.get(key, []) or (not was and term)
             for was, term in zip(old, new, strict=False) for key in ("matchExpressions", "matchFields")):
        causes.invalid(path, new, "only additions are allowed (no mutations or deletions)")
    for spec in (before, after):  # preferred node affinity may change freely
        rest = {key: value for key, value in (spec.pop("affinity", None) or {}).items() if key != "nodeAffinity"}
        if rest:
            spec["affinity"] = rest
