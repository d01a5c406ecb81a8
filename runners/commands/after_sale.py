"""`after-sale`, `return`: what customers want put right, from the wish to the money or goods sent back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from runners.commands.acting import act, command_id_of, mail_of, order_of
from runners.commands.after_sale_looks import cases_of, list_, reasons, words
from runners.commands.common import (
    DATA_DEFAULT,
    CommandIdOption,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    settings_of,
)
from runners.commands.fulfil import OrderName, pair_of

if TYPE_CHECKING:
    from domain.mail import Body
    from runners.settings import Settings

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
LineOption = Annotated[tuple[str, ...], Parameter(help="LINE=UNITS; may be given again. Left out: all that can be.")]
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
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Open a case; one that the channel has opened for the same lines gets these facts instead."""
    from domain.after_sale import KINDS, REASONS, OpenAfterSale  # noqa: PLC0415

    settings = settings_of(data)
    own = command_id_of(command_id)
    facts = (word_of(kind, KINDS, "--kind"), word_of(reason, REASONS, "--reason"))
    body = OpenAfterSale(own, *facts, _pairs(line, "--line"), reference)
    return _act(settings, order, body, "service", f"after-sale of {order} opened", json=json)


@app.command
def approve(
    order: OrderName,
    /,
    *,
    case: CaseOption = 0,
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Agree to a case; what a refund is about and has not left yet is cancelled by it."""
    from domain.after_sale import ApproveAfterSale  # noqa: PLC0415

    settings = settings_of(data)
    body = ApproveAfterSale(command_id_of(command_id), _case(settings, order, case))
    return _act(settings, order, body, "service", f"case {body.case} of {order} approved", json=json)


@app.command
def decline(
    order: OrderName,
    /,
    *,
    reason: Annotated[str, Parameter(help=REASON_HELP)],
    case: CaseOption = 0,
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Decline a case."""
    from domain.after_sale import DECLINES, DeclineAfterSale  # noqa: PLC0415

    settings = settings_of(data)
    why = word_of(reason, DECLINES, "--reason")
    body = DeclineAfterSale(command_id_of(command_id), _case(settings, order, case), why)
    return _act(settings, order, body, "service", f"case {body.case} of {order} declined", json=json)


@app.command
def track(
    order: OrderName,
    /,
    *,
    tracking: Annotated[str, Parameter(help="The parcel's number.")],
    carrier: Annotated[str, Parameter(help="Who carries it.")],
    case: CaseOption = 0,
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Note the parcel in which the customer sends goods back."""
    from domain.after_sale import AnnounceReturn  # noqa: PLC0415

    settings = settings_of(data)
    body = AnnounceReturn(command_id_of(command_id), _case(settings, order, case), carrier, tracking)
    return _act(settings, order, body, "service", f"goods of case {body.case} of {order} are on their way", json=json)


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
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Take goods of a case back: good ones are available again, damaged ones are counted apart."""
    from domain.after_sale import ReceiveReturn  # noqa: PLC0415

    settings = settings_of(data)
    number = _case(settings, order, case)
    looked_at = (_pairs(good, "--good"), _pairs(damaged, "--damaged"), _pairs(missing, "--missing"))
    body = ReceiveReturn(command_id_of(command_id), number, *looked_at, warehouse)
    return _act(settings, order, body, "keeper", f"goods of case {number} of {order} received", json=json)


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
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Record that money of a case goes back; never more than was paid, less what went back before."""
    from domain.after_sale import METHODS, RefundAfterSale  # noqa: PLC0415

    settings = settings_of(data)
    number = _case(settings, order, case)
    how: Any = word_of(method, METHODS, "--method")
    amounts = tuple(_money(text, settings, order) for text in amount)
    body = RefundAfterSale(command_id_of(command_id), number, amounts, how, reference, approval)
    return _act(settings, order, body, "finance", f"refund for case {number} of {order}", json=json)


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
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Send other goods for a case: they are reserved, and a pick list goes out; `ship` sends them."""
    from domain.after_sale import SendReplacement  # noqa: PLC0415

    settings = settings_of(data)
    number = _case(settings, order, case)
    body = SendReplacement(command_id_of(command_id), number, _pairs(sku, "--sku"), warehouse)
    return _act(settings, order, body, "service", f"replacement for case {number} of {order} asked for", json=json)


@app.command
def close(
    order: OrderName,
    /,
    *,
    case: CaseOption = 0,
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Close a case: nothing more is to be done. A replacement that has not left is called off."""
    from domain.after_sale import CloseAfterSale  # noqa: PLC0415

    settings = settings_of(data)
    body = CloseAfterSale(command_id_of(command_id), _case(settings, order, case))
    return _act(settings, order, body, "service", f"case {body.case} of {order} closed", json=json)


def return_(
    order: OrderName,
    lines: Annotated[tuple[str, ...], Parameter(name="LINE=UNITS", help="What came back and may be sold again.")] = (),
    /,
    *,
    damaged: UnitsOption = (),
    missing: UnitsOption = (),
    reason: Annotated[str, Parameter(help=REASON_HELP)] = "other",
    warehouse: WarehouseOption = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Take goods of an order back: for its open case of these lines, or for one that is opened by it."""
    from domain.after_sale import REASONS, ReceiveReturn  # noqa: PLC0415

    settings = settings_of(data)
    looked_at = (_pairs(lines, "LINE=UNITS"), _pairs(damaged, "--damaged"), _pairs(missing, "--missing"))
    if not any(looked_at):
        raise Failure(Exit.USAGE, "what came back? Name lines: `orderspine return ORDER 1=2 --damaged 2=1`")
    why = word_of(reason, REASONS, "--reason")
    body = ReceiveReturn(command_id_of(command_id), 0, *looked_at, warehouse, why)
    return _act(settings, order, body, "keeper", f"return of {order} received", json=json)


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


def _money(text: str, settings: "Settings", order: str) -> tuple[str, int]:
    from domain.money import BadMoney, minor  # noqa: PLC0415
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    line, _, amount = (part.strip() for part in text.rpartition("="))
    views = open_read_models(settings)
    try:
        found = views.order(order_of(settings, order)) or {}
    finally:
        views.close()
    try:
        value = minor(amount, (found.get("amounts") or {}).get("currency", "CNY"))
    except BadMoney as error:
        raise Failure(Exit.USAGE, f"--amount {text[:40]!r}: {error}") from error
    if value <= 0:
        raise Failure(Exit.USAGE, f"--amount {text[:40]!r}: an amount above 0 is needed")
    return line, value


def _case(settings: "Settings", order: str, number: int) -> int:
    """Return the number of the case that is meant: the only one of the order that is not over, where none is named.

    Raises:
        Failure: there is none, or there are several.
    """
    if number:
        return number
    rows = cases_of(settings, order_of(settings, order), open_only=False, limit=1_000)
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


def _act(settings: "Settings", order: str, body: "Body", role: str, what: str, *, json: bool) -> Exit:
    key = order_of(settings, order)
    own = getattr(body, "command_id", "")
    return act(settings, mail_of(key, body, role, "after-sale"), what, json=json, command_id=own)
