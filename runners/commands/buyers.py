"""`buyers`: what was agreed with customers: grade, tags, credit limit, prices; rules ask of it."""

import csv
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from runners.commands.acting import act, command_id_of, mail_of
from runners.commands.common import (
    DATA_DEFAULT,
    CommandIdOption,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    print_json,
    say,
    settings_of,
    show,
    table,
)
from runners.commands.mapping import channel_of

if TYPE_CHECKING:
    from domain.buyers import Buyer, Prices
    from runners.settings import Settings

app = App(
    name="buyers",
    help="What was agreed with customers; rules ask of it with customer(…).",
    help_epilogue=(
        "Examples:\n"
        "  orderspine buyers set --channel generic --customer ACME --grade dealer --credit 50000 --prices acme.csv\n"
        "  orderspine buyers list"
    ),
)

ChannelOption = Annotated[str, Parameter(help="The channel that knows the customer, for example generic.")]
CustomerOption = Annotated[
    str, Parameter(help="The channel's id of the customer, exactly; only its keyed digest is kept.")
]
ROLE = "sales"


@app.command(name="set")
def set_(
    *,
    channel: ChannelOption,
    customer: CustomerOption,
    grade: Annotated[str, Parameter(help="A word for what he is: dealer, partner …")] = "",
    tag: Annotated[list[str] | None, Parameter(help="A word more; may be given several times.")] = None,
    credit: Annotated[str, Parameter(help="What he may owe, in whole units of the currency: 50000 or 50000.00.")] = "0",
    currency: Annotated[str, Parameter(help="Of credit and prices.")] = "CNY",
    prices: Annotated[Path | None, Parameter(help="CSV with the columns sku and price: his own price list.")] = None,
    reason: Annotated[str, Parameter(help="Why; it is recorded. Name no person in it.")] = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Enter what was agreed with a customer; it takes the place of all that was entered before."""
    from domain.buyers import SetBuyer  # noqa: PLC0415
    from domain.ids import BUYERS_KEY  # noqa: PLC0415
    from domain.money import BadMoney, minor  # noqa: PLC0415

    settings = settings_of(data)
    channel_of(settings, channel)
    try:
        limit = minor(credit, currency)
    except BadMoney as error:
        raise Failure(Exit.USAGE, f"--credit {credit}: {error}") from error
    listed = _prices(prices, currency) if prices is not None else ()
    own = command_id_of(command_id)
    terms = SetBuyer(own, _name(settings, channel, customer), grade, tuple(tag or ()), currency, limit, listed, reason)
    mail = mail_of(BUYERS_KEY, terms, ROLE, "buyers set")
    return act(settings, mail, f"terms of a customer of {channel}", json=json, command_id=own, buyer=terms.buyer)


@app.command(name="list")
def list_(
    *,
    channel: Annotated[str, Parameter(help="Only this one.")] = "",
    customer: Annotated[str, Parameter(help="Only him.")] = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Show the customers with whom something was agreed, and what they owe."""
    from domain.money import format_minor  # noqa: PLC0415

    settings = settings_of(data)
    only = _name(settings, channel, customer) if channel and customer else ""
    found = {
        name: buyer
        for name, buyer in sorted(_known(settings).items())
        if (not only or name == only) and (not channel or name.startswith(f"{channel}:"))
    }
    if json:
        print_json([{"buyer": name, **_document(buyer)} for name, buyer in found.items()])
        return Exit.OK
    made = table("buyer", "grade", "tags", "credit limit", "owes", "prices", right=("credit limit", "owes", "prices"))
    for name, buyer in found.items():
        limit, owes = (format_minor(each, buyer.currency) for each in (buyer.credit_limit, sum(buyer.owes.values())))
        words = (name, buyer.grade, ", ".join(buyer.tags), f"{limit} {buyer.currency}", owes, str(len(buyer.prices)))
        made.add_row(*map(escape, words))
    show(made)
    if not found:
        say("nothing was agreed with anybody; enter it with: orderspine buyers set")
    return Exit.OK


def _document(buyer: "Buyer") -> dict[str, Any]:
    return {
        "grade": buyer.grade,
        "tags": list(buyer.tags),
        "currency": buyer.currency,
        "credit_limit": buyer.credit_limit,
        "owes": dict(sorted(buyer.owes.items())),
        "prices": dict(sorted(buyer.prices.items())),
    }


def _name(settings: "Settings", channel: str, customer: str) -> str:
    from domain.ids import BadId, buyer_of  # noqa: PLC0415
    from runners.bootstrap import open_vault  # noqa: PLC0415
    from runners.preparing import customer_digest  # noqa: PLC0415

    vault = open_vault(settings)
    try:
        return buyer_of(channel, customer_digest(customer, vault.digest_key()) if customer else "")
    except BadId as error:
        raise Failure(Exit.USAGE, str(error)) from error
    finally:
        vault.close()


def _known(settings: "Settings") -> "dict[str, Buyer]":
    from domain.buyers import Buyers, buyers  # noqa: PLC0415
    from domain.catalogue import decode_event  # noqa: PLC0415
    from domain.decider import fold  # noqa: PLC0415
    from domain.ids import BUYERS_KEY  # noqa: PLC0415
    from runners.bootstrap import open_log  # noqa: PLC0415

    with closing(open_log(settings, read_only=True)) as log:
        loaded = log.select_many([BUYERS_KEY]).get(BUYERS_KEY)
    state: Buyers = fold(buyers, [decode_event(each.tag, each.data) for each in loaded.events] if loaded else [])
    return dict(state.known)


def _prices(file: Path, currency: str) -> "Prices":
    from domain.money import BadMoney, minor  # noqa: PLC0415

    prices: dict[str, int] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            if not {"sku", "price"} <= set(reader.fieldnames or ()):
                raise Failure(Exit.USAGE, f"{file}: the header must have the columns sku and price")
            for number, row in enumerate(reader, 2):
                sku, price = (row["sku"] or "").strip(), (row["price"] or "").strip()
                if not sku and not price:
                    continue
                try:
                    cost = minor(price, currency)
                except BadMoney as error:
                    raise Failure(Exit.USAGE, f"{file}, row {number}: {error}") from error
                if not sku or cost < 0 or prices.setdefault(sku, cost) != cost:
                    problem = "no SKU" if not sku else "a price below zero" if cost < 0 else f"two prices of {sku}"
                    raise Failure(Exit.USAGE, f"{file}, row {number}: {problem}")
    except UnicodeDecodeError as error:
        raise Failure(Exit.USAGE, f"{file} is not UTF-8: save it as UTF-8") from error
    except OSError as error:
        raise Failure(Exit.USAGE, f"{file} cannot be read: {error.strerror}") from error
    return tuple(prices.items())
