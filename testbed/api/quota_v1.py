"""Group ``""`` (core), version v1: ResourceQuotas and LimitRanges."""

from __future__ import annotations

from pydantic import Field

from testbed.api.base import View
from testbed.api.meta import Resource

Quantities = dict[str, str | int | float]


class ScopeRequirement(View):
    scope_name: str
    operator: str
    values: tuple[str, ...] = ()


class ScopeSelector(View):
    match_expressions: tuple[ScopeRequirement, ...] = ()


class ResourceQuotaSpec(View):
    hard: Quantities = Field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    scope_selector: ScopeSelector = Field(default_factory=ScopeSelector)


class ResourceQuotaStatus(View):
    hard: Quantities = Field(default_factory=dict)
    used: Quantities = Field(default_factory=dict)


class ResourceQuota(Resource):
    spec: ResourceQuotaSpec = Field(default_factory=ResourceQuotaSpec)
    status: ResourceQuotaStatus = Field(default_factory=ResourceQuotaStatus)


class LimitRangeItem(View):
    type: str
    max: Quantities = Field(default_factory=dict)
    min: Quantities = Field(default_factory=dict)
    default: Quantities = Field(default_factory=dict)
    default_request: Quantities = Field(default_factory=dict)
    max_limit_request_ratio: Quantities = Field(default_factory=dict)


class LimitRangeSpec(View):
    limits: tuple[LimitRangeItem, ...] = ()


class LimitRange(Resource):
    spec: LimitRangeSpec = Field(default_factory=LimitRangeSpec)
