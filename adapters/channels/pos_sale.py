"""What one receipt means: a sale over the counter, a sale to be delivered, a void receipt, or a return."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from adapters.channels.pos_columns import Layout, Template, clean
from adapters.channels.pos_lines import Goods, goods_of
from adapters.channels.pos_money import Bill, PartOfReceipt, bill_of, is_means, split_payment
from adapters.channels.pos_receipt import (
    Cells,
    Identity,
    business_day,
    nature_of,
    original_of,
    reference_of,
    time_of,
    to_deliver,
)
from domain.canonical import (
    Amounts,
    Line,
    Personal,
    Return,
    ReturnLine,
    Snapshot,
    SourceTime,
    Status,
    Translated,
    TranslationError,
)
from domain.timehub import UnreadableTime

_HARMLESS: Final = ("till", "store_name", "delivery", "business_day")
_RETIME: Final = "correct the time, or export the file again"
_PRIVATE: Final = (
    *("cashier", "salesperson", "member", "phone", "reference", "remark", "payment"),
    *("receiver_name", "receiver_phone", "receiver_detail"),
)


def translate_receipt(layout: Layout, rows: tuple[Cells, ...], shop: str, template: Template) -> Translated | Return:
    """Translate the rows of one receipt.

    Raises:
        TranslationError: what is wrong, where, and what to do.
    """
    if len({layout.text(cells, "receipt") for cells in rows}) != 1 or not layout.text(rows[0], "receipt"):
        raise TranslationError("not the rows of one receipt number", "receipt", "import the file again")
    natures = [nature_of(layout, cells, template) for cells in rows]
    for cells, nature in zip(rows, natures, strict=True):
        if nature == "unknown":
            words = " / ".join(filter(None, (layout.text(cells, "kind"), layout.text(cells, "state"))))
            raise TranslationError(f"{words!r} is no known kind of receipt", "receipt", "add the word to the template")
    try:
        at, own = _when(layout, rows, shop, template)
        if "return" not in natures:
            return _sale(layout, rows, own, at, template)
        if set(natures) == {"return"}:
            return _return(layout, rows, own, at, template)
    except UnreadableTime as error:
        raise TranslationError(error.why, f"time {error.text[:40]!r}", error.advice or _RETIME) from None
    raise TranslationError(
        "the receipt has sales and returns (an exchange)", "receipt", "enter the return and the sale one by one"
    )


def missing(layout: Layout, rows: tuple[Cells, ...], template: Template) -> str:
    """Return what shows that these are not all rows of a receipt, and what to do; "" where nothing shows it."""
    if {nature_of(layout, cells, template) for cells in rows} not in ({"return"}, {"sale"}, {"sale", "void"}, {"void"}):
        return ""
    try:
        bill_of(layout, rows, goods_of(layout, rows, template), template)
    except PartOfReceipt as part:
        return f"{part.reason} ({part.advice})"
    except TranslationError:  # it is wrong in another way, as its translation will say
        return ""
    return ""


def _when(layout: Layout, rows: Sequence[Cells], shop: str, template: Template) -> tuple[SourceTime, Identity]:
    """Return the receipt's time (the first of its rows') and its own identity."""
    times = [(at, cells) for cells in rows if (at := time_of(layout, cells, template))]
    if not times:
        raise TranslationError("no row has a time", "receipt", "export the time of the sale as well")
    at, cells = min(times, key=lambda pair: pair[0].utc_ms)
    number = layout.text(cells, "receipt")
    day = "" if template.receipt_numbers_unique else business_day(layout, cells, at, template)
    return at, Identity(shop, number, day)


def _sale(layout: Layout, rows: tuple[Cells, ...], own: Identity, at: SourceTime, template: Template) -> Translated:
    goods = goods_of(layout, rows, template)
    bill = bill_of(layout, rows, goods, template)
    void = all(item.void for item in goods.values()) if goods else nature_of(layout, rows[0], template) == "void"
    if not void and any(item.void and not layout.value(item.cells, "line") for item in goods.values()):
        raise TranslationError(
            "some rows are void, and without line numbers it cannot be told which sale they take back",
            "receipt",
            "export line numbers, or remove what is void",
        )
    other = next((ref for cells in rows if (ref := reference_of(layout, cells)) not in ("", own.number)), "")
    if void and other:
        raise TranslationError(f"a void that takes back receipt {other}", "receipt", f"cancel {other} by hand")
    status, kind = _status(layout, rows, void, template)
    native = {word: None for cells in rows for m in ("state", "kind") if (word := layout.text(cells, m))}
    snapshot = Snapshot(
        channel=template.channel,
        shop=own.shop,
        order_no=own.order_no,
        status=status,
        native_status=" / ".join(native),
        amounts=Amounts(
            currency=template.currency,
            goods=bill.goods,
            discount=bill.discount,
            freight=bill.freight,
            payable=bill.payable,
            paid=0 if void else bill.paid,
        ),
        ordered_at=at,
        modified_at=at,
        lines=tuple(_line(layout, item, bill, _state(item, status)) for item in goods.values()),
        kind="normal" if kind == "normal" else "counter",
        paid_at=None if void else at,
        shipped_at=at if status == "completed" else None,
        completed_at=at if status == "completed" else None,
        cancelled_at=at if void else None,
        cancel_reason="void" if void else "",
        attributes=_attributes(layout, rows, own, bill),
        revision=len(goods) or 1,
    )
    return Translated(snapshot, _personal(layout, rows, goods, template))


def _status(layout: Layout, rows: Sequence[Cells], void: bool, template: Template) -> tuple[Status, str]:
    if void:
        return "cancelled", "counter"
    flags = [to_deliver(layout, cells, template) for cells in rows]
    if None in flags:
        word = next(layout.text(rows[n], "delivery") for n, flag in enumerate(flags) if flag is None)
        raise TranslationError(
            f"{word!r} is no known way of delivery", layout.name("delivery"), "add the word to the template"
        )
    return ("paid", "normal") if any(flags) else ("completed", "counter")


def _state(item: Goods, status: Status) -> Literal["open", "shipped", "cancelled"]:
    """Say it of each line: goods that a later export adds to a receipt were handed over with the others."""
    if item.void or status == "cancelled":
        return "cancelled"
    return "shipped" if status == "completed" else "open"


def _line(layout: Layout, item: Goods, bill: Bill, state: Literal["open", "shipped", "cancelled"]) -> Line:
    amount = bill.amounts.get(item.id, 0)
    name, remark, unit = (layout.text(item.cells, meaning) for meaning in ("name", "remark", "unit"))
    free = item.amount == 0
    return Line(
        id=item.id,
        sku=layout.text(item.cells, "sku"),
        quantity=item.quantity,
        name=name,
        item=layout.text(item.cells, "barcode"),
        spec=layout.text(item.cells, "spec"),
        unit_price=item.price,
        discount=max(item.amount + item.discount, amount) - amount,
        amount=amount,
        # Goods that were paid for are no gift, though their name may say what comes free with them.
        gift=free and (item.price == 0 or "赠" in name or "赠" in remark),
        state=state,
        attributes={"unit": unit} if unit else {},
    )


def _return(layout: Layout, rows: tuple[Cells, ...], own: Identity, at: SourceTime, template: Template) -> Return:
    original = original_of(layout, rows[0], own, template)
    if original is None or not original.number:
        raise TranslationError(
            "it cannot be told which receipt the goods come from", "return", "give the original's number and date"
        )
    goods = goods_of(layout, rows, template)
    if not goods:
        raise TranslationError("the return names no goods", "return", "enter the after-sale by hand")
    bill = bill_of(layout, rows, goods, template)
    native = layout.text(rows[0], "kind") or layout.text(rows[0], "state")
    return Return(
        channel=template.channel,
        shop=original.shop,
        original_order_no=original.order_no,
        reference=own.order_no,
        at=at,
        currency=template.currency,
        lines=tuple(
            ReturnLine(
                sku=layout.text(item.cells, "sku"),
                quantity=item.quantity,
                amount=bill.amounts.get(item.id, 0),
                item=layout.text(item.cells, "barcode"),
                name=layout.text(item.cells, "name"),
            )
            for item in goods.values()
        ),
        native_status=native,
        reason=native or "退货",
        attributes=_attributes(layout, rows, own, bill),
        personal=_personal(layout, rows, goods, template),
    )


def _attributes(layout: Layout, rows: Sequence[Cells], own: Identity, bill: Bill) -> dict[str, Any]:
    """Return what is known and names no person."""
    found: dict[str, Any] = {"receipt_no": own.number}
    for meaning in _HARMLESS:
        values = _distinct(layout, rows, meaning)
        if values:
            found[meaning] = values[0] if len(values) == 1 else values
    means = _distinct(layout, rows, "payment")
    if bill.payments:
        found["payments"] = dict(bill.payments)
    elif len(means) == 1 and is_means(means[0]):
        found["payments"] = {means[0]: bill.paid}
    pieces = _distinct(layout, rows, "quantity")
    if pieces and not bill.amounts:
        found["pieces"] = pieces[0]
    return found


def _personal(layout: Layout, rows: Sequence[Cells], goods: Mapping[str, Goods], template: Template) -> Personal:
    """Return what names or could name a person, and every column that nobody has declared."""
    of_goods = {line: item.cells for line, item in goods.items()} or {"": rows[0]}
    columns = {m: {line: layout.text(cells, m) for line, cells in of_goods.items()} for m in _PRIVATE}
    for name, place in layout.unknown.items():
        columns[name if name not in columns else f"{name} (column)"] = {
            line: clean(cells[place]) for line, cells in of_goods.items()
        }
    if all(_is_plain(text, template) for text in columns["payment"].values() if text):
        del columns["payment"]
    attributes: dict[str, Any] = {}
    line_attributes: dict[str, dict[str, Any]] = {}
    for name, texts in columns.items():
        first, *others = dict.fromkeys(texts.values())
        if not others and name != "remark":
            attributes.update({name: first} if first else {})
        elif others:
            for line, text in texts.items():
                if text:
                    line_attributes.setdefault(line, {})[name] = text
    members, phones, remarks = (_distinct(layout, rows, meaning) for meaning in ("member", "phone", "remark"))
    return Personal(
        customer_id=(members or phones or [""])[0],
        receiver={
            part: values[0]
            for part in ("name", "phone", "detail")
            if (values := _distinct(layout, rows, f"receiver_{part}"))
        },
        messages={"remark": "\n".join(remarks)} if remarks else {},
        attributes=attributes,
        line_attributes=line_attributes,
    )


def _is_plain(text: str, template: Template) -> bool:
    return is_means(text) or split_payment(text, template.currency) is not None


def _distinct(layout: Layout, rows: Sequence[Cells], meaning: str) -> list[str]:
    """Return the different texts of a column, in the order of the rows."""
    return list(dict.fromkeys(text for cells in rows if (text := layout.text(cells, meaning))))
