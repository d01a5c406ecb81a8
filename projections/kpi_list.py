"""The list of KPIs: what each divides by what, which facts these are, and what the merchant wants it to be."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from domain.time_units import HOUR_MS

By = Literal["", "channel", "warehouse", "day", "stage", "reason", "roles", "node"]
DETAILS: Final = frozenset({"stage", "reason", "roles", "node"})
"""What figures are split by that is in the names of facts."""
WAITS_MS: Final = 2 * HOUR_MS
"""An order that waits longer is one of those to look at."""
_S, _H = 1_000.0, 3_600_000.0


class Part(NamedTuple):
    """Which facts are counted."""

    kind: str
    what: Literal["count", "hits", "misses"] = "count"
    detail: str | None = None
    """Only those of this detail; None = all."""
    less: str = ""
    """Kind of facts of the same events that are taken off."""


class Kpi(NamedTuple):
    """One KPI."""

    name: str
    words: str
    top: Part
    bottom: Part | None = None
    """What it is divided by; None = it is a number of its own."""
    per: float = 100.0
    """100 = percent; 1 = for each; 1000 = for each thousand."""
    by: By = ""
    """What the details of its facts are; "" = they have none."""
    unit_ms: float = 0.0
    """Above 0: it is how long something took, shown in this unit; the target is one of the mean."""
    goal: tuple[Literal["≥", "≤"], float] | None = None
    """The merchant's own target."""

    @property
    def unit(self) -> str:
        """Unit of its value."""
        if self.unit_ms:
            return {_S: "s", _H: "h"}[self.unit_ms]
        if self.bottom is None:
            return ""
        return {100.0: "%", 1.0: "each", 1000.0: "‰"}[self.per]


_IN = Part("orders")
KPIS: Final[Mapping[str, Kpi]] = {
    each.name: each
    for each in (
        Kpi(
            "pass_through_orders",
            "穿透率(按订单) orders nobody decided on",
            Part("orders", "hits"),
            _IN,
            goal=("≥", 99.2),
        ),
        Kpi(
            "pass_through_updates",
            "穿透率(按状态) updates without a decision",
            Part("update", "hits"),
            Part("update"),
            by="stage",
            goal=("≥", 99.2),
        ),
        Kpi(
            "intercepts_in_time",
            "拦截及时率 stops pushed within 15 s",
            Part("push", "hits"),
            Part("stop"),
            by="reason",
            goal=("≥", 100.0),
        ),
        Kpi("intercept_latency", "拦截时延 risk to push", Part("push"), by="reason", unit_ms=_S, goal=("≤", 15.0)),
        Kpi("intercept_recorded", "拦截记录时延 risk to stop", Part("stop"), by="reason", unit_ms=_S, goal=("≤", 15.0)),
        Kpi("interceptions", "拦截类型分布 stops by type", Part("stop"), by="reason"),
        Kpi(
            "advised", "处置建议 stops with advice", Part("stop", "hits"), Part("stop"), by="reason", goal=("≥", 100.0)
        ),
        Kpi("channel_delay", "渠道时延 changed there to received", Part("channel_delay"), unit_ms=_S),
        Kpi("rounds", "协同轮次 rounds for each order", Part("round"), _IN, 1.0, by="roles", goal=("≤", 1.2)),
        Kpi("processing_time", "处理时效 received to shipped", Part("shipped"), unit_ms=_H, goal=("≤", 1.3)),
        Kpi(
            "shipped_on_time",
            "发货准时率 shipped as promised",
            Part("shipped", "hits", "promised"),
            Part("shipped", detail="promised"),
        ),
        Kpi(
            "delivered_on_time",
            "交付准时率 delivered as promised",
            Part("delivered", "hits", "promised"),
            Part("delivered", detail="promised"),
            goal=("≥", 98.7),
        ),
        Kpi("nodes", "系统节点 systems for each order", Part("node"), _IN, 1.0, by="node"),
        Kpi("acts_failed", "节点失败率 acts outside that failed", Part("effect", "misses"), Part("effect"), by="node"),
        Kpi(
            "machine_share",
            "机器决策占比 decisions by machine",
            Part("decision", "hits"),
            Part("decision"),
            goal=("≥", 80.0),
        ),
        Kpi(
            "mis_shipments",
            "发货错误率 shipped wrongly",
            Part("misshipped"),
            Part("shipped"),
            by="reason",
            goal=("≤", 0.5),
        ),
        Kpi("pick_errors", "拣货错误率 wrong scans", Part("scan", "misses"), Part("scan"), by="reason"),
        Kpi("complaints", "客诉率 complaints for each 100 orders", Part("complaint"), _IN, by="reason"),
        Kpi("gift_complaints", "赠品客诉 gift complaints for 1000 orders", Part("complaint", "hits"), _IN, 1000.0),
        Kpi("repeat_enquiries", "重复咨询 enquiries that are repeats", Part("repeat"), Part("enquiry"), by="reason"),
        Kpi(
            "self_service",
            "自助查询占比 enquiries by self-service",
            Part("enquiry", "hits"),
            Part("enquiry"),
            by="reason",
            goal=("≥", 81.0),
        ),
        Kpi("return_reasons", "退货原因 after-sales by reason", Part("return"), by="reason"),
        Kpi("funnel", "渠道漏斗 orders that came so far", Part("update", less="again"), by="stage"),
    )
}
"""By name, in the order in which they are shown."""

SAME: Final = frozenset({"update", "stop", "effect", "enquiry", "scan", "decision"})
"""Kinds whose details both sides of a KPI have; others are divided by whole, however the top is split."""
