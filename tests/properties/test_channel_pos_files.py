"""POS files of any shape: the same receipts give the same orders, no cell is lost, and nothing makes it fall over."""

import codecs
import csv
import io
import json
import random
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from adapters.channels.pos_columns import NAMES, WORDS, Template, clean
from adapters.channels.pos_csv import PosCsv
from domain import order
from domain.canonical import Return, Translated, TranslationError
from domain.ports import Aside, Sliced

POS = PosCsv()
UNKNOWN = ("班次", "发票抬头", "Remark 2")
COLUMNS = (
    *("receipt", "store_code", "moment", "line", "sku", "barcode", "name", "spec", "quantity", "price"),
    *("line_discount", "line_amount", "order_discount", "paid", "member", "cashier", "remark", *UNKNOWN),
)
Row = dict[str, str]

words = st.text(st.sampled_from("abcXYZ甲乙丙丁,;\t|，\"' 1"), max_size=6).map(lambda text: text.strip("\t '"))


class Sale(NamedTuple):
    """A receipt as it was rung up."""

    rows: list[Row]
    paid: int


def yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"


@st.composite
def a_sale(draw: st.DrawFn, number: int) -> Sale:
    """A receipt whose money adds up; its own amounts stand on the first row or on all of them."""
    sold = {
        "receipt": f"R{number:04d}",
        "store_code": draw(st.sampled_from(["S1", "S2", "店 3"])),
        "moment": f"2026-11-{draw(st.integers(1, 28)):02d} 1{draw(st.integers(0, 9))}:20:30",
        "cashier": draw(words),
        "member": draw(st.sampled_from(["", "M1", "0"])),
    }
    rows: list[Row] = []
    total = 0
    for line in range(1, draw(st.integers(1, 4)) + 1):
        quantity, price = draw(st.integers(1, 9)), draw(st.integers(0, 99_999))
        discount = draw(st.integers(0, quantity * price))
        total += quantity * price - discount
        rows.append(
            {
                **sold,
                "line": str(line),
                "sku": f"SKU-{draw(st.integers(1, 9))}",
                "barcode": draw(st.sampled_from(["", "6901234567890"])),
                "name": draw(words),
                "spec": draw(words),
                "quantity": str(quantity),
                "price": yuan(price),
                "line_discount": yuan(discount),
                "line_amount": yuan(quantity * price - discount),
                "remark": draw(words),
                **{name: draw(words) for name in UNKNOWN},
            }
        )
    off = draw(st.integers(0, total))
    for row in rows if draw(st.booleans()) else rows[:1]:
        row.update(order_discount=yuan(off), paid=yuan(total - off))
    return Sale(rows, total - off)


@st.composite
def sales(draw: st.DrawFn) -> list[Sale]:
    return [draw(a_sale(number)) for number in range(1, draw(st.integers(1, 4)) + 1)]


@st.composite
def a_shape(draw: st.DrawFn) -> "Shape":
    return Shape(
        order=draw(st.permutations(COLUMNS)),
        names={meaning: draw(st.sampled_from(NAMES[meaning])) for meaning in COLUMNS if meaning in NAMES},
        encoding=draw(st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"])),
        separator=draw(st.sampled_from([",", "\t", ";", "|", "，"])),
        line_end=draw(st.sampled_from(["\r\n", "\n", "\r"])),
        titles=draw(st.integers(0, 5)),
        quoted=draw(st.booleans()),
    )


class Shape(NamedTuple):
    """How a file is written."""

    order: Sequence[str]
    names: dict[str, str]
    encoding: str
    separator: str
    line_end: str
    titles: int
    quoted: bool

    def write(self, rows: Sequence[Row]) -> bytes:
        out = io.StringIO()
        writer = csv.writer(
            out,
            delimiter=self.separator,
            lineterminator=self.line_end,
            quoting=csv.QUOTE_ALL if self.quoted else csv.QUOTE_MINIMAL,
        )
        writer.writerows([f"title {number}"] for number in range(self.titles))
        writer.writerow(self.names.get(column, column) for column in self.order)
        writer.writerows([row.get(column, "") for column in self.order] for row in rows)
        text = out.getvalue()
        if self.encoding == "utf-16":
            return codecs.BOM_UTF16_LE + text.encode("utf-16-le")
        return text.encode(self.encoding)


PLAIN = Shape(COLUMNS, {m: NAMES[m][0] for m in COLUMNS if m in NAMES}, "utf-8", ",", "\n", 0, quoted=False)


def slices(raw: bytes) -> list[Sliced]:
    pieces = POS.identify(raw, "shop")
    assert [piece for piece in pieces if isinstance(piece, Aside) and piece.kind == "refused"] == []
    return [piece for piece in pieces if isinstance(piece, Sliced)]


def rows_of(receipts: Sequence[Sale]) -> list[Row]:
    return [row for sale in receipts for row in sale.rows]


@given(sales(), a_shape())
def test_how_a_file_is_written_does_not_change_its_orders(receipts: list[Sale], shape: Shape) -> None:
    rows = rows_of(receipts)
    expected = [POS.translate(piece.raw, piece.shop) for piece in slices(PLAIN.write(rows))]
    raw = shape.write(rows)
    assert POS.sniff(raw)
    assert [POS.translate(piece.raw, piece.shop) for piece in slices(raw)] == expected
    assert len(expected) == len(receipts)


@given(sales(), a_shape())
def test_the_money_of_every_receipt_is_on_its_lines_to_the_fen(receipts: list[Sale], shape: Shape) -> None:
    for piece, sale in zip(slices(shape.write(rows_of(receipts))), receipts, strict=True):
        found = POS.translate(piece.raw, piece.shop)
        assert isinstance(found, Translated)
        amounts = found.snapshot.amounts
        assert amounts.paid == amounts.payable == sale.paid == sum(line.amount for line in found.snapshot.lines)
        assert amounts.goods - amounts.discount == sale.paid
        assert amounts.discount == sum(line.discount for line in found.snapshot.lines)


@given(sales(), st.integers(0, 4), st.randoms(use_true_random=False))
def test_how_the_receipts_are_cut_into_files_does_not_change_their_bytes(
    receipts: list[Sale], cut: int, chance: random.Random
) -> None:
    whole = slices(PLAIN.write(rows_of(receipts)))
    shuffled = list(receipts)
    chance.shuffle(shuffled)
    again: list[Sliced] = []
    for part in (shuffled[:cut], shuffled[cut:]):
        rows = rows_of(part)
        chance.shuffle(rows)  # rows with line numbers may stand anywhere
        if rows:
            again += slices(PLAIN.write(rows))
    assert sorted(piece[:3] for piece in again) == sorted(piece[:3] for piece in whole)


@st.composite
def a_cut_receipt(draw: st.DrawFn) -> tuple[list[Row], list[list[Row]]]:
    """A receipt, and files with rows of it in any order; the whole is one of them."""
    rows = draw(a_sale(1)).rows
    for row in rows:
        row["line_discount"] = row["order_discount"] = yuan(0)
        row["line_amount"] = yuan(int(row["quantity"]) * int(row["price"].replace(".", "")))
    total = sum(int(row["line_amount"].replace(".", "")) for row in rows)
    match draw(st.sampled_from(["none", "once", "on each", "by row"])):
        case "none":
            stated: list[dict[str, str]] = [{"paid": ""} for _ in rows]
        case "once":
            stated = [{"paid": yuan(total) if place == 0 else ""} for place in range(len(rows))]
        case "on each":
            stated = [{"paid": yuan(total)} for _ in rows]
        case _:
            stated = [{"paid": row["line_amount"]} for row in rows]
    rows = [row | paid for row, paid in zip(rows, stated, strict=True)]
    parts = draw(st.lists(st.lists(st.sampled_from(rows), min_size=1, unique_by=id), max_size=5))
    return rows, draw(st.permutations([rows, *parts]))


def without_empty(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    return [column for column in columns if column != "paid" or any(row["paid"] for row in rows)]


def taken_in(files: Sequence[bytes]) -> order.Order:
    """What becomes of the receipt when these files come one after the other; none may stop the next one."""
    state = order.Order()
    for raw in files:
        for piece in POS.identify(raw, "shop"):
            if isinstance(piece, Aside):
                assert piece.kind == "refused"
                assert "import a file that holds the whole receipt" in piece.reason
                continue
            found = POS.translate(piece.raw, piece.shop)
            assert isinstance(found, Translated)
            digest = sha256(msgspec.json.encode(found, order="deterministic")).hexdigest()
            view = order.TakeSnapshot(found.snapshot, digest, "", "payload", b"")
            for event in order.decide(view, state, 0):
                state = order.evolve(state, event)
    return state


@given(a_cut_receipt())
def test_a_receipt_that_is_cut_into_files_ends_as_the_whole_one_in_whatever_order_they_come(
    cut: tuple[list[Row], list[list[Row]]],
) -> None:
    whole, parts = cut
    shape = PLAIN._replace(order=without_empty(COLUMNS, whole))
    alone = taken_in([shape.write(whole)])
    assert alone.status == "completed"
    assert len(alone.lines) == len(whole)
    after = taken_in([shape.write(part) for part in parts])
    assert (after.digest, after.status, after.lines, after.amounts) == (
        *(alone.digest, alone.status, alone.lines, alone.amounts),
    )


@given(a_cut_receipt())
def test_a_file_that_shows_that_lines_are_missing_makes_no_receipt_and_keeps_its_rows(
    cut: tuple[list[Row], list[list[Row]]],
) -> None:
    whole, parts = cut
    shape = PLAIN._replace(order=without_empty(COLUMNS, whole))
    for part in parts:
        (piece,) = POS.identify(shape.write(part), "shop")
        numbers = sorted(int(row["line"]) for row in part)
        if not any(row["paid"] for row in whole) and numbers != list(range(1, len(numbers) + 1)):
            assert isinstance(piece, Aside)
        assert len(json.loads(piece.raw)["rows"]) == len(part)


nasty = st.one_of(
    st.sampled_from(["", "-", "0", "无", "1", "-1", "0.5", "329.00", "¥1,329.00", "(59.00)", "2.02611E+15", "######"]),
    st.sampled_from(["2026-11-11 09:12:33", "11/11/2026 9:13", "46337.38", "20261111", "9:12", "合计", "小计", "总计"]),
    st.sampled_from(
        ["A1", "20261111-0001", "退货 原单 20261111-0001", "现金:1;微信:2", "自提", "1e999", "9" * 40, "９"]
    ),
    st.sampled_from(sorted(WORDS)),
    st.text(st.sampled_from("a1.-:(¥甲٣９\n\x00\u3000,;"), max_size=8),
)
names = st.sampled_from([name for many in NAMES.values() for name in many])


@st.composite
def any_table(draw: st.DrawFn) -> list[list[str]]:
    """A table of known columns, and of cells that fit or do not."""
    header = ["小票号", "销售时间", *draw(st.lists(names, min_size=1, max_size=12))]
    likely = st.one_of(st.just(["A1", "2026-11-11 09:12:33"]), st.lists(nasty, min_size=2, max_size=2))
    width = len(header) - 2
    body = [
        draw(likely) + draw(st.lists(nasty, min_size=max(width - 1, 0), max_size=width + 1))
        for _ in range(draw(st.integers(0, 6)))
    ]
    return [header, *body]


def as_csv(rows: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def outcome(channel: PosCsv, raw: bytes, shop: str) -> Translated | Return | TranslationError:
    """Translate; whatever else than a translation error is raised is a failure of the test."""
    try:
        return channel.translate(raw, shop)
    except TranslationError as error:
        return error


def answers_to(channel: PosCsv, raw: bytes) -> None:
    """Whatever comes in, each piece is told to be an order, a return, or something with a reason."""
    channel.sniff(raw)
    for piece in channel.identify(raw, "shop"):
        if isinstance(piece, Aside):
            assert piece.kind in ("ignored", "refused")
            assert piece.reason
            continue
        assert piece.shop
        assert piece.order_no
        found = outcome(channel, piece.raw, piece.shop)
        if isinstance(found, TranslationError):
            assert found.reason
            assert found.advice
            continue
        if isinstance(found, Translated):
            assert (found.snapshot.shop, found.snapshot.order_no) == (piece.shop, piece.order_no)
            assert all(line.quantity > 0 and line.amount >= 0 for line in found.snapshot.lines)
        else:
            assert (found.shop, found.original_order_no) == (piece.shop, piece.order_no)
            assert found.lines
            assert all(line.quantity > 0 and line.amount >= 0 for line in found.lines)


@given(any_table(), st.booleans(), st.booleans())
def test_any_table_is_answered(rows: list[list[str]], unique: bool, checked: bool) -> None:
    answers_to(PosCsv(Template(receipt_numbers_unique=unique, sums_checked=checked)), as_csv(rows))


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda raw: as_csv([list(COLUMNS)]) + raw)))
def test_any_bytes_are_answered(raw: bytes) -> None:
    answers_to(POS, raw)


def as_slice(header: list[str], rows: list[list[str]]) -> bytes:
    return json.dumps({"format": "pos-csv/1", "header": header, "rows": rows}).encode()


@given(
    st.one_of(
        st.binary(max_size=60),
        any_table().map(lambda rows: as_slice(rows[0], [(row + [""] * 20)[: len(rows[0])] for row in rows[1:]])),
        any_table().map(lambda rows: as_slice(rows[0], rows[1:])),
    )
)
def test_any_slice_is_translated_or_refused_with_a_reason(raw: bytes) -> None:
    found = outcome(POS, raw, "shop")
    assert found.reason if isinstance(found, TranslationError) else msgspec.json.encode(found)


def fitted(row: Sequence[str], width: int) -> tuple[str, ...]:
    """A row without its empty cells at the end, which mean the same as none."""
    cells = list(row)
    while cells and not cells[-1].strip() and len(cells) > width:
        cells.pop()
    return tuple(cells) + ("",) * (width - len(cells))


@given(any_table())
def test_every_cell_of_every_row_is_kept(rows: list[list[str]]) -> None:
    width = len(rows[0])
    kept: Counter[tuple[str, ...]] = Counter()
    for piece in POS.identify(as_csv(rows), "shop"):
        piece_of = json.loads(piece.raw)
        assert piece_of["header"] == rows[0]
        kept.update(fitted(row, width) for row in piece_of["rows"])
    assert kept == Counter(fitted(row, width) for row in rows[1:] if any(cell.strip() for cell in row))


@given(sales(), a_shape())
def test_every_unknown_cell_is_in_the_personal_half(receipts: list[Sale], shape: Shape) -> None:
    for piece, sale in zip(slices(shape.write(rows_of(receipts))), receipts, strict=True):
        found = POS.translate(piece.raw, piece.shop)
        assert isinstance(found, Translated)
        for row in sale.rows:
            of_line = found.personal.line_attributes.get(row["line"], {})
            for name in (*UNKNOWN, "cashier"):
                expected = clean(row[name]) if name in UNKNOWN else row[name]
                assert of_line.get(name, found.personal.attributes.get(name, "")) == expected
