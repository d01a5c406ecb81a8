"""A day of trade against its statements: exactly the differences that were put in are found, each with its reason."""

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from domain.ids import order_key, parts_of
from domain.matching import Money, day_of, days_after
from domain.time_units import MINUTE_MS
from runners.bootstrap import open_log, open_read_models
from runners.daily import run_day
from runners.matching import money_of
from runners.pulling_mail import Mailroom
from runners.settings import load_settings
from tests.integration.running import Running, Said, until
from tests.statement_files import Movement, douyin, wechat, written

pytestmark = [pytest.mark.xdist_group("up"), pytest.mark.timeout(240)]
NOON = 1_794_369_600_000
"""2026-11-11 12:00 UTC+8, the simulated day."""
DAY = day_of(NOON)
OWN = "generic"


class Day(NamedTuple):
    """The day, as the log has it."""

    up: Running
    money: dict[str, Money]

    def orders(self, channel: str, *, done: bool | None = None, back: bool = False) -> list[str]:
        """Return paid and shipped orders of a channel."""
        return [
            key
            for key, each in sorted(self.money.items())
            if parts_of(key)[0] == channel and each.received and each.shipped_ms and not each.cancelled
            and bool(each.given_back) is back and (done is None or bool(each.done_ms) is done)
        ]  # fmt: skip

    def number(self, key: str) -> str:
        return parts_of(key)[2]

    def shop(self, channel: str) -> str:
        return next(parts_of(key)[1] for key in self.money if parts_of(key)[0] == channel)

    def run(self, *words: object, code: int | None = 0) -> Said:
        said = self.up.run(*words)
        assert code is None or said.code == code, said.err + said.out
        return said

    def import_(self, folder: Path, name: str, content: bytes, channel: str, *more: object) -> Any:
        file = written(folder / name, content)
        said = self.up.run("statements", "import", file, "--channel", channel, "--shop", self.shop(channel),
                           "--json", *more)  # fmt: skip
        assert said.code == 0, said.err + said.out
        return said.json["statements"][0]

    def found(self) -> set[tuple[str, str]]:
        rows = self.run("reconcile", "differences", "--open", "--json").json
        assert all(row["words"] and row["action"] for row in rows)
        return {(row["key"], row["reason"]) for row in rows}


def own_order(number: str, **more: Any) -> dict[str, Any]:
    times = {"ordered_at": NOON, "modified_at": NOON}
    lines = [{"id": "1", "sku": "S1", "quantity": 1, "amount": "50.00"}]
    return {"format": "orderspine/1", "order_no": number, "currency": "CNY", "lines": lines, "payable": "50.00",
            **times, **more}  # fmt: skip


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("reconciliation")
    with Running(folder / "data", "--clock", "mail") as up:
        said = up.run("simulate", "--orders", 120, "--channel", "taobao", "--channel", "douyin", "--json")
        assert said.code == 0, said.err
        orders = folder / "own.jsonl"
        own = [
            own_order("invoiced", status="paid", paid="50.00", paid_at=NOON, invoice_type="vat_special"),
            own_order(
                "unpaid", status="shipped", paid="0.00", shipped_at=NOON, parcels=[{"carrier": "SF", "tracking": "SF1"}]
            ),
        ]
        orders.write_text("".join(json.dumps(each) + "\n" for each in own))
        said = up.run("ingest", orders, "--channel", OWN, "--shop", "own", "--json")
        assert said.code == 0, said.err + said.out
        settings = load_settings(folder / "data")
        with closing(open_log(settings, read_only=True)) as log, closing(open_read_models(settings)) as views:
            until(lambda: {each["position"] for each in views.positions()} == {log.tracked().head})
            money = money_of(log, [row["key"] for row in views.orders(limit=10_000)])
        yield Day(up, money)


def bill(day: Day, channel: str, leave_out: Sequence[str] = (), *, settled: bool = False) -> list[Movement]:
    """Return what a true statement of all orders of a channel says."""
    found = []
    for key, each in sorted(day.money.items()):
        if parts_of(key)[0] != channel or not each.received or key in leave_out:
            continue
        if not settled or (each.done_ms and not each.cancelled):
            at_ms = each.done_ms if settled else each.paid_ms
            found.append(Movement(day.number(key), at_ms, each.received, fee=each.received // 100))
            if each.given_back:
                found.append(Movement(day.number(key), max(at_ms, each.refund_ms), each.given_back, "refunded"))
    return found


def test_exactly_what_was_put_in_is_found_each_with_its_reason(day: Day, tmp_path: Path) -> None:
    missing, less, foreign, extra_back, twice, contradicted = day.orders("taobao")[:6]
    (back,) = day.orders("taobao", back=True)[:1]
    charged, later = day.orders("douyin", done=True)[:2]
    moves = bill(day, "taobao")
    at = {each.order_no: place for place, each in enumerate(moves) if each.kind == "paid"}

    def change(key: str, **fields: Any) -> None:
        place = at[day.number(key)]
        moves[place] = moves[place]._replace(**fields)

    wrong = moves[at[day.number(contradicted)]]
    change(less, amount=day.money[less].received - 100)
    change(foreign, currency="USD")
    second = moves[at[day.number(twice)]]
    moves.append(second._replace(number="429999", at_ms=second.at_ms + MINUTE_MS))
    moves.append(Movement(day.number(extra_back), NOON, 300, "refunded"))
    moves.append(Movement("7777777", NOON, 1_234))
    moves = [
        each
        for each in moves
        if each.order_no != day.number(missing) and (each.order_no, each.kind) != (day.number(back), "refunded")
    ]
    last = days_after(day_of(max(each.at_ms for each in moves)), 1)
    day.import_(tmp_path, "taobao.csv", wechat(moves), "taobao", "--day", last)
    day.import_(tmp_path, "again.csv", wechat([wrong._replace(amount=wrong.amount - 5)]), "taobao")
    settled = bill(day, "douyin", [later], settled=True)
    settled.append(Movement(day.number(charged), day.money[charged].done_ms, 77, "神秘扣除", number="odd"))
    end = max(day_of(each.at_ms) for each in settled)
    day.import_(tmp_path, "douyin.csv", douyin(settled), "douyin", "--day", end)
    own = [Movement("invoiced", NOON, 5_000)]
    day.import_(tmp_path, "own.csv", wechat(own), OWN, "--day", days_after(DAY, 10))

    for each in range(8):
        day.run("reconcile", "day", days_after(DAY, each), code=None)
    late = {
        (key, "paid_not_shipped")
        for key, each in day.money.items()
        if each.received and not (each.shipped_ms or each.done_ms) and parts_of(key)[0] != "pos"
    }
    assert late, "the day left nothing unshipped"
    unknown = order_key("taobao", day.shop("taobao"), "7777777")
    put_in = {
        (missing, "missing_in_statement"), (unknown, "missing_in_log"), (less, "amount_differs"),
        (foreign, "currency_differs"), (back, "refund_missing"), (extra_back, "refund_not_in_log"),
        (twice, "duplicate_payment"), (contradicted, "statement_contradicts"), (charged, "fee_unknown"),
        (later, "settled_later"), (order_key(OWN, "own", "unpaid"), "shipped_not_paid"),
    }  # fmt: skip
    assert day.found() == put_in | late

    counts = day.run("reconcile", "summary", "--json").json
    assert sum(row["number"] for row in counts if row["state"] == "open") == len(put_in | late)

    # What was only late resolves itself; what a person explains is open no more; a repeat changes nothing.
    day.import_(tmp_path, "later.csv", douyin(bill(day, "douyin", settled=True)), "douyin")
    (row,) = (each for each in day.run("reconcile", "differences", "--open", "--json").json if each["key"] == less)
    day.run("reconcile", "explain", row["id"], "--reason", "coupon of the platform")
    day.run("reconcile", "day", days_after(DAY, 8), code=None)
    assert day.found() == (put_in | late) - {(later, "settled_later"), (less, "amount_differs")}
    again = day.import_(tmp_path, "again.csv", wechat([wrong._replace(amount=wrong.amount - 5)]), "taobao")
    assert set(again["outcomes"]) == {"repeated"}
    listed = day.run("reconcile", "differences").out
    for words in ("金额不符", "coupon of the platform", "resolved", "重复支付"):
        assert words in listed

    with_type = tmp_path / "finance.csv"
    day.run("finance", "export", "--day", DAY, "--to", with_type)
    with with_type.open(encoding="utf-8-sig", newline="") as lines:
        rows = {row["order_no"]: row for row in csv.DictReader(lines)}
    mine = rows["invoiced"]
    assert (mine["invoice_type"], mine["paid"], mine["statement_paid"]) == ("vat_special", "50.00", "50.00")
    assert rows[day.number(twice)]["open_differences"] == "1"
    assert day.run("finance", "export", "--day", DAY, "--to", with_type, code=2).err.count("is there already")


def test_an_import_that_was_killed_goes_on_and_ends_as_if_it_never_was(day: Day, tmp_path: Path) -> None:
    moves = [Movement(str(each), NOON + each, 100 + each, fee=1) for each in range(3_000)]
    file = written(tmp_path / "big.csv", wechat(moves))
    words = ("statements", "import", str(file), "--channel", "miniprogram", "--shop", "wx01")
    process = subprocess.Popen(
        [sys.executable, "-m", "runners.cli", *words, "--data", str(day.up.data)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    settings = load_settings(day.up.data)
    with closing(open_log(settings, read_only=True)) as log:
        stream = f"finance-miniprogram:wx01:{DAY}"

        def read() -> int:
            return len(log.select(stream))

        until(lambda: read() > 0, 60.0)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10.0)
        first = day.run(*words, "--json").json["statements"][0]
        assert (first["rows"], first["lines"], first["days"], first["refused"]) == (3_000, 6_000, [DAY], 0)
        assert read() == 6_001, "each line once, and the end of the statement"
        again = day.run(*words, "--json").json["statements"][0]
        assert (set(again["outcomes"]), read()) == ({"repeated"}, 6_001)


def test_a_bad_line_is_named_and_kept_and_two_kinds_of_statements_are_not_mixed(day: Day, tmp_path: Path) -> None:
    text = wechat([Movement("1", NOON, 100), Movement("2", NOON, 100)], "utf-8").decode()
    file = written(tmp_path / "bad.csv", text.replace("`421p", "`4.21E+27", 1).encode())
    said = day.run("statements", "import", file, "--channel", "miniprogram", "--shop", "wx02", code=1)
    assert "bad.csv, line 2: " in said.err
    assert "export the statement again" in said.err
    intake = day.run("intake", "--json").json
    assert [row["refused"] for row in intake if (row["channel"], row["shop"]) == ("miniprogram", "wx02")] == [1]
    until(lambda: day.run("statements", "list", "--shop", "wx02", "--json").json != [])
    other = written(tmp_path / "other.csv", douyin([Movement("1", NOON, 100)]))
    said = day.run("statements", "import", other, "--channel", "miniprogram", "--shop", "wx02", code=1)
    assert "would count money twice" in said.err


def test_money_of_a_channel_that_there_is_not_is_not_taken_in(day: Day, tmp_path: Path) -> None:
    file = written(tmp_path / "slip.csv", wechat([Movement("1", NOON, 100)]))
    said = day.run("statements", "import", file, "--channel", "minprogram", "--shop", "wx01", code=2)
    assert "there is no channel 'minprogram'; known are douyin, " in said.err
    assert day.run("statements", "list", "--channel", "minprogram", "--json").json == []


def test_who_compares_a_day_to_come_is_told_so(day: Day) -> None:
    said = day.run("reconcile", "day", "2099-01-01", code=None)
    assert "2099-01-01 is still to come" in said.err


def test_nothing_personal_of_a_statement_is_in_the_log(day: Day) -> None:
    settings = load_settings(day.up.data)
    with closing(open_log(settings, read_only=True)) as log:
        stored = b"".join(each.data + each.envelope for each in log.read(0, 1 << 30) if each.stream[:7] == "finance")
    assert b"line" in stored
    assert b"oUpF8u" not in stored


def test_a_damaged_row_is_named_and_a_good_read_model_differs_nowhere(day: Day) -> None:
    file = day.up.data / "read_models.db"
    key = day.orders("taobao")[0]
    good = day.run("self-check", "--orders", 200, "--json").json
    assert (good["differing_orders"], good["differ"]) == (0, [])
    assert good["rows"] > good["orders"] > 50
    with sqlite3.connect(file, timeout=10.0) as db:
        (table,) = db.execute(
            "SELECT name FROM sqlite_master WHERE name LIKE 'orders_v%' AND type = 'table'"
        ).fetchone()
        (before,) = db.execute(f"SELECT state FROM {table} WHERE key = ?", (key,)).fetchone()  # noqa: S608
        db.execute(f"UPDATE {table} SET state = 'awaiting_payment' WHERE key = ?", (key,))  # noqa: S608
    try:
        for words in (("--all",), ("--orders", 20_000)):
            said = day.run("self-check", *words, "--json", code=1).json
            assert said["differ"] == [{"view": table, "row": key, "what": "state"}]
            assert said["differing_orders"] == 1
        until(lambda: day.run("checks", "--json").json[0]["differing_orders"] == 1)
        assert day.run("checks", "--json").json[0]["differ"][0]["row"] == key
    finally:
        with sqlite3.connect(file, timeout=10.0) as db:
            db.execute(f"UPDATE {table} SET state = ? WHERE key = ?", (before, key))  # noqa: S608
    assert day.run("self-check", "--all").code == 0


async def test_what_up_does_each_day_leaves_its_result(day: Day) -> None:
    settings = load_settings(day.up.data)
    before = day.found()
    with closing(open_log(settings, read_only=True)) as log:
        async with Mailroom(settings, "daily-test") as mailroom:
            await run_day(settings, log, mailroom, days_after(DAY, 9), NOON)
        compared = [each for each in log.read(0, 1 << 30) if each.tag == "finance.compared"]
        assert b'"day":"%b"' % days_after(DAY, 9).encode() in compared[-1].data
        assert b'"system"' in compared[-1].envelope
    until(lambda: "system:daily" in day.run("checks", "--json").out)
    assert day.run("checks", "--json").json[0]["differing_orders"] == 0
    assert day.found() == before, "nothing has changed, and nothing is told anew"


def test_money_of_the_day_is_what_the_orders_say(day: Day) -> None:
    """The generator of the true bill goes by the log; the log goes by what the channels sent."""
    with closing(open_read_models(load_settings(day.up.data))) as views:
        shown = {row["key"]: row["amount_paid"] for row in views.orders(limit=10_000)}
    assert {key: each.paid for key, each in day.money.items()} == {key: shown[key] for key in day.money}
    assert msgspec.to_builtins(day.money[day.orders("taobao")[0]])["known"]
