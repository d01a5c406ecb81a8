"""Takes statements in: file by file, row by row, through the mail. Killed at any place and begun again, it ends alike.

Lines travel with their day's actor; the word that a day was read to its end goes out last, so that half an import never
looks like a day without payments. Rows that cannot be read are kept, sealed, in the shop's intake.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from adapters.statements.reading import ReadRow, Statement
from domain.envelope import By
from domain.finance import LINES_MAX, CloseStatement, Line, TakeLines
from domain.ids import finance_key, intake_key
from domain.mail import AsideReport, Mail, Reply
from domain.matching import day_of, days_after

Send = Callable[[Sequence[Mail]], Awaitable[Sequence[Reply]]]
DAYS_MAX = 400
"""Most days of one statement; more is a wrong time."""
PROBLEMS_MAX = 1_000


class Problem(NamedTuple):
    """A row that could not be taken."""

    file: str
    line: int
    reason: str


class Taken:
    """What became of one statement."""

    def __init__(self, statement: Statement) -> None:
        """Nothing is sent yet."""
        self.file = statement.file.name
        self.format = statement.format.name
        self.statement = statement.digest
        self.rows = 0
        self.refused = 0
        self.lines = 0
        self.outcomes: Counter[str] = Counter()
        """Messages by outcome."""
        self.problems: list[Problem] = []
        """The first of them."""
        self.days: tuple[str, ...] = ()
        """Days that count as read now."""
        self.open = ""
        """Why none does."""


async def take_in(send: Send, statement: Statement, by: By, now_ms: Callable[[], int], day: str = "") -> Taken:
    """Take a statement in.

    Args:
        send: sends mail and returns what became of it.
        statement: what is to be read.
        by: who takes it in.
        now_ms: the clock, UTC ms.
        day: YYYY-MM-DD that it is of, where it has no rows that say so.

    Raises:
        OSError: it could not be read to its end; what was read is taken.
    """
    channel, shop = statement.channel, statement.shop
    taken = Taken(statement)
    tag = f"statement/{channel}/{statement.digest[:12]}"
    waiting: dict[str, list[Line]] = {}
    held = 0
    days: Counter[str] = Counter()

    async def flush() -> None:
        nonlocal held
        mails = [
            Mail(finance_key(channel, shop, each), TakeLines(statement.digest, tuple(lines)), now_ms(), by, tag)
            for each, lines in waiting.items()
        ]
        waiting.clear()
        held = 0
        for reply in await send(mails) if mails else ():
            taken.outcomes[reply.outcome] += 1
            if reply.outcome not in ("accepted", "repeated"):
                taken.open = taken.open or f"lines of it were {reply.outcome}: {reply.reason}"

    for row in statement.rows():
        if row.problem:
            await _aside(send, row, taken, channel, shop, by, now_ms(), tag)
            continue
        for line in row.lines:
            each = day_of(line.at_ms)
            days[each] += 1
            waiting.setdefault(each, []).append(line)
            held += 1
        if held >= LINES_MAX - 50:
            await flush()
    await flush()
    taken.rows, taken.refused, taken.lines = statement.read, statement.refused, sum(days.values())
    told = sorted({*days, *((day,) if day else ())})
    taken.open = taken.open or statement.cut or _span_problem(told)
    if not taken.open:
        first, last = told[0], told[-1]
        span = [first]
        while span[-1] < last:
            span.append(days_after(span[-1], 1))
        settles = statement.format.settles
        closes = [
            CloseStatement(statement.digest, statement.format.name, settles, days[each], statement.refused)
            for each in span
        ]
        mails = [
            Mail(finance_key(channel, shop, each), close, now_ms(), by, tag)
            for each, close in zip(span, closes, strict=True)
        ]
        for reply in await send(mails):
            taken.outcomes[reply.outcome] += 1
        taken.days = tuple(span)
    return taken


def _span_problem(days: Sequence[str]) -> str:
    """Return why no day counts as read; "" where those from the first to the last do."""
    if not days:
        return "it has no rows: say with --day of which day it is, so that the day counts as read"
    if days_after(days[0], DAYS_MAX) < days[-1]:
        return f"its days run from {days[0]} to {days[-1]}: a row has a wrong time, or --day is wrong"
    return ""


async def _aside(
    send: Send, row: ReadRow, taken: Taken, channel: str, shop: str, by: By, now_ms: int, tag: str
) -> None:
    """Keep the bytes of a row that cannot be read; what is recorded of it quotes nothing of it."""
    if len(taken.problems) < PROBLEMS_MAX:
        taken.problems.append(Problem(taken.file, row.number, row.problem))
    reason = f"row {row.number} of a {taken.format} statement cannot be read; export it again and import it"
    report = AsideReport(channel, shop, "refused", reason, row.raw.encode("utf-8", "replace"))
    for reply in await send([Mail(intake_key(channel, shop), report, now_ms, by, tag)]):
        taken.outcomes[reply.outcome] += 1
