"""One order for people: its parts as tables, its personal half opened and masked."""

import shlex
from contextlib import closing
from typing import TYPE_CHECKING, Any

from runners.commands.common import escape, moment, state_word, table
from runners.naming import orders_named

if TYPE_CHECKING:
    from rich.console import RenderableType

    from runners.settings import Settings

ERASED = "erased"
"""What stands for a personal half whose key was destroyed."""
TIMELINE_MAX = 12
"""Latest events shown; `audit history` shows all."""
EFFECTS = {"succeeded": "成功 succeeded", "failed": "重试中 will be tried again", "given_up": "失败 given up"}
"""How what was told to a channel or another system stands."""
_OPEN_FIELDS = frozenset({"province", "city", "state", "country"})
"""No person can be told by these."""


def personal_of(settings: "Settings", key: str, sealed: bytes | None, *, reveal: bool) -> Any:
    """Return the personal half (masked unless `reveal`), `ERASED` where its key is gone, None where there is none.

    Raises:
        Failure: the stored bytes were changed.
    """
    if sealed is None:
        return None
    import msgspec  # noqa: PLC0415

    from adapters.storage.sealing import SealBroken, open_sealed  # noqa: PLC0415
    from runners.bootstrap import existing_vault  # noqa: PLC0415
    from runners.commands.common import Exit, Failure  # noqa: PLC0415

    vault = existing_vault(settings)
    if vault is None:
        return ERASED
    try:
        data_key = vault.keys([key], create=False).get(key)
    finally:
        vault.close()
    if data_key is None:
        return ERASED
    try:
        personal = msgspec.json.decode(open_sealed(data_key, key, sealed))
    except SealBroken as error:
        raise Failure(Exit.REFUSED, f"{error}: `orderspine audit verify` shows what else was changed") from error
    return personal if reveal else masked(personal)


def _after_sales(cases: list[dict[str, Any]], currency: str) -> "RenderableType":
    """Return the table of an order's after-sale cases."""
    from runners.commands.after_sale_looks import case_cells  # noqa: PLC0415

    columns = ("case", "kind", "stage", "reason", "lines", "refunded", "channel's number")
    made = table(*columns, title="售后 After-sales", right=("case", "refunded"))
    for case in cases:
        number, kind, stage, _, *rest = case_cells({"case": case, "currency": currency}, "")
        made.add_row(number, kind, stage, *rest)
    return made


def masked(value: Any, name: str = "") -> Any:
    """Return personal data with as much left as recognises it."""
    match value:
        case dict():
            return {key: masked(inner, str(key)) for key, inner in value.items()}
        case list():
            return [masked(inner, name) for inner in value]
        case str() if not value or name in _OPEN_FIELDS:
            return value
        case None | bool():
            return value
        case _:
            return f"{str(value)[0]}***"


def timeline_of(settings: "Settings", key: str) -> tuple[list[dict[str, Any]], int]:
    """Return the order's latest events, oldest first, from the log, and how many earlier ones there are."""
    from datetime import datetime  # noqa: PLC0415

    from domain.envelope import decode_envelope  # noqa: PLC0415
    from domain.labels import label_of  # noqa: PLC0415
    from domain.timehub import zone_of  # noqa: PLC0415
    from runners.bootstrap import open_log  # noqa: PLC0415

    with closing(open_log(settings, read_only=True)) as log:
        events = list(log.select(key))
    latest: list[dict[str, Any]] = []
    zone = zone_of(settings.zone)
    for event in events[-TIMELINE_MAX:]:
        envelope = decode_envelope(event.envelope)
        at = datetime.fromtimestamp(envelope.at / 1000, zone)
        by = envelope.by
        latest.append(
            {
                "version": event.version,
                "position": event.position,
                "at": at.isoformat(timespec="milliseconds"),
                "tag": event.tag,
                "label": label_of(event.tag),
                "by": f"{by.kind} {by.id}".strip(),
            }
        )
    return latest, len(events) - len(latest)


def page_of(
    order: dict[str, Any], personal: Any, happened: list[dict[str, Any]], earlier: int, zone: str
) -> "list[RenderableType]":
    """Return the page's parts, times in the merchant's zone."""
    parts: list[RenderableType] = [_head(order), _lines(order)]
    if order.get("interceptions"):
        parts.append(interceptions_of(order["interceptions"], zone))
    if order.get("quarantine"):
        each = order["quarantine"]
        made = table("message", "where", "reason", "what to do", title="隔离 Quarantined")
        made.add_row(*(escape(str(each.get(name, ""))) for name in ("item", "where", "reason", "advice")))
        parts.append(made)
    if order.get("parcels"):
        parts.append(parcels_of(order, zone))
    if order.get("payments"):
        parts.append(payments_of(order, zone))
    if order.get("services"):
        made = table("work order", "service", "lines", "stage", "day", title="服务工单 Service work orders")
        for each in order["services"]:
            lines = ", ".join(each.get("lines", ()))
            told = (each["reference"], each["service"], lines, each.get("stage", "opened"), each.get("day", ""))
            made.add_row(*(escape(text) for text in told))
        parts.append(made)
    if order.get("after_sales"):
        parts.append(_after_sales(order["after_sales"], (order.get("amounts") or {}).get("currency", "")))
    if order.get("effects"):
        made = table("told", "outcome", "reference", "tries", "why", title="外部动作 Told outside", right=("tries",))
        for each in order["effects"]:
            outcome, tries = EFFECTS.get(each["outcome"], each["outcome"]), str(each.get("tries", 1))
            made.add_row(
                escape(each["effect"]),
                outcome,
                escape(each.get("reference", "")),
                tries,
                escape(each.get("reason", "")),
            )
        parts.append(made)
    if order.get("last_refusal"):
        each = order["last_refusal"]
        parts.append(
            f"last refusal: {escape(each['what'])} ({escape(each['rule'])}): {escape(orders_named(each['reason']))}"
        )
    if order.get("attributes"):
        parts.append(_fields("自定义属性 Custom attributes", order["attributes"]))
    if personal == ERASED:
        parts.append("个人信息 Personal data: 已删除 erased (its key was destroyed)")
    elif personal:
        parts.append(_fields("个人信息 Personal data", personal))
    made = table("#", "when", "what", "who", title="经过 What happened", right=("#",))
    if earlier:
        made.add_row("", "", f"… {earlier:,} earlier", "")
    for each in happened:
        made.add_row(str(each["version"]), each["at"][:19], escape(each["label"]), escape(each["by"]))
    parts.append(made)
    name = escape(shlex.quote(orders_named(order["key"])))
    parts.append(f"`orderspine audit history {name}` shows each with its cause and what it changed")
    return parts


def interceptions_of(interceptions: list[dict[str, Any]], zone: str) -> "RenderableType":
    """Return the open interceptions; moments in their evidence in the merchant's zone."""
    from domain.timehub import told_in  # noqa: PLC0415

    made = table("interception", "reason", "evidence", "what to do", "who", title="拦截 Interceptions")
    for each in interceptions:
        told = {**each, "evidence": told_in(zone, each["evidence"])}
        made.add_row(*(escape(str(told[name])) for name in ("interception", "reason", "evidence", "advice", "role")))
    return made


def parcels_of(order: dict[str, Any], zone: str) -> "RenderableType":
    """Return the parcels of an order, each with what its carrier said last."""
    made = table("carrier", "tracking", "state", "place", "when", "lines", title="包裹 Parcels")
    for each in order["parcels"]:
        at_ms = max(each.get("state_ms", 0), each.get("where_ms", 0))
        made.add_row(
            escape(each["carrier"]),
            escape(each["tracking"]),
            TRACK_WORDS.get(each.get("state", ""), ""),
            escape(each.get("where", "")),
            moment(at_ms, zone) if at_ms else "",
            f"after-sale {each['case']}" if each.get("case") else escape(", ".join(each.get("lines", ()))),
        )
    return made


TRACK_WORDS = {
    "collected": "揽收 collected",
    "in_transit": "在途 in transit",
    "delivering": "派件 out for delivery",
    "signed": "签收 signed for",
    "problem": "疑难 problem",
    "refused": "拒签 refused",
    "returning": "退回 on its way back",
    "returned": "退签 came back",
    "forwarded": "转投 forwarded",
    "customs": "清关 in customs",
}


def payments_of(order: dict[str, Any], zone: str) -> "RenderableType":
    """Return what payment services told of an order."""
    from domain.money import format_minor  # noqa: PLC0415

    made = table("transaction", "what", "amount", "when", "told by", title="支付 Payments", right=("amount",))
    for each in order["payments"]:
        amount = f"{format_minor(each['amount'], each['currency'])} {each['currency']}"
        told = escape(each.get("service", "") or "a person")
        made.add_row(escape(each["transaction"]), each["kind"], amount, moment(each["at_ms"], zone), told)
    return made


def _head(order: dict[str, Any]) -> "RenderableType":
    from domain.money import format_minor  # noqa: PLC0415

    amounts = order.get("amounts") or {"currency": ""}
    currency = amounts["currency"]

    def money(amount: int) -> str:
        return f"{format_minor(amount, currency)} {currency}" if currency else str(amount)

    made = table("", "", title=escape(f"{order['channel']}:{order['shop']}:{order['order_no']}"))
    made.show_header = False
    made.add_row("state", state_word(order.get("state", "")))
    if order.get("fulfilment") != order.get("state"):
        made.add_row("fulfilment", state_word(order.get("fulfilment", "")))
    made.add_row("channel's word", escape(order.get("native_status", "")))
    for title, name in (
        ("ordered", "ordered_at"),
        ("pay by", "pay_by"),
        ("paid", "paid_at"),
        ("shipped", "shipped_at"),
        ("completed", "completed_at"),
        ("cancelled", "cancelled_at"),
        ("modified", "modified_at"),
    ):
        if time := order.get(name):
            made.add_row(title, f"{escape(time['local'])}  (source: {escape(time['text'])})")
    made.add_row("payable", money(amounts.get("payable", 0)))
    made.add_row("amount paid", money(order.get("amount_paid", 0)))
    if order.get("refunded"):
        made.add_row("refunded", money(order["refunded"]))
    for title, name in (
        ("region", "region"),
        ("customer (digest)", "customer"),
        ("pick list", "pick_list"),
        ("cancelled because", "cancel_reason"),
        ("source", "source_tag"),
        ("field mapping", "mapping"),
        ("last changed by", "updated_by"),
    ):
        if order.get(name):
            made.add_row(title, escape(orders_named(str(order[name]))))
    if order.get("approvals"):
        approvals = ", ".join(f"{name} ({state})" for name, state in order["approvals"].items())
        made.add_row("waits for approval", escape(approvals))
    if order.get("holds"):
        made.add_row("held by the platform", escape(", ".join(order["holds"])))
    for allocation in order.get("allocations", ()):
        lines = ", ".join(f"{sku}×{units}" for sku, units in allocation["lines"])
        area = f", area {allocation['area']}" if allocation.get("area") else ""
        scanned = ", ".join(f"{sku}×{units}" for sku, units in allocation.get("scanned", ()))
        seen = f"; scanned {scanned}" if scanned else ""
        made.add_row("allocated", escape(f"warehouse {allocation['warehouse']}{area}: {lines}{seen}"))
    counts = {name: order.get(name, 0) for name in ("amended", "repeated", "outdated", "refused", "queued")}
    made.add_row("messages", ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "one")
    made.add_row("version · position", f"{order.get('version', 0)} · {order.get('position', 0)}")
    return made


def _lines(order: dict[str, Any]) -> "RenderableType":
    from domain.money import format_minor  # noqa: PLC0415

    currency = (order.get("amounts") or {}).get("currency", "CNY")
    made = table(
        *("line", "SKU", "name", "units", "amount", "status", "after-sale"),
        title="商品 Lines",
        right=("units", "amount"),
    )
    for item in order["items"]:
        units = f"{item['quantity']}" + (f" (-{item['cancelled']})" if item.get("cancelled") else "")
        made.add_row(
            escape(item["id"]),
            escape(item["sku"] or f"? {item.get('item', '')}"),
            escape(item.get("name", "") + (" 🎁" if item.get("gift") else "")),
            units,
            format_minor(item.get("amount", 0), currency),
            item.get("status", "open"),
            item.get("after_sale", ""),
        )
    return made


def _fields(title: str, fields: dict[str, Any]) -> "RenderableType":
    import msgspec  # noqa: PLC0415

    made = table("field", "value", title=title)
    for name, value in fields.items():
        if value in ("", {}, []):
            continue
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        made.add_row(escape(str(name)), escape(text))
    return made
