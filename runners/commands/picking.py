"""`scan` and `pick`: what the warehouse is to pick next, and each unit scanned into its parcel."""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter, validators

from runners.commands.acting import GOOD, act, command_id_of, mail_of, order_to_act_on, send
from runners.commands.common import (
    DATA_DEFAULT,
    CommandIdOption,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    Rows,
    escape,
    moment,
    outcome_word,
    print_json,
    say,
    settings_of,
    show,
    table,
)
from runners.commands.fulfil import AllocationOption, OrderName
from runners.naming import orders_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.waves import Stop, Waiting
    from runners.settings import Settings

WAVE_MAX = 200
"""Most lists of one wave: more than any trolley carries."""
LISTS_MAX = 10_000
"""Most open lists that the next ones are chosen from."""
PRIORITIES = {"express": "即时 express", "urgent": "急件 urgent", "": ""}

app = App(
    name="pick",
    help="What a warehouse is to pick, and in which order.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine pick next\n"
        "  orderspine pick next --warehouse A --wave 10\n"
        "  orderspine pick next --area C\n"
        "  orderspine pick list --warehouse A\n"
        "  orderspine pick verified on --warehouse A"
    ),
)

WarehouseOption = Annotated[str, Parameter(help="Code of the warehouse.")]


def scan(
    order: OrderName,
    code: Annotated[str, Parameter(name="CODE", help="What was scanned: the SKU, or a barcode of it.")],
    /,
    *,
    units: Annotated[int, Parameter(help="Units of it.")] = 1,
    allocation: AllocationOption = "",
    lot: Annotated[str, Parameter(help="Its production lot.")] = "",
    back: Annotated[bool, Parameter(negative="", help="It goes back on the shelf: take the scan back.")] = False,
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """An item was scanned into an order's parcel; what its pick list does not want is refused and recorded."""
    from domain.picking import ScanItem, UnscanItem  # noqa: PLC0415
    from domain.stock import QUANTITY_MAX  # noqa: PLC0415

    if not 1 <= units <= QUANTITY_MAX:
        raise Failure(Exit.USAGE, f"--units: from 1 to {QUANTITY_MAX:,}")
    settings = settings_of(data)
    key = order_to_act_on(settings, order)
    own = command_id_of(command_id)
    body = (
        UnscanItem(own, code.strip(), allocation, units)
        if back
        else ScanItem(own, code.strip(), allocation, units, lot.strip())
    )
    replies, position = send(settings, [mail_of(key, body, "keeper", "scan")])
    reply = replies[0]
    left = _left(settings, key, own) if reply.outcome in GOOD else None
    if json:
        document = {"outcome": reply.outcome, "reason": reply.reason, "to": key, "position": position}
        print_json({**document, "command_id": own, **(left or {})})
    else:
        why = f" ({escape(reply.reason)})" if reply.reason else ""
        show(f"{outcome_word(reply.outcome)}: {'back: ' if back else ''}{escape(code)} × {units}{why}")
        if reply.outcome == "repeated":
            say("it was done before; nothing has changed")
        if left is not None:
            rest = f"{left['open']:,} units left" if left["open"] else "all of it is scanned 已校验 verified"
            show(f"{escape(left['sku'])}: {left['left']:,} left; {escape(orders_named(left['allocation']))}: {rest}")
    return Exit.OK if reply.outcome in GOOD else Exit.REFUSED


def _left(settings: "Settings", key: str, command: str) -> dict[str, Any] | None:
    """Return what the order's stream says of a scan that was taken."""
    from domain.catalogue import decode_event  # noqa: PLC0415
    from domain.picking import ItemScanned, ItemUnscanned  # noqa: PLC0415
    from runners.bootstrap import open_log  # noqa: PLC0415

    with closing(open_log(settings, read_only=True)) as log:
        events = log.select(key)
    for event in reversed(events):
        if event.tag in ("order.item_scanned", "order.item_unscanned"):
            facts = decode_event(event.tag, event.data)
            assert isinstance(facts, ItemScanned | ItemUnscanned)
            if facts.command == command:
                return {name: getattr(facts, name) for name in ("allocation", "sku", "left", "open")}
    return None


@app.command(name="next")
def next_(
    *,
    warehouse: WarehouseOption = "A",
    area: Annotated[str, Parameter(help="Part of it that works by itself; left out = the normal one.")] = "",
    wave: Annotated[
        int,
        Parameter(
            validator=validators.Number(gte=1, lte=WAVE_MAX), help="So many lists in one walk; express ones go alone."
        ),
    ] = 1,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """The next pick list, or a wave of them; works without a running `up`."""
    from domain.waves import Waiting, next_wave, walk  # noqa: PLC0415

    settings = settings_of(data)
    rows = _rows(settings, {"warehouse": warehouse, "area": area}, LISTS_MAX)
    # What is still to be worked on is fetched by the area that works on it, never in a normal wave.
    free = [row for row in rows if row["open"] and not row["stopped"] and (area or not row["processing"])]
    waiting = [Waiting(row["pick_list"], row["priority"], _open(row)) for row in free]
    lists = next_wave(waiting, wave)
    stops = walk(lists)
    chosen = {each.pick_list for each in lists}
    shown = [row for row in free if row["pick_list"] in chosen]
    stopped = sum(bool(row["stopped"]) for row in rows)
    if json:
        print_json(
            {
                "lists": shown,
                "walk": [{"sku": each.sku, "units": each.units, "lists": dict(each.lists)} for each in stops],
                "waiting": len(waiting) - len(lists),
                "stopped": stopped,
            }
        )
        return Exit.OK
    _show_lists(shown, f"拣货单 Pick lists, warehouse {warehouse}{f', area {area}' if area else ''}", settings.zone)
    _show_walk(stops, lists)
    if rows:
        say(f"{len(waiting) - len(lists):,} more wait, {stopped:,} are stopped")
    else:
        places = {(row["warehouse"], row["area"]) for row in _rows(settings, {}, LISTS_MAX)}
        told = ", ".join(f"--warehouse {code}" + (f" --area {part}" if part else "") for code, part in sorted(places))
        say("nothing is to be picked" + (f" here, but there is with {told}" if told else ""))
    return Exit.OK


@app.command(name="list")
def list_(
    *,
    warehouse: Annotated[str | None, Parameter(help="Only this warehouse.")] = None,
    area: Annotated[str | None, Parameter(help='Only this area; "" = the normal one.')] = None,
    limit: Annotated[Rows, Parameter(help="Most rows.")] = 1_000,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Open pick lists in the order in which they are picked, stopped ones too; works without a running `up`."""
    settings = settings_of(data)
    rows = _rows(settings, {"warehouse": warehouse, "area": area}, limit)
    if json:
        print_json(rows)
        return Exit.OK
    _show_lists(rows, "拣货单 Pick lists", settings.zone)
    if not rows:
        say("nothing is to be picked")
    return Exit.OK


@app.command
def verified(
    demand: Annotated[Literal["on", "off"], Parameter(name="on|off")],
    /,
    *,
    warehouse: WarehouseOption = "A",
    document: Annotated[str, Parameter(help="Number of this act; made anew if left out.")] = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Let goods leave the warehouse only when all of them were scanned, and nothing else (on), or without (off)."""
    from domain.shelf import SetPicking  # noqa: PLC0415
    from runners.commands.stock import ledger_of  # noqa: PLC0415

    settings = settings_of(data)
    own = command_id_of(document)
    body = SetPicking(own, verified=demand == "on")
    mail = mail_of(ledger_of(settings, warehouse), body, "keeper", "pick-verified")
    what = f"scans are {'demanded' if demand == 'on' else 'not demanded'} in warehouse {warehouse}"
    return act(settings, mail, what, json=json, document=own)


def _rows(settings: "Settings", asked: dict[str, str | None], limit: int) -> list[dict[str, Any]]:
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    with closing(open_read_models(settings)) as views:
        return views.pick_lists(asked, limit)


def _open(row: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    return tuple((sku, units - scanned) for sku, units, scanned in row["lines"] if units > scanned)


def _show_lists(rows: "Sequence[dict[str, Any]]", title: str, zone: str) -> None:
    words = ("#", "order", "allocation", "priority", "leave by", "area", "scanned", "errors", "picker", "stopped")
    made = table(*words, title=title, right=("#", "scanned", "errors"))
    for number, row in enumerate(rows, 1):
        by = moment(row["ship_by_ms"], zone)[5:16]
        back = any(scanned > units for _, units, scanned in row["lines"])
        marks = ([row["stopped"]] if row["stopped"] else []) + (["put back what is too much"] if back else [])
        made.add_row(
            str(number),
            escape(row["order_no"]),
            escape(row["allocation"].rpartition("/")[2]),
            PRIORITIES.get(row["priority"], escape(row["priority"])),
            by if row["ship_by_ms"] else "",
            escape(row["area"]) + (" (processing)" if row["processing"] else ""),
            f"{row['units'] - row['open']:,}/{row['units']:,}",
            f"{row['errors']:,}",
            escape(row["picker"]),
            escape("; ".join(marks)),
        )
    show(made)


def _show_walk(stops: "Sequence[Stop]", lists: "Sequence[Waiting]") -> None:
    if not stops:
        return
    made = table("SKU", "units", "for", title="波次 Walk", right=("units",))
    places = {each.pick_list: str(number) for number, each in enumerate(lists, 1)}
    for stop in stops:
        shares = ", ".join(f"list {places[name]} × {units:,}" for name, units in stop.lists)
        made.add_row(escape(stop.sku), f"{stop.units:,}", shares)
    show(made)
