"""Files around reconciliation: what is taken for equal, and what finance gets."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from adapters.statements.reading import Statement
from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain.after_sale import OrderRefunded
from domain.catalogue import TAGS, encode_event
from domain.envelope import By, Envelope, encode_envelope
from domain.finance import Line, LineRead, TakeLines
from domain.ids import finance_key, order_key
from domain.mail import Mail, Reply
from domain.matching import EXACT, Tolerance, day_of, days_after
from domain.order import OrderNormalized, OrderPaid, OrderReceived, OrderShipped
from domain.ports import Record
from domain.time_units import DAY_MS
from projections import PROJECTIONS
from runners.commands.common import Exit, Failure
from runners.commands.kpi import _show_differences
from runners.commands.statements import day_given, import_
from runners.finance_export import FIELDS, rows, write
from runners.matching import FILE, BadTolerance, tolerance_of
from runners.projector import Projector
from runners.statements import take_in
from tests.spec import T0
from tests.statement_files import Movement, wechat, written
from tests.trade import NOON_MS, view

KEY = order_key("taobao", "s1", "1")


def test_what_is_taken_for_equal_is_nothing_until_somebody_says_so(tmp_path: Path) -> None:
    assert tolerance_of(tmp_path) == EXACT
    (tmp_path / FILE).write_text('{"amount": 5}')
    (tmp_path / FILE).chmod(0o600)
    assert tolerance_of(tmp_path) == Tolerance(amount=5)


@pytest.mark.parametrize("text", ["{", '{"amount": -1}', '{"amounts": 5}', '{"amount": 0.5}'])
def test_a_tolerance_with_a_mistake_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(BadTolerance, match=FILE):
        tolerance_of(tmp_path)


def test_a_tolerance_that_others_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{}")
    (tmp_path / FILE).chmod(0o666)
    with pytest.raises(BadTolerance, match="chmod 600"):
        tolerance_of(tmp_path)


@pytest.mark.parametrize("day", ["2006-02-02", "2206-02-02"])
def test_a_day_that_is_far_from_the_rows_closes_none(tmp_path: Path, day: str) -> None:
    """A mistyped year would say of years of days that they were read, and had no payments."""
    sent: list[Mail] = []

    async def send(mails: Sequence[Mail]) -> list[Reply]:
        sent.extend(mails)
        return [Reply(1, "accepted")] * len(mails)

    bill = Statement(written(tmp_path / "bill.csv", wechat([Movement("1", T0, 100)])), "miniprogram", "s")
    taken = asyncio.run(take_in(send, bill, By("person", "fin", "finance"), lambda: T0, day))
    assert "wrong" in taken.open
    assert [type(mail.body) for mail in sent] == [TakeLines]


def test_a_day_whose_lines_were_not_taken_does_not_count_as_read(tmp_path: Path) -> None:
    sent: list[Mail] = []

    async def send(mails: Sequence[Mail]) -> list[Reply]:
        sent.extend(mails)
        return [Reply(1, "refused", "too much")] * len(mails)

    bill = Statement(written(tmp_path / "bill.csv", wechat([Movement("1", T0, 100)])), "miniprogram", "s")
    taken = asyncio.run(take_in(send, bill, By("person", "fin", "finance"), lambda: T0))
    assert (taken.days, taken.open) == ((), "lines of it were refused: too much")
    assert [type(mail.body) for mail in sent] == [TakeLines]


def test_a_statement_that_is_not_there_is_wrong_use_and_nothing_else_is_taken(tmp_path: Path) -> None:
    there = written(tmp_path / "bill.csv", wechat([Movement("1", T0, 100)]))
    for wrong in (tmp_path / "bil.csv", tmp_path):
        with pytest.raises(Failure, match="nothing was taken in") as failure:
            import_(there, wrong, channel="miniprogram", shop="s", data=tmp_path)
        assert failure.value.code == Exit.USAGE


def test_a_day_is_one_of_the_years_in_which_anything_is_told() -> None:
    assert day_given("2026-02-09") == "2026-02-09"
    for wrong, why in (
        ("0001-01-05", "years 2000"),
        ("9999-12-31", "years 2000"),
        ("2026-02-30", "no day"),
        ("x", "no"),
    ):
        with pytest.raises(Failure, match=why) as failure:
            day_given(wrong)
        assert failure.value.code == Exit.USAGE


def test_the_day_of_a_statement_is_one_day_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def taken(*given: object) -> tuple[list[object], list[object]]:
        asked.append(given[-1])
        return [], []

    for name, stand_in in (("settings_of", Path), ("channel_of", lambda *_: None), ("_take_in", taken)):
        monkeypatch.setattr(f"runners.commands.statements.{name}", stand_in)
    bill = written(tmp_path / "bill.csv", wechat([]))
    for day in ("2026-02-09", "20260209", "2026-W07-1"):
        import_(bill, channel="miniprogram", shop="s", day=day, data=tmp_path)
    assert asked == ["2026-02-09"] * 3


def test_each_day_on_which_money_moved_has_the_order() -> None:
    """An order that was paid on one day and refunded on two more is handed over for each of them, whenever asked."""
    log, read_models = MemoryEventLog(), ReadModels("sqlite://")
    events = (
        (0, OrderReceived("taobao", "s1", "1", "p")),
        (0, OrderNormalized(view("1"), "d", "a")),
        (0, OrderPaid(1500, "CNY", NOON_MS)),
        (1, OrderShipped((), 0, "", "")),
        (2, OrderRefunded(("1",), 300)),
        (4, OrderRefunded(("1",), 200)),
    )
    records = [
        Record(KEY, version, TAGS[type(event)], encode_envelope(envelope), encode_event(event), None)
        for version, (days, event) in enumerate(events, 1)
        for envelope in [Envelope(NOON_MS, NOON_MS + days * DAY_MS, By("channel", "taobao"), "m", "m", "m")]
    ]
    log.append(records)
    Projector(log, read_models, PROJECTIONS).run()
    days = [days_after(day_of(NOON_MS), each) for each in range(6)]
    found = [[(row["paid"], row["refunded"]) for row in rows(log, read_models, day)] for day in days]
    assert found == [[("15.00", "5.00")], [], [("15.00", "5.00")], [], [("15.00", "5.00")], []]


def test_what_statements_say_in_another_currency_is_no_amount_of_the_orders() -> None:
    log, read_models = MemoryEventLog(), ReadModels("sqlite://")
    day = day_of(NOON_MS)
    lines = (Line("1", "paid", 1500, "CNY", NOON_MS, KEY), Line("2", "paid", 30_000, "JPY", NOON_MS, KEY))
    events = [
        *((KEY, each) for each in (OrderNormalized(view("1"), "d", "a"), OrderPaid(1500, "CNY", NOON_MS))),
        *((finance_key("taobao", "s1", day), LineRead("s", each)) for each in lines),
    ]
    envelope = encode_envelope(Envelope(NOON_MS, NOON_MS, By("channel", "taobao"), "m", "m", "m"))
    versions: Counter[str] = Counter()
    for stream, event in events:
        versions[stream] += 1
        log.append([Record(stream, versions[stream], TAGS[type(event)], envelope, encode_event(event), None)])
    Projector(log, read_models, PROJECTIONS).run()
    (row,) = rows(log, read_models, day)
    assert (row["paid"], row["statement_paid"]) == ("15.00", "15.00")


def test_what_is_only_late_is_not_unexplained_in_the_figures_either(capsys: pytest.CaptureFixture[str]) -> None:
    counts = (("settled_later", "open", 5), ("fee_unknown", "open", 2), ("amount_differs", "explained", 1))
    _show_differences([{"reason": reason, "state": state, "number": number} for reason, state, number in counts])
    assert "8, 2 of them unexplained" in " ".join(capsys.readouterr().out.split())


def test_a_hand_over_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> Iterator[dict[str, str]]:
        yield dict.fromkeys(FIELDS, "")
        raise OSError("the log is away")

    with pytest.raises(OSError, match="away"):
        write(tmp_path / "f.csv", broken())
    assert list(tmp_path.iterdir()) == []


def test_a_cell_that_begins_like_a_formula_is_none_for_a_spreadsheet(tmp_path: Path) -> None:
    row = dict.fromkeys(FIELDS, "") | {"order_no": "=1+1", "shop": "-x", "paid": "-5.00"}
    assert write(tmp_path / "f.csv", iter([row])) == 1
    content = (tmp_path / "f.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfday,")
    assert b",'-x,'=1+1," in content
    assert b",-5.00," in content
