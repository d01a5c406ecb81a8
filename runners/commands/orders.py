"""`orders`, `order`, `intake`, `status`: what the read models show. They work without a running `up`."""

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from runners.commands.acting import name_of, order_of
from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    Rows,
    escape,
    moment,
    moment_said,
    print_json,
    say,
    settings_of,
    show,
    state_word,
    table,
)

if TYPE_CHECKING:
    from runners.settings import Settings
    from runners.vitals import Vitals

State = Literal["awaiting_payment", "paid", "allocating", "shipped", "completed", "cancelled", "after_sale"]
ITEMS_SHOWN_MAX = 4


def orders(
    *,
    state: Annotated[State | None, Parameter(help="Only orders in this state.")] = None,
    channel: Annotated[str | None, Parameter(help="Only this channel.")] = None,
    shop: Annotated[str | None, Parameter(help="Only this shop.")] = None,
    hold: Annotated[bool, Parameter(negative="", help="Only those that something keeps from being shipped.")] = False,
    pick: Annotated[bool, Parameter(negative="", help="Only those whose pick list waits for its scan-out.")] = False,
    tracking: Annotated[str | None, Parameter(help="Only the order of this parcel.")] = None,
    limit: Annotated[Rows, Parameter(help="Most orders shown, the last changed first.")] = 50,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """List orders, the last changed first."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    asked = {"state": state, "channel": channel, "shop": shop, "tracking": tracking}
    filters: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if hold:
        filters["held"] = True
    if pick:
        filters["pick_list"] = True
    settings = settings_of(data)
    with closing(open_read_models(settings)) as views:
        rows = views.orders(filters, limit)
    if json:
        print_json(rows)
        return Exit.OK
    made = table("order", "state", "items", "paid", "ordered", "held", right=("paid",))
    for row in rows:
        made.add_row(
            escape(name_of(row)),
            state_word(row["state"]),
            escape(_items(row["items"])),
            _money(row["amount_paid"], row["currency"]),
            escape(row["ordered_at"][:19]),
            "■" if row["held"] or row["quarantined"] else "",
        )
    show(made)
    say(f"{len(rows):,} order{'' if len(rows) == 1 else 's'}" + (" (--limit shows more)" if len(rows) == limit else ""))
    _say_if_behind(settings)
    return Exit.OK


def order(
    key: Annotated[str, Parameter(name="ORDER", help="Key, channel:shop:number, or the number where it is unique.")],
    /,
    *,
    reveal: Annotated[bool, Parameter(negative="", help="Show personal data whole instead of masked.")] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Everything about one order, its personal half opened for this look only."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415
    from runners.commands.order_page import ERASED, page_of, personal_of, timeline_of  # noqa: PLC0415

    settings = settings_of(data)
    name = order_of(settings, key)
    with closing(open_read_models(settings)) as views:
        found = views.order(name)
    behind = _behind(settings)
    if found is None:
        more = f"; the read models are {behind:,} events behind the log, so try again soon" if behind else ""
        raise Failure(Exit.REFUSED, f"no order {name} in {settings.data}{more}")
    sealed = found.pop("sealed")
    personal = ERASED if found.get("erased") else personal_of(settings, name, sealed, reveal=reveal)
    happened, earlier = timeline_of(settings, name)
    if json:
        print_json({**found, "personal": personal, "behind": behind, "timeline": happened, "earlier": earlier})
        return Exit.OK
    show(*page_of(found, personal, happened, earlier, settings.zone))
    if behind:
        say(f"the read models are {behind:,} events behind the log: the newest may be missing here")
    return Exit.OK


def intake(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """What became of everything that came in, for each channel and shop."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    settings = settings_of(data)
    with closing(open_read_models(settings)) as views:
        rows = views.intake()
    if json:
        print_json(rows)
        return Exit.OK
    words = {
        "accepted": "接收 accepted",
        "amended": "更新 amended",
        "repeated": "重复 repeated",
        "outdated": "过期 outdated",
        "refused": "拒绝 refused",
        "quarantined_open": "隔离 quarantined",
        "hints": "提示 hints",
        "ignored": "忽略 ignored",
        "unmatched": "未匹配 unmatched",
    }
    made = table("channel", "shop", *words.values(), right=tuple(words.values()))
    for row in rows:
        made.add_row(escape(row["channel"]), escape(row["shop"]), *(f"{row[name]:,}" for name in words))
    show(made)
    _say_if_behind(settings)
    return Exit.OK


def status(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """How things stand: positions, what waits, what needs a person. Code 1: a part of `up` dies again and again."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415
    from runners.lock import build_version, holder_of  # noqa: PLC0415

    settings = settings_of(data)
    holder = holder_of(settings.path)
    vitals = asyncio.run(_vitals(settings))
    code = Exit.REFUSED if vitals.failing_parts else Exit.OK
    with closing(open_read_models(settings)) as views:
        states = views.count_orders()
        models = [{**row, "live": bool(row["live"])} for row in views.positions()]
    kept = _snapshots(settings, vitals)
    if json:
        import msgspec  # noqa: PLC0415

        print_json(
            {
                "version": build_version(),
                "data": settings.data,
                "cell": settings.cell,
                "running": msgspec.to_builtins(holder) if holder else None,
                **msgspec.to_builtins(vitals),
                "states": states,
                "read_models": models,
                "snapshots": kept,
            }
        )
        return code
    made = table("", "", title=f"OrderSpine {build_version()} · {settings.data} · cell {settings.cell}")
    made.show_header = False
    made.add_row(
        "running",
        f"process {holder.pid}, since {moment_said(holder.since, settings.zone)}"
        if holder
        else "no (`orderspine up` starts it)",
    )
    for failing in vitals.failing_parts:
        made.add_row(
            f"{failing.part} does not run",
            f"ended {failing.deaths:,} times in a row since {moment(failing.since_ms, settings.zone)}",
        )
    made.add_row("events in the log", f"{vitals.head:,}")
    made.add_row("mail waiting", _number(vitals.backlog))
    made.add_row("read models", _number(vitals.projector_lag, " events behind"))
    made.add_row("snapshots for looks back", _newest(settings, kept))
    made.add_row("public feed", _number(vitals.relay_lag, " events behind"))
    made.add_row("signed checkpoint", _sealed(vitals, settings.zone))
    made.add_row("HTTP gateway", vitals.gateway or "not running")
    trouble = f", {vitals.shops_troubled:,} in trouble" if vitals.shops_troubled else ""
    made.add_row("connected shops", f"{vitals.shops:,}{trouble}")
    made.add_row("held orders", f"{vitals.held:,}")
    made.add_row("quarantined", f"{vitals.quarantined:,}")
    for state, count in states.items():
        made.add_row(state_word(state), f"{count:,}")
    show(made)
    for failing in vitals.failing_parts:
        heard = settings.path / ("broker/server.log" if failing.part == "broker" else f"log/{failing.part}.log")
        say(
            f"{failing.part} does not run: it {failing.why}. Mend what is named there; it is then started again by "
            f"itself. Everything it said is in {heard}"
        )
    if vitals.seal_refused:
        say(f"the log is not signed any more: {vitals.seal_refused}")
    if vitals.witness_trouble:
        say(f"the witness does not follow: {vitals.witness_trouble}")
    if vitals.quarantined:
        say("`orderspine quarantine list` shows what is quarantined")
    if vitals.shops_troubled:
        say("`orderspine channels list` shows what is wrong with which shop")
    if vitals.held:
        say("`orderspine orders --hold` shows what is held")
    return code


def _sealed(vitals: "Vitals", zone: str) -> str:
    """Say how far the log is signed, and since when it is not."""
    from datetime import datetime  # noqa: PLC0415

    from domain.timehub import zone_of  # noqa: PLC0415

    if vitals.sealed is None:
        return "none yet"
    behind = max(0, vitals.head - vitals.sealed)
    text = f"event {vitals.sealed:,}" + (f", {behind:,} behind" if behind else "")
    if not vitals.seal_refused:
        return text
    since = datetime.fromtimestamp(vitals.seal_refused_since_ms / 1000, zone_of(zone)).isoformat(" ", "seconds")
    return f"refused since {since}; {text}"


def _snapshots(settings: "Settings", vitals: "Vitals") -> dict[str, Any]:
    """Return what is kept of the read models for looks back: the newest's position and time (0 = there is none)."""
    from domain.envelope import decode_envelope  # noqa: PLC0415
    from runners.bootstrap import open_log  # noqa: PLC0415
    from runners.snapshots import FOLDER, Snapshots  # noqa: PLC0415

    held = Snapshots(settings.path / FOLDER, vitals.generation).all()
    newest = max((each.position for each in held), default=0)
    at_ms = 0
    if newest:
        with closing(open_log(settings, read_only=True)) as log:
            last = log.read(newest - 1, 1)
        at_ms = decode_envelope(last[0].envelope).at if last else 0
    size = sum(each.file.stat().st_size for each in held if each.file.exists())
    return {
        "every": settings.snapshot_every,
        "newest": newest,
        "at_ms": at_ms,
        "behind": vitals.head - newest if newest else None,
        "read_models": sum(each.position == newest for each in held),
        "kept": len(held),
        "bytes": size,
    }


def _newest(settings: "Settings", kept: dict[str, Any]) -> str:
    from runners.history import local  # noqa: PLC0415

    if not kept["newest"]:
        return f"none yet (one each {kept['every']:,} events)" if kept["every"] else "none (snapshot_every is 0)"
    when = f", {local(kept['at_ms'], settings.zone)}" if kept["at_ms"] else ""
    return (
        f"newest at position {kept['newest']:,}{when}, {kept['behind']:,} events behind; "
        f"{kept['kept']:,} files, {kept['bytes'] / 1e6:,.1f} MB"
    )


async def _vitals(settings: "Settings") -> "Vitals":
    from adapters.nats.connection import connect  # noqa: PLC0415
    from adapters.nats.errors import BrokerError  # noqa: PLC0415
    from runners.bootstrap import broker_address  # noqa: PLC0415
    from runners.lock import holder_of  # noqa: PLC0415
    from runners.vitals import Gauge  # noqa: PLC0415

    gauge = Gauge(settings)
    try:
        if settings.broker == "embedded" and holder_of(settings.path) is None:
            return await gauge.read(None)
        try:
            nc = await connect(broker_address(settings), "orderspine-status", timeout_s=2.0)
        except (BrokerError, FileNotFoundError):
            return await gauge.read(None)
        try:
            return await gauge.read(nc)
        finally:
            await nc.close()
    finally:
        gauge.close()


def _behind(settings: "Settings") -> int:
    """Return how many events the read models are behind the log."""
    from runners.bootstrap import open_log, open_read_models  # noqa: PLC0415
    from runners.vitals import read_position  # noqa: PLC0415

    with closing(open_log(settings, read_only=True)) as log, closing(open_read_models(settings)) as views:
        tracked = log.tracked()
        return max(0, tracked.head - read_position(views, tracked.generation))


def _say_if_behind(settings: "Settings") -> None:
    if behind := _behind(settings):
        say(f"the read models are {behind:,} events behind the log: the newest may be missing here")


def _items(items: list[dict[str, Any]]) -> str:
    shown = [f"{item['sku'] or item.get('item', '?')}×{item['quantity']}" for item in items[:ITEMS_SHOWN_MAX]]
    return ", ".join(shown) + (f" … ({len(items)})" if len(items) > ITEMS_SHOWN_MAX else "")


def _money(amount: int, currency: str) -> str:
    from domain.money import format_minor  # noqa: PLC0415

    return f"{format_minor(amount, currency)} {currency}" if currency else ""


def _number(value: int | None, unit: str = "") -> str:
    return "unknown (not running)" if value is None else f"{value:,}{unit}"
