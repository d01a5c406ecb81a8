"""`skus`: which SKU a channel's item is: import, set, remove and list entries; which items wait for one."""

from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import App, Parameter

from runners.commands.acting import GOOD, command_id_of, mail_of, send
from runners.commands.common import (
    DATA_DEFAULT,
    CommandIdOption,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    outcome_word,
    print_json,
    rows_in,
    say,
    settings_of,
    show,
    table,
)
from runners.commands.mapping import channel_of
from runners.sku_file import read_skus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from domain.mail import Body
    from domain.skus import Skus
    from runners.settings import Settings

CHUNK = 1_000
"""Items of one message."""

app = App(
    name="skus",
    help="Which SKU a channel's item is, for lines that name none.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine skus unmapped\n"
        "  orderspine skus set 650012345/998 DRL-18V-01 --channel taobao --shop flagship\n"
        "  orderspine skus import items.csv --channel taobao --shop flagship\n"
        "  orderspine skus list --channel taobao --shop flagship"
    ),
)

ChannelOption = Annotated[str, Parameter(help="Name of the channel, for example taobao.")]
ShopOption = Annotated[str, Parameter(help="The shop, as in the keys of its orders.")]
ReasonOption = Annotated[str, Parameter(help="Why, for the record.")]


@app.command(name="import")
def import_(
    file: Annotated[
        Path,
        Parameter(
            name="FILE.csv", help="CSV with the columns item and sku (also 商品ID, 商家编码); variant may follow."
        ),
    ],
    /,
    *,
    channel: ChannelOption,
    shop: ShopOption,
    reason: ReasonOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Enter what a file lists: all of it, or, where a row is wrong, nothing. Orders that wait go on at once."""
    settings = settings_of(data)
    channel_of(settings, channel)
    pairs, _ = rows_in(file, read_skus, "nothing was entered")
    from domain.skus import SetSkus  # noqa: PLC0415

    why = reason or file.name
    chunks = [tuple(pairs[start : start + CHUNK]) for start in range(0, len(pairs), CHUNK)]
    bodies = [SetSkus(command_id_of(""), chunk, why) for chunk in chunks]
    return _send(settings, channel, shop, bodies, f"{len(pairs):,} items of {file.name}", json=json)


@app.command(name="set")
def set_(
    item: Annotated[str, Parameter(name="ITEM", help="The channel's item, as `skus unmapped` shows it.")],
    sku: Annotated[str, Parameter(name="SKU")],
    /,
    *,
    channel: ChannelOption,
    shop: ShopOption,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Enter one item, or give it another SKU. Orders that wait for it go on at once."""
    from domain.skus import SetSkus  # noqa: PLC0415

    settings = settings_of(data)
    channel_of(settings, channel)
    body = SetSkus(command_id_of(command_id), ((item, sku),), reason)
    return _send(settings, channel, shop, [body], f"{item} is {sku}", json=json)


@app.command
def remove(
    *items: Annotated[str, Parameter(name="ITEM")],
    channel: ChannelOption,
    shop: ShopOption,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Take items out of the table. Orders keep the SKUs that they were given."""
    from domain.skus import RemoveSkus  # noqa: PLC0415

    if not items:
        raise Failure(Exit.USAGE, "say which items, for example `orderspine skus remove 6500/1 --channel …`")
    body = RemoveSkus(command_id_of(command_id), items, reason)
    return _send(settings_of(data), channel, shop, [body], f"removed {', '.join(items)}", json=json)


@app.command(name="list")
def list_(
    *,
    channel: Annotated[str, Parameter(help="Only this channel.")] = "",
    shop: Annotated[str, Parameter(help="Only this shop.")] = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """The entries; works without a running `up`."""
    rows = [
        {"channel": its.channel, "shop": its.shop, "item": item, "sku": sku}
        for its in _tables(settings_of(data), channel, shop)
        for item, sku in sorted(its.state.table.items())
    ]
    if json:
        print_json(rows)
        return Exit.OK
    made = table("channel", "shop", "item", "SKU")
    for row in rows:
        made.add_row(*(escape(row[name]) for name in ("channel", "shop", "item", "sku")))
    show(made)
    if not rows:
        say("no entries yet: `orderspine skus set ITEM SKU --channel NAME --shop SHOP`")
    return Exit.OK


@app.command
def unmapped(
    *,
    channel: Annotated[str, Parameter(help="Only this channel.")] = "",
    shop: Annotated[str, Parameter(help="Only this shop.")] = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Items that no SKU is known of, and how many orders wait for each; works without a running `up`."""
    rows: list[dict[str, Any]] = []
    for its in _tables(settings_of(data), channel, shop):
        orders: Counter[str] = Counter()
        names: dict[str, str] = {}
        first: dict[str, str] = {}
        for order, waits in sorted(its.state.waiting.items(), key=lambda pair: pair[1].number):
            for item, name in waits.items:
                orders[item] += 1
                names.setdefault(item, name)
                first.setdefault(item, order)
        rows += [
            {"channel": its.channel, "shop": its.shop, "item": item, "name": names[item], "orders": count,
             "first": first[item], "sku": its.state.table.get(item, "")}
            for item, count in orders.most_common()
        ]  # fmt: skip
    if json:
        print_json(rows)
        return Exit.OK
    made = table("channel", "shop", "item", "name", "orders", "first that waits", right=("orders",))
    for row in rows:
        cells = (escape(row[name]) for name in ("channel", "shop", "item", "name"))
        made.add_row(*cells, f"{row['orders']:,}", escape(row["first"]))
    show(made)
    say("`orderspine skus set ITEM SKU --channel NAME --shop SHOP` enters one" if rows else "no order waits for a SKU")
    return Exit.OK


def _send(settings: "Settings", channel: str, shop: str, bodies: "Sequence[Body]", what: str, *, json: bool) -> Exit:
    to = _key(channel, shop)
    replies, position = send(settings, [mail_of(to, body, "operations", "skus") for body in bodies])
    outcomes = Counter(reply.outcome for reply in replies)
    reasons = sorted({reply.reason for reply in replies if reply.reason})
    good = all(reply.outcome in GOOD for reply in replies)
    if json:
        print_json({"to": to, "outcomes": dict(outcomes), "reasons": reasons, "position": position})
    else:
        words = ", ".join(outcome_word(outcome) for outcome in outcomes)
        show(f"{words}: {escape(what)}" + (f" ({escape('; '.join(reasons))})" if reasons else ""))
        if outcomes["repeated"]:
            say("what was entered already has not changed")
    return Exit.OK if good else Exit.REFUSED


def _key(channel: str, shop: str) -> str:
    from domain.ids import BadId, skus_key  # noqa: PLC0415

    try:
        return skus_key(channel, shop)
    except BadId as error:
        raise Failure(Exit.USAGE, str(error)) from error


class Table(NamedTuple):
    """A shop's table, as the log has it."""

    channel: str
    shop: str
    state: "Skus"


def _tables(settings: "Settings", channel: str, shop: str) -> "Iterator[Table]":
    """Fold the tables of the channels and shops that anything came in from."""
    from domain.catalogue import decode_event  # noqa: PLC0415
    from domain.decider import fold  # noqa: PLC0415
    from domain.ids import BadId, skus_key  # noqa: PLC0415
    from domain.skus import skus  # noqa: PLC0415
    from runners.bootstrap import open_log, open_read_models  # noqa: PLC0415

    if channel and shop:
        wanted = [(channel, shop)]
    else:
        with closing(open_read_models(settings)) as views:
            rows = [(row["channel"], row["shop"]) for row in views.intake(channel or None, shop or None)]
        wanted = [pair for pair in rows if all(pair)]
    keys = {}
    for pair in wanted:
        with suppress(BadId):  # what came in of a shop that cannot be one
            keys[skus_key(*pair)] = pair
    with closing(open_log(settings, read_only=True)) as log:
        found = log.select_many(keys)
    for key, pair in keys.items():
        if key in found:
            events = [decode_event(event.tag, event.data) for event in found[key].events]
            yield Table(*pair, fold(skus, events))
