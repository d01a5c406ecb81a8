"""A till that writes its files in its own way, said as data: drafted from a file, checked, cut and read by."""

from collections.abc import Sequence

import msgspec
import pytest

from adapters.channels import load
from adapters.channels.mappings import shipped
from adapters.channels.pos_columns import Template
from adapters.channels.pos_csv import PosCsv
from adapters.web.ports import Busy, Handed
from domain.canonical import Translated
from domain.cell import Taken, Untranslatable
from domain.ids import order_key
from domain.mail import ChannelPayload, Mail, Reply
from domain.mapping import InForce
from domain.mapping_table import BadMapping, read_mapping, without_template
from domain.ports import Aside, Channel, Sliced, Templated
from domain.till import BadTill, Till
from examples import till as example
from runners.desk import Desk
from runners.preparing import Preparer
from runners.reading import Reading, templated

POS = PosCsv()
GERMAN = "Beleg;Zeit;Artikel;Stück;Summe;Art\n0001;11/12/2026 09:12;A;2;10;\n0002;11/12/2026 09:30;B;1;5;Storno\n"
TEMPLATE = """\
[template]
receipt_numbers_unique = true
zone = "Europe/Berlin"
currency = "EUR"
date_order = "dmy"

[template.columns]
Beleg = "receipt"
Zeit = "moment"
Artikel = "sku"
"Stück" = "quantity"
Summe = "line_amount"
Art = "kind"

[template.words]
Storno = "void"
"""


def channel_of(text: str) -> Channel:
    return templated(POS, read_mapping(text), text)


def orders(channel: Channel, raw: bytes) -> list[Translated]:
    found = []
    for piece in channel.identify(raw, "shop"):
        if isinstance(piece, Aside):
            assert piece.kind == "ignored", piece
            continue
        translated = channel.translate(piece.raw, piece.shop)
        assert isinstance(translated, Translated)
        found.append(translated)
    return found


def test_a_template_as_data_reads_what_one_in_code_reads() -> None:
    raw = GERMAN.encode()
    assert not POS.sniff(raw)
    channel = channel_of(TEMPLATE)
    assert channel.sniff(raw)
    first, second = orders(channel, raw)
    assert (first.snapshot.order_no, first.snapshot.status, first.snapshot.amounts.paid) == ("0001", "completed", 1000)
    assert first.snapshot.ordered_at.local == "2026-12-11T16:12:00.000+08:00"
    assert second.snapshot.status == "cancelled"
    coded = example.channel("Asia/Shanghai")
    same = orders(coded, raw.replace(b";Art", b";X").replace(b"Storno", b""))
    assert same[0].snapshot.amounts == first.snapshot.amounts


def test_a_template_goes_over_the_one_of_its_channel_and_leaves_the_rest() -> None:
    base = PosCsv(Template(channel="till", columns={"Beleg": "receipt", "Zeit": "day"}, words={"Storno": "return"}))
    channel = base.with_template(Till(columns={"Zeit": "moment"}, sums_checked=False))
    assert channel.name == "till"
    assert channel._template == Template(
        channel="till",
        columns={"Beleg": "receipt", "Zeit": "moment"},
        words={"Storno": "return"},
        sums_checked=False,
    )


@pytest.mark.parametrize(("fold", "utc_ms"), [("earlier", 1_792_888_200_000), ("later", 1_792_891_800_000)])
def test_a_template_says_which_of_two_hours_is_meant(fold: str, utc_ms: int) -> None:
    raw = b"receipt_no,sold_at,sku,quantity,amount\n1,2026-10-25 02:30:00,A,1,5\n"
    berlin = '[template]\nzone = "Europe/Berlin"\n'
    (refused,) = channel_of(berlin).identify(raw, "s")
    assert isinstance(refused, Aside)
    assert "clocks pass it twice in Europe/Berlin" in refused.reason
    channel = channel_of(f'{berlin}fold = "{fold}"')
    (piece,) = channel.identify(raw, "s")
    assert isinstance(piece, Sliced)
    found = channel.translate(piece.raw, "s")
    assert isinstance(found, Translated)
    assert found.snapshot.ordered_at.utc_ms == utc_ms


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ('[template]\nzone = "Mars"', 2, "Mars"),
        ('[template]\nfold = "0"', 2, "'0'"),
        ('[template]\ncurrency = "XXX"', 2, "currency 'XXX' is unknown"),
        ('[template]\n\nencoding = "klingon"', 3, "there is no encoding 'klingon'"),
        ('[template]\nencoding = "base64"', 2, "there is no encoding 'base64'"),
        ('[template]\nseparator = "||"', 2, "cannot part cells"),
        ('[template]\ndate_order = "ymd"', 2, "ymd"),
        ("[template]\nsums = true", 2, "there is no 'sums' in a mapping here"),
        ('[template]\nreceipt_numbers_unique = "yes"', 2, "bool"),
        ('[template.columns]\n"小票号" = "receipt"\nBon = "bon"', 3, "there is no meaning 'bon'"),
        ('[template.columns]\nBar = "means:"', 2, "there is no meaning 'means:'"),
        ('[template.words]\nStorno = "annulled"', 2, "a word cannot say 'annulled'"),
    ],
)
def test_a_bad_template_is_refused_with_its_line_and_what_there_is(text: str, line: int, told: str) -> None:
    with pytest.raises(BadMapping) as caught:
        channel_of(text)
    assert caught.value.line == line, caught.value
    assert told in caught.value.reason


def test_a_channel_without_tables_has_no_template() -> None:
    with pytest.raises(BadMapping, match="line 1: taobao reads no tables"):
        templated(load()["taobao"], read_mapping("[template]"), "[template]")
    with pytest.raises(BadMapping, match="taobao reads no tables"):
        Reading(load()["taobao"], read_mapping("[template]"), "Asia/Shanghai")


def test_a_known_file_gives_a_template_that_changes_nothing() -> None:
    raw = "日报\n小票号,门店编号,销售时间,货号,数量,金额,现金,班次\n7,S1,2026-11-11 09:12:33,A,1,10,10,早\n".encode(
        "gb18030"
    )
    draft = POS.template_of(raw)
    assert '"小票号" = "receipt"\n' in draft
    assert '"现金" = "means:现金"\n' in draft
    assert '"班次" = ""\n' in draft
    assert '# encoding = "gb18030"' in draft
    assert "日报" not in draft
    assert "早" not in draft, "a template is recorded: nobody's data is in it"
    text = f"{shipped('pos')}\n{draft}"
    assert orders(channel_of(text), raw) == orders(POS, raw)
    assert without_template(text) == shipped("pos")
    assert isinstance(POS, Templated)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_file_without_a_known_column_gives_a_template_to_be_filled_in(separator: str) -> None:
    raw = "\n".join(("Bericht", *GERMAN.splitlines())).replace(";", separator).encode()
    draft = POS.template_of(raw)
    for name in ("Beleg", "Zeit", "Artikel", "Stück", "Summe", "Art"):
        assert f'"{name}" = ""\n' in draft
    assert f"# separator = {msgspec.json.encode(separator).decode()}" in draft
    assert read_mapping(draft).template is not None


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"only\none\ncolumn\n", b"\xff\xff\x00"])
def test_what_is_no_table_gives_no_template(raw: bytes) -> None:
    with pytest.raises(BadTill):
        POS.template_of(raw)


def test_encoding_and_separator_can_be_said_where_a_file_does_not_tell() -> None:
    text = "小票號~銷售時間~貨號~數量~金額\n7~2026-11-11 09:12:33~A~1~10\n"
    columns = {"小票號": "receipt", "銷售時間": "moment", "貨號": "sku", "數量": "quantity", "金額": "line_amount"}
    channel = POS.with_template(Till(columns=columns, encoding="big5", separator="~"))
    raw = text.encode("big5")
    assert channel.sniff(raw)
    assert [each.snapshot.order_no for each in orders(channel, raw)] == ["20261111-7"]
    (aside,) = channel.identify(text.encode() + b"\x80", "shop")
    assert isinstance(aside, Aside)
    assert "the encoding is not big5, as the template says" in aside.reason
    for name in ("utf-16", "utf-8", "idna", "punycode", "unicode_escape", "utf-7"):
        for piece in POS.with_template(Till(encoding=name)).identify(raw, "shop"):
            assert isinstance(piece, Aside)


def test_a_slice_that_another_template_would_make_another_order_of_is_kept_and_not_taken_for_it() -> None:
    raw = "小票号,门店编号,销售时间,货号,数量,金额\n7,S1,2026-11-11 09:12:33,A,1,10\n".encode()
    (piece,) = POS.identify(raw, "shop")
    assert isinstance(piece, Sliced)
    body = ChannelPayload("pos", piece.shop, piece.order_no)
    stream = order_key("pos", piece.shop, piece.order_no)
    preparer = Preparer({"pos": POS}, bytes(32))
    unique = InForce(1, "1", "[template]\nreceipt_numbers_unique = true")
    kept = preparer.payload(body, stream, piece.raw, bytes(64), in_force=unique).prepared
    assert isinstance(kept, Untranslatable)
    assert "another order" in kept.reason
    assert "import its file again" in kept.advice
    assert kept.mapping == 1
    checked = InForce(2, "2", "[template]\nsums_checked = false")
    taken = preparer.payload(body, stream, piece.raw, bytes(64), in_force=checked).prepared
    assert isinstance(taken, Taken)
    assert taken.command.mapping == 2


class Spool:
    """Nothing here is too large for the broker."""

    def put(self, raw: bytes) -> str:
        raise AssertionError(raw)


async def accepted(mails: Sequence[Mail]) -> list[Reply]:
    return [Reply(1, "accepted") for _ in mails]


async def handed_over(mails: Sequence[Mail]) -> None:
    raise AssertionError(mails)


def unreadable(channel: Channel) -> Channel:
    raise BadMapping(f"{channel.name}: of a later build", 1)


PUSHED = Handed(GERMAN.encode(), "pos", "shop", "push", "a.csv", "table")


async def test_a_table_that_is_pushed_is_cut_by_the_template_of_the_moment() -> None:
    now = {"text": TEMPLATE.replace("unique = true", "unique = false")}
    desk = Desk({"pos": POS}, Spool(), accepted, handed_over, lambda: 1, lambda _: channel_of(now["text"]))
    first = await desk.take([PUSHED], committed=True, correlation="c")
    assert [each.order_no for each in first] == ["20261211-0001", "20261211-0002"]
    now["text"] = TEMPLATE
    second = await desk.take([PUSHED], committed=True, correlation="c")
    assert [each.order_no for each in second] == ["0001", "0002"]
    await desk.close()


async def test_a_table_is_not_cut_where_the_template_in_force_cannot_be_read() -> None:
    desk = Desk({"pos": POS}, Spool(), accepted, handed_over, lambda: 1, unreadable)
    with pytest.raises(Busy, match="cannot read the mapping of pos"):
        await desk.take([PUSHED], committed=True, correlation="c")
    await desk.close()
