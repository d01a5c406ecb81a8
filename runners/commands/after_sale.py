"""`after-sale`, `return`: what customers want put right, from the wish to the money or goods sent back."""

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from runners.commands.acting import SENDING, OnOrder, Sending
from runners.commands.after_sale_looks import cases_of, list_, reasons, words
from runners.commands.common import Exit, Failure
from runners.commands.fulfil import OrderName, pair_of

app = App(
    name="after-sale",
    help="After-sales 售后: open, approve or decline, take goods back, refund, exchange, close; list, count reasons.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine after-sale open 2231958349 --kind return_refund --reason 质量问题 --line 1=1\n"
        "  orderspine after-sale approve 2231958349\n"
        "  orderspine after-sale receive 2231958349 --good 1=1\n"
        "  orderspine after-sale refund 2231958349\n"
        "  orderspine after-sale list\n"
        "  orderspine after-sale reasons --quarter 2026Q1"
    ),
)

CaseOption = Annotated[int, Parameter(name="--case", help="Number of the case, where the order has several.")]
LineOption = Annotated[
    tuple[str, ...], Parameter(help="LINE=UNITS; may be given again. Left out: all that can be of what was bought.")
]
UnitsOption = Annotated[tuple[str, ...], Parameter(help="LINE=UNITS; may be given again.")]
WarehouseOption = Annotated[str, Parameter(help="Code of the warehouse. Left out: the one that is asked first.")]
REASON_HELP = "Why: a word of the list, in Chinese or English (`after-sale words` shows it)."

app.command(list_, name="list")
app.command(reasons)
app.command(words)


@app.command(name="open")
def open_(
    order: OrderName,
    /,
    *,
    kind: Annotated[
        str,
        Parameter(help="What is to be done: refund_only, return_refund, exchange, reship, repair, price_protection."),
    ],
    reason: Annotated[str, Parameter(help=REASON_HELP)],
    line: LineOption = (),
    reference: Annotated[str, Parameter(help="The channel's number of it, where it has one.")] = "",
    sending: Sending = SENDING,
) -> Exit:
    """Open a case; one that the channel has opened for the same lines gets these facts instead."""
    from domain.after_sale import KINDS, REASONS, OpenAfterSale  # noqa: PLC0415

    facts = (word_of(kind, KINDS, "--kind"), word_of(reason, REASONS, "--reason"))
    on = sending.on(order)
    body = OpenAfterSale(on.own, *facts, _pairs(line, "--line"), reference)
    return on.send(body, "service", "after-sale", f"after-sale of {order} opened")


@app.command
def approve(
    order: OrderName,
    /,
    *,
    case: CaseOption = 0,
    sending: Sending = SENDING,
) -> Exit:
    """Agree to a case; what a refund is about and has not left yet is cancelled by it."""
    from domain.after_sale import ApproveAfterSale  # noqa: PLC0415

    on = sending.on(order)
    body = ApproveAfterSale(on.own, _case(on, order, case))
    return on.send(body, "service", "after-sale", f"case {body.case} of {order} approved")


@app.command
def decline(
    order: OrderName,
    /,
    *,
    reason: Annotated[str, Parameter(help=REASON_HELP)],
    case: CaseOption = 0,
    sending: Sending = SENDING,
) -> Exit:
    """Decline a case."""
    from domain.after_sale import DECLINES, DeclineAfterSale  # noqa: PLC0415

    why = word_of(reason, DECLINES, "--reason")
    on = sending.on(order)
    body = DeclineAfterSale(on.own, _case(on, order, case), why)
    return on.send(body, "service", "after-sale", f"case {body.case} of {order} declined")


@app.command
def track(
    order: OrderName,
    /,
    *,
    tracking: Annotated[str, Parameter(help="The parcel's number.")],
    carrier: Annotated[str, Parameter(help="Who carries it.")],
    case: CaseOption = 0,
    sending: Sending = SENDING,
) -> Exit:
    """Note the parcel in which the customer sends goods back."""
    from domain.after_sale import AnnounceReturn  # noqa: PLC0415

    on = sending.on(order)
    body = AnnounceReturn(on.own, _case(on, order, case), carrier, tracking)
    return on.send(body, "service", "after-sale", f"goods of case {body.case} of {order} are on their way")


@app.command
def receive(
    order: OrderName,
    /,
    *,
    good: UnitsOption = (),
    damaged: UnitsOption = (),
    missing: UnitsOption = (),
    case: CaseOption = 0,
    warehouse: WarehouseOption = "",
    sending: Sending = SENDING,
) -> Exit:
    """Take goods of a case back: good ones are available again, damaged ones are counted apart."""
    from domain.after_sale import ReceiveReturn  # noqa: PLC0415

    on = sending.on(order)
    number = _case(on, order, case)
    looked_at = (_pairs(good, "--good"), _pairs(damaged, "--damaged"), _pairs(missing, "--missing"))
    body = ReceiveReturn(on.own, number, *looked_at, warehouse)
    return on.send(body, "keeper", "after-sale", f"goods of case {number} of {order} received")


@app.command
def refund(
    order: OrderName,
    /,
    *,
    amount: Annotated[
        tuple[str, ...],
        Parameter(
            help="LINE=AMOUNT in the order's currency, or AMOUNT alone for what is no line's, as freight; may be "
            "given again. Left out: all that the case's units cost."
        ),
    ] = (),
    method: Annotated[str, Parameter(help="original (原路退回) or transfer (转账).")] = "original",
    reference: Annotated[str, Parameter(help="Number of the payment, where it has one.")] = "",
    approval: Annotated[str, Parameter(help="Which approval allows it, where it is above the limit.")] = "",
    case: CaseOption = 0,
    sending: Sending = SENDING,
) -> Exit:
    """Record that money of a case goes back; never more than was paid, less what went back before."""
    from domain.after_sale import METHODS, RefundAfterSale  # noqa: PLC0415

    on = sending.on(order)
    number = _case(on, order, case)
    how: Any = word_of(method, METHODS, "--method")
    amounts = tuple(_money(text, on) for text in amount)
    body = RefundAfterSale(on.own, number, amounts, how, reference, approval)
    return on.send(body, "finance", "after-sale", f"refund for case {number} of {order}")


@app.command
def exchange(
    order: OrderName,
    /,
    *,
    sku: Annotated[
        tuple[str, ...], Parameter(help="SKU=UNITS to be sent; may be given again. Left out: the same.")
    ] = (),
    case: CaseOption = 0,
    warehouse: WarehouseOption = "",
    sending: Sending = SENDING,
) -> Exit:
    """Send other goods for a case: they are reserved, and a pick list goes out; `ship` sends them."""
    from domain.after_sale import SendReplacement  # noqa: PLC0415

    on = sending.on(order)
    number = _case(on, order, case)
    body = SendReplacement(on.own, number, _pairs(sku, "--sku"), warehouse)
    return on.send(body, "service", "after-sale", f"replacement for case {number} of {order} asked for")


@app.command
def close(
    order: OrderName,
    /,
    *,
    case: CaseOption = 0,
    sending: Sending = SENDING,
) -> Exit:
    """Close a case: nothing more is to be done. A replacement that has not left is called off."""
    from domain.after_sale import CloseAfterSale  # noqa: PLC0415

    on = sending.on(order)
    body = CloseAfterSale(on.own, _case(on, order, case))
    return on.send(body, "service", "after-sale", f"case {body.case} of {order} closed")


def return_(
    order: OrderName,
    lines: Annotated[tuple[str, ...], Parameter(name="LINE=UNITS", help="What came back and may be sold again.")] = (),
    /,
    *,
    damaged: UnitsOption = (),
    missing: UnitsOption = (),
    reason: Annotated[str, Parameter(help=REASON_HELP)] = "other",
    warehouse: WarehouseOption = "",
    sending: Sending = SENDING,
) -> Exit:
    """Take goods of an order back: for its open case of these lines, or for one that is opened by it."""
    from domain.after_sale import REASONS, ReceiveReturn  # noqa: PLC0415

    looked_at = (_pairs(lines, "LINE=UNITS"), _pairs(damaged, "--damaged"), _pairs(missing, "--missing"))
    if not any(looked_at):
        raise Failure(Exit.USAGE, "what came back? Name lines: `orderspine return ORDER 1=2 --damaged 2=1`")
    why = word_of(reason, REASONS, "--reason")
    on = sending.on(order)
    body = ReceiveReturn(on.own, 0, *looked_at, warehouse, why)
    return on.send(body, "keeper", "after-sale", f"return of {order} received")


def word_of(text: str, words: Mapping[Any, str], option: str) -> Any:
    """Return the word of a list that is meant, given in English or Chinese.

    Raises:
        Failure: there is none.
    """
    wanted = text.strip()
    for code, chinese in words.items():
        if wanted in (code, code.replace("_", "-"), chinese, *chinese.split("/")):
            return code
    known = ", ".join(f"{code} {chinese}" for code, chinese in words.items())
    raise Failure(Exit.USAGE, f"{option} {text[:40]!r}: choose one of {known}")


def _pairs(texts: tuple[str, ...], where: str) -> tuple[tuple[str, int], ...]:
    return tuple(pair_of(text, where) for text in texts)


def _money(text: str, on: OnOrder) -> tuple[str, int]:
    from domain.money import BadMoney, minor  # noqa: PLC0415

    line, _, amount = (part.strip() for part in text.rpartition("="))
    try:
        value = minor(amount, on.currency())
    except BadMoney as error:
        raise Failure(Exit.USAGE, f"--amount {text[:40]!r}: {error}") from error
    if value <= 0:
        raise Failure(Exit.USAGE, f"--amount {text[:40]!r}: an amount above 0 is needed")
    return line, value


def _case(on: OnOrder, order: str, number: int) -> int:
    """Return the number of the case that is meant: the only one of the order that is not over, where none is named.

    Raises:
        Failure: there is none, or there are several.
    """
    if number:
        return number
    rows = cases_of(on.settings, on.key, open_only=False, limit=1_000)
    left = [row["number"] for row in rows if row["stage"] not in ("declined", "closed")]
    if len(left) == 1:
        return int(left[0])
    if not left:
        raise Failure(
            Exit.REFUSED,
            f"{order} has no after-sale that is not over. If it was opened just now, try again in a second, "
            "or name it with --case",
        )
    raise Failure(Exit.USAGE, f"{order} has several after-sales: say which with --case ({', '.join(map(str, left))})")
