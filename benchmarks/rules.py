"""The rule book: what judging an order costs, in the turn that takes it in.

The full example book (docs/examples/rules.toml) on a typical order of three lines, on one that most rules are about,
and the reading of the whole document, which happens once for each version.
"""

import time
from pathlib import Path
from typing import Any

from domain.canonical import Amounts, Line, Snapshot, SourceTime
from domain.rule_table import read_rules, rows_of
from domain.rules import judge
from domain.rulings import Facts

BOOK = Path(__file__).resolve().parents[1] / "docs" / "examples" / "rules.toml"
AT = SourceTime("2026-11-11 20:15:00", 1_794_399_300_000, 480, "2026-11-11T20:15:00.000+08:00")
ROUNDS = 20
"""In so many parts; the best of them counts: the machine does other things, too."""


def _order(**more: Any) -> Facts:
    lines = (
        Line("1", "DRL-18V-01", 1, name="充电电钻", unit_price=29_900, amount=29_900),
        Line("2", "BIT-SET-30", 2, name="钻头套装", unit_price=1_990, amount=3_980),
        Line("3", "GLOVES-L", 1, name="手套", unit_price=990, amount=990),
    )
    amounts = Amounts("CNY", goods=34_870, freight=600, payable=35_470, paid=35_470)
    facts = {"channel": "taobao", "attributes": {}, **more}
    view = Snapshot(
        shop="flagship",
        order_no="2960318827700002345",
        status="paid",
        native_status="WAIT_SELLER_SEND_GOODS",
        amounts=amounts,
        ordered_at=AT,
        modified_at=AT,
        lines=facts.pop("lines", lines),
        region="浙江省/杭州市",
        **facts,
    )
    return Facts(view, (), AT.utc_ms, AT.utc_ms)


def _us(book: Any, facts: Facts, times: int) -> float:
    best = float("inf")
    part = max(1, times // ROUNDS)
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(part):
            judge(book, facts, 1)
        best = min(best, time.process_time() - started)
    return round(best / part * 1e6, 1)


def measure(orders: int) -> dict[str, Any]:
    """Measure what judging costs."""
    text = BOOK.read_text(encoding="utf-8")
    started = time.perf_counter()
    book = read_rules(text)
    read_ms = (time.perf_counter() - started) * 1e3
    engraved = tuple(Line(str(number), f"BIT-{number}-ENG", 3, amount=9_900) for number in range(5))
    busy = _order(channel="miniprogram", attributes={"service": "rush"}, lines=engraved)
    return {
        "rules": len(rows_of(text)),
        "typical_us_per_order": _us(book, _order(), orders),
        "busy_us_per_order": _us(book, busy, orders),
        "empty_book_us_per_order": _us(read_rules(""), _order(), orders),
        "reading_the_book_ms": round(read_ms, 1),
    }
