"""Statements may come in any order, overlap, be imported again and be cut off by a kill: the result is the same."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.statements.reading import Statement
from domain.envelope import By
from domain.finance import Finance, Line
from domain.ids import parts_of
from domain.mail import Mail, Reply
from domain.matching import Cover, Money, judge
from domain.time_units import DAY_MS, MINUTE_MS
from runners.statements import take_in
from tests.spec import T0, Cell
from tests.statement_files import Movement, alipay_account, pinduoduo, wechat, written

BY = By("person", "fin", "finance")
WRITERS = {"miniprogram": wechat, "taobao": alipay_account, "pinduoduo": pinduoduo}


class Killed(Exception):
    """The importing process died."""


class Importing:
    """A cell that statements are imported into; it dies after so many messages."""

    def __init__(self) -> None:
        self.cell = Cell()
        self.left = -1

    async def send(self, mails: Sequence[Mail]) -> list[Reply]:
        replies = []
        for mail in mails:
            if self.left == 0:
                raise Killed
            self.left -= 1
            turn = self.cell.send(mail.to, mail.body, by=mail.by)
            replies.append(Reply(1, turn.outcome, turn.reason))
        return replies

    def take(self, file: Path, channel: str, killed_after: int = -1) -> None:
        self.left = killed_after
        try:
            asyncio.run(take_in(self.send, Statement(file, channel, "s"), BY, lambda: T0))
        except Killed:
            self.left = -1

    def state(self) -> dict[str, Finance]:
        return {key: held.state for key, held in self.cell.living.items() if key.startswith("finance-")}


def differences(states: dict[str, Finance]) -> list[object]:
    """Return what the match says of every order, where the log knows of one payment that no statement has."""
    lines: dict[str, list[Line]] = {"order-x:s:none": []}
    days = set()
    for key, state in states.items():
        if state.statements:
            days.add(parts_of(key)[2])
        for variants in state.lines.values():
            for line in variants:
                lines.setdefault(line.order, []).append(line)
    money = Money(known=True, currency="CNY", paid=100, paid_ms=T0)
    cover = Cover(frozenset(days))
    return [
        judge(order, money, found, cover, max(days, default="2026-02-02")) for order, found in sorted(lines.items())
    ]


movements = st.lists(
    st.builds(
        Movement,
        order_no=st.sampled_from(["1", "2", "3"]),
        at_ms=st.integers(0, 4).map(lambda day: T0 + day * DAY_MS)
        | st.integers(0, 9).map(lambda m: T0 + m * MINUTE_MS),
        amount=st.sampled_from([100, 5_000]),
        kind=st.sampled_from(["paid", "refunded"]),
        fee=st.sampled_from([0, 1]),
        number=st.integers(1, 6).map(lambda each: f"9{each}"),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda each: each.number,
)


@settings(max_examples=50)
@given(st.data(), st.sampled_from(sorted(WRITERS)), st.lists(movements, min_size=1, max_size=3))
def test_any_order_and_repetition_ends_alike(data: st.DataObject, channel: str, bills: list[list[Movement]]) -> None:
    with TemporaryDirectory() as folder:
        files = [written(Path(folder) / f"{at}.csv", WRITERS[channel](bill)) for at, bill in enumerate(bills)]
        straight = Importing()
        for file in files:
            straight.take(file, channel)
        crooked = Importing()
        for file in data.draw(st.lists(st.sampled_from(files), max_size=4), label="first, and cut off"):
            crooked.take(file, channel, killed_after=data.draw(st.integers(0, 5)))
        for file in data.draw(st.permutations([*files, *files]), label="then all of them"):
            crooked.take(file, channel)
        assert crooked.state() == straight.state()
        assert differences(crooked.state()) == differences(straight.state())
        kept = sum(len(state.lines) for state in straight.state().values())
        assert kept == sum(tag == "finance.line_read" for tag in straight.cell.tags()) or any(
            len(variants) > 1 for state in straight.state().values() for variants in state.lines.values()
        )
