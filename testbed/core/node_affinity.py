"""Which nodes a pod asks for: nodeSelector, node affinity, and the terms both are written in.

The scheduler and the DaemonSets read it from here. Source: kubernetes
component-helpers/scheduling/corev1/nodeaffinity/nodeaffinity.go.
"""

from __future__ import annotations

from collections.abc import Mapping

from testbed.api.core_v1 import Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec
from testbed.api.meta import LabelSelectorRequirement


def selects(spec: PodSpec, node: Node) -> bool:
    """nodeSelector and required node affinity."""
    if any(node.metadata.labels.get(key) != value for key, value in spec.node_selector.items()):
        return False
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
    return required is None or any(term_selects(term, node) for term in required.node_selector_terms)


def term_selects(term: NodeSelectorTerm, node: Node) -> bool:
    """All requirements of a term; a term without any matches nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    return all(_holds(item, node.metadata.labels) for item in term.match_expressions) and all(
        _holds(item, {"metadata.name": node.metadata.name}) for item in term.match_fields
    )


def _holds(item: NodeSelectorRequirement, labels: Mapping[str, str]) -> bool:
    return LabelSelectorRequirement(key=item.key, operator=item.operator, values=item.values).matches(labels)
