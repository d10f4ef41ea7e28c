"""Affinity terms of a pod, ready to be compared with other pods.

Source: kubernetes pkg/scheduler/framework/types.go AffinityTerm; matchLabelKeys of pkg/registry/core/pod/strategy.go
and podtopologyspread/common.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from testbed.api.affinity import PodAffinity, PodAffinityTerm
from testbed.api.core_v1 import Pod
from testbed.api.meta import LabelSelector, LabelSelectorRequirement


@dataclass(frozen=True)
class Term:
    """``weight`` is negative for what a pod would rather avoid, 0 for what it requires."""

    selector: LabelSelector | None
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None
    topology_key: str
    weight: int = 0

    def matches(self, pod: Pod, namespace_labels: Mapping[str, Mapping[str, str]]) -> bool:
        namespace = pod.metadata.namespace
        here = namespace in self.namespaces or (
            self.namespace_selector is not None and self.namespace_selector.matches(namespace_labels.get(namespace, {}))
        )
        return here and self.selector is not None and self.selector.matches(pod.metadata.labels)


@dataclass(frozen=True)
class Terms:
    """What one pod asks: ``preferred`` of both kinds."""

    affinity: tuple[Term, ...] = ()
    anti_affinity: tuple[Term, ...] = ()
    preferred: tuple[Term, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.affinity or self.anti_affinity or self.preferred)


NOTHING = Terms()


def terms_of(pod: Pod) -> Terms:
    affinity = pod.spec.affinity
    if affinity is None or (affinity.pod_affinity is None and affinity.pod_anti_affinity is None):
        return NOTHING
    near, far = affinity.pod_affinity or PodAffinity(), affinity.pod_anti_affinity or PodAffinity()
    return Terms(
        tuple(_term(pod, item) for item in near.required_during_scheduling_ignored_during_execution),
        tuple(_term(pod, item) for item in far.required_during_scheduling_ignored_during_execution),
        tuple(_term(pod, item.pod_affinity_term, item.weight)
              for item in near.preferred_during_scheduling_ignored_during_execution)
        + tuple(_term(pod, item.pod_affinity_term, -item.weight)
                for item in far.preferred_during_scheduling_ignored_during_execution),
    )


def _term(pod: Pod, term: PodAffinityTerm, weight: int = 0) -> Term:
    own = not term.namespaces and term.namespace_selector is None
    return Term(
        with_keys(term.label_selector, pod, term.match_label_keys, term.mismatch_label_keys),
        frozenset((pod.metadata.namespace,) if own else term.namespaces), term.namespace_selector, term.topology_key,
        weight,
    )


def with_keys(
    selector: LabelSelector | None, pod: Pod, same: tuple[str, ...], other: tuple[str, ...] = ()
) -> LabelSelector | None:
    """``selector`` narrowed to pods whose labels ``same`` are the pod's own, and ``other`` are not."""
    labels = pod.metadata.labels
    extra = [
        LabelSelectorRequirement(key=key, operator=operator, values=(labels[key],))
        for keys, operator in ((same, "In"), (other, "NotIn")) for key in keys if key in labels
    ]
    if selector is None or not extra:
        return selector
    return selector.model_copy(update={"match_expressions": (*selector.match_expressions, *extra)})
