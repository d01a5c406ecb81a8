"""Real order lines over three channels: every invoice ends as an order, a cancellation, or with a reason."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from domain.envelope import By
from domain.ids import intake_key, warehouse_key
from domain.intake import RecordUnmatched
from domain.mail import AsideReport, ChannelPayload, Mail, Reply
from domain.order import CancelLines, ResolveInterception, ScanOut
from domain.stock import AdjustStock, ReceiveStock
from domain.time_units import DAY_MS, HOUR_MS
from runners.simulating.courier import Courier, fingerprint
from runners.simulating.drive import tick
from runners.simulating.feed import Feed, Happened
from runners.simulating.matching import Found, Matcher, Wanted
from runners.simulating.retail_file import BadSource, Invoice, RetailFile
from runners.simulating.retail_rules import Kind, Read, channel_of, deal_of, read
from runners.simulating.world import CHANNELS, SHOPS, Act, Handed, key_of, line_id_of, write

__all__ = ["BadSource", "Retail", "trade_file"]

OPENING_SHARE: Final = 0.5
"""Opening stock as a share of each SKU's demand over the whole file."""
LATER_SHARE: Final = 0.42
"""What a receipt of goods brings in the middle of the file's time."""
_STOCK_LINES_MAX: Final = 1_000
_PAUSE_EVERY: Final = 8
"""Messages written between two looks at what the cell answers."""
_TAG: Final = "retail/"
_TELL_S: Final = 5.0


class _Awaited(msgspec.Struct):
    """An invoice whose answers are not all there."""

    kind: Kind
    reason: str
    left: int
    answers: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)

    def end(self) -> str:
        """Say what became of it."""
        outcomes = {outcome for _, outcome in self.answers}
        if self.kind == "order":
            return "orders: " + ", ".join(sorted(outcomes))
        if self.kind == "refused":
            return f"refused: {self.reason}"
        if self.kind == "correction":
            return (
                "stock corrections" if outcomes == {"accepted"} else f"stock corrections: {', '.join(sorted(outcomes))}"
            )
        matched = any(body == "CancelLines" for body, _ in self.answers)
        if any(outcome == "refused" for _, outcome in self.answers):
            return "cancellations refused by their order"
        if matched:
            return "cancellations matched" + (" in part" if "unmatched" in outcomes else "")
        return "cancellations of services only" if self.reason else "cancellations not matched"


class Retail:
    """A file of real order lines on its way to a cell."""

    def __init__(self, path: Path, channels: tuple[str, ...] = CHANNELS) -> None:
        """Read the file.

        Raises:
            BadSource: it cannot be used.
        """
        self.file = RetailFile(path)
        self._channels = channels
        self.rules: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        """What became of the invoices: each counts once."""
        self._awaited: dict[str, _Awaited] = {}
        self._numbers: dict[tuple[str, str], str] = {}
        """(Key, order number) of bytes under way → invoice."""
        self._matcher = Matcher(self.file.cancelled_pairs())
        self._demand: Counter[str] = Counter()
        self._first_ms = self._last_ms = 0
        for invoice in self.file:
            self._first_ms = self._first_ms or invoice.at_ms
            self._last_ms = max(self._last_ms, invoice.at_ms)
            found = read(invoice, Counter())
            if found.kind == "order" and not self._counter(invoice, len(found.goods)):
                self._demand.update({row.sku: row.quantity for row in found.goods})
        self.shipped = 0
        self.released = 0

    @property
    def middle_ms(self) -> int:
        """When more goods come in."""
        return (self._first_ms + self._last_ms) // 2

    @property
    def first_ms(self) -> int:
        """Time of the first invoice."""
        return self._first_ms

    def summary(self) -> dict[str, Any]:
        """Return what became of the invoices, and the rules that were applied."""
        accounted = sum(self.ends.values())
        return {
            "lines": self.file.lines,
            "invoices": self.file.invoices,
            **dict(sorted(self.ends.items())),
            "lost": self.file.invoices - accounted,
            **{f"rule: {name}": count for name, count in sorted(self.rules.items())},
            "scanned out": self.shipped,
            "released after a receipt of goods": self.released,
        }

    def stock(self, name: str, share: float, at_ms: int) -> list[Act]:
        """Return the receipts of goods that bring this share of each SKU's demand."""
        lines = [(sku, units) for sku, wanted in sorted(self._demand.items()) if (units := round(wanted * share))]
        key = warehouse_key("A")
        return [
            Act(at_ms, key, ReceiveStock(f"{name}-{start}", tuple(lines[start : start + _STOCK_LINES_MAX])), "keeper")
            for start in range(0, len(lines), _STOCK_LINES_MAX)
        ]

    def take(self, invoice: Invoice, courier: Courier) -> list[Mail]:
        """Return the mail of one invoice, whose answers are awaited from now on."""
        found = read(invoice, self.rules)
        mails = list(self._mails(invoice, found, courier))
        self._awaited[invoice.number] = _Awaited(found.kind, found.reason, len(mails))
        for mail in mails:
            if isinstance(mail.body, ChannelPayload | AsideReport):
                self._numbers[mail.to, mail.body.order_no] = invoice.number
        return mails

    def answered(self, mail: Mail, reply: Reply) -> None:
        """Note an answer; when the last of an invoice is there, it is told what became of it."""
        number = mail.source_tag.removeprefix(_TAG)
        if isinstance(mail.body, ChannelPayload | AsideReport):
            number = self._numbers.pop((mail.to, mail.body.order_no), "")
        awaited = self._awaited.get(number)
        if awaited is None:
            return
        awaited.left -= 1
        awaited.answers[type(mail.body).__name__, reply.outcome] += 1
        if awaited.left == 0:
            del self._awaited[number]
            self.ends[awaited.end()] += 1

    def _mails(self, invoice: Invoice, found: Read, courier: Courier) -> Iterator[Mail]:
        channel = channel_of(invoice, self._channels, len(found.goods))
        match found.kind:
            case "order":
                deal = deal_of(invoice, found, channel, self.rules)
                key = key_of(deal)
                for at, item in enumerate(deal.items):
                    self._matcher.sold(invoice.customer, item.sku, item.quantity, key, line_id_of(deal, at))
                form: Any = "table" if channel == "pos" else "json"
                shop = "" if channel == "pos" else deal.shop
                yield from courier.mails(Handed(invoice.at_ms, channel, shop, write(deal), form))
            case "cancellation":
                yield from self._cancel(invoice, [Wanted(row.sku, -row.quantity) for row in found.goods], channel)
            case "correction":
                for place, row in enumerate(found.goods):
                    document = f"ADJ-{invoice.number}-{place}"
                    adjust = AdjustStock(document, row.sku, row.quantity, row.name or "count")
                    yield Mail(warehouse_key("A"), adjust, invoice.at_ms, _KEEPER, _tag(invoice))
            case "refused":
                raw = f"{invoice.number}: {found.services}".encode()
                report = AsideReport(channel, SHOPS[channel], "refused", found.reason, raw, "", invoice.number)
                yield Mail(intake_key(channel, SHOPS[channel]), report, invoice.at_ms, _by(channel), _tag(invoice))

    def _cancel(self, invoice: Invoice, wanted: list[Wanted], channel: str) -> Iterator[Mail]:
        found: list[Found] = []
        unmatched = [each for each in wanted if each.quantity <= 0]
        if invoice.customer:
            found, rest = self._matcher.match(invoice.customer, [each for each in wanted if each.quantity > 0])
        else:
            rest = [each for each in wanted if each.quantity > 0]
        unmatched += rest
        by_order: dict[str, dict[str, int]] = {}
        for each in found:
            lines = by_order.setdefault(each.order, {})
            lines[each.line] = lines.get(each.line, 0) + each.quantity
        for key, lines in by_order.items():
            cancel = CancelLines(invoice.number, tuple(lines.items()), f"cancellation {invoice.number}")
            yield Mail(key, cancel, invoice.at_ms, By("person", "sim-service", "service"), _tag(invoice))
        if unmatched or not wanted:
            self.rules["cancelled lines without their order"] += len(unmatched)
            what = ", ".join(f"{each.quantity} × {each.sku}" for each in unmatched) or "services"
            if not wanted:
                reason = "a refund of services, without goods"
            elif not invoice.customer:
                reason = "it names no customer"
            else:
                reason = "no earlier order of this customer has so many of it left"
            record = RecordUnmatched(invoice.number, f"{invoice.number}: {what}"[:2000], reason)
            yield Mail(intake_key(channel, SHOPS[channel]), record, invoice.at_ms, _by(channel), _tag(invoice))

    def _counter(self, invoice: Invoice, lines: int) -> bool:
        return not invoice.customer and channel_of(invoice, self._channels, lines) == "pos"


async def trade_file(
    retail: Retail, courier: Courier, feed: Feed, *, stop: asyncio.Event, tell: Callable[[str], None]
) -> None:
    """Send a whole file, day by day; the warehouse scans out in the evening what it was asked to pick.

    Raises:
        NoAnswer, FeedBehind: the cell does not come along.
    """
    courier.watch = retail.answered
    warehouse = _Warehouse(retail, courier, feed)
    told = time.monotonic()
    sent = 0
    opening = retail.stock("RETAIL-0", OPENING_SHARE, retail.first_ms - HOUR_MS)
    await courier.send([mail for act in opening for mail in courier.mails(act)])
    more = retail.middle_ms
    slot: list[Mail] = []
    evening = before = 0
    for invoice in retail.file:
        if stop.is_set():
            return
        if invoice.at_ms >= evening:
            if slot:
                # First the evening of the day before; while the cell works on this day, the next one is being written.
                await warehouse.evening(before)
                before = evening
                await courier.send(slot)
                sent += len(slot)
                slot = []
            if more and invoice.at_ms > more:
                await warehouse.goods_in(more)
                more = 0
            evening = (invoice.at_ms // DAY_MS + 1) * DAY_MS
        elif len(slot) % _PAUSE_EVERY == 0:
            await asyncio.sleep(0)
        slot += retail.take(invoice, courier)
        if time.monotonic() - told > _TELL_S:
            told = time.monotonic()
            tell(f"  {sent:,} messages sent, {sum(retail.ends.values()):,} of {retail.file.invoices:,} invoices done")
    await warehouse.evening(before)
    await courier.send(slot)
    await warehouse.evening(evening)
    await tick(courier, evening + DAY_MS)


class _Warehouse:
    """The people of the warehouse: they pick in the evening, and release what waited when goods have come in."""

    def __init__(self, retail: Retail, courier: Courier, feed: Feed) -> None:
        self._retail = retail
        self._courier = courier
        self._feed = feed
        self._short: dict[str, str] = {}
        """Order → its interception."""

    async def evening(self, at_ms: int) -> None:
        """Scan out what is to be picked."""
        happened = await self._feed.upto(await self._courier.answered())
        lists = self._sort(happened)
        mails = []
        for stream, name in lists.items():
            scan = ScanOut(f"scan-{name}", f"GB{fingerprint(stream, b'')[:6].hex()}", "Royal Mail")
            mails.append(Mail(stream, scan, at_ms, _KEEPER, "retail"))
        self._retail.shipped += len(mails)
        await self._courier.send(mails)

    async def goods_in(self, at_ms: int) -> None:
        """Receive more of everything, and try again what was short."""
        acts = self._retail.stock("RETAIL-1", LATER_SHARE, at_ms)
        await self._courier.send([mail for act in acts for mail in self._courier.mails(act)])
        await self.evening(at_ms)
        mails = []
        for stream, name in self._short.items():
            resolve = ResolveInterception(f"release-{name}", name, "release", "goods are here")
            mails.append(Mail(stream, resolve, at_ms, By("person", "sim-operations", "operations"), "retail"))
        self._retail.released += len(mails)
        self._short.clear()
        await self._courier.send(mails)

    def _sort(self, happened: list[Happened]) -> dict[str, str]:
        """Return the pick lists that stand, by order; remember what is short."""
        lists: dict[str, str] = {}
        for event in happened:
            match event.tag:
                case "order.pick_list_issued":
                    lists[event.stream] = str(event.data["pick_list"])
                case "order.intercepted" if event.data["reason"] == "stock_short":
                    self._short[event.stream] = str(event.data["interception"])
                case "order.cancelled" | "order.released" | "order.shipped":
                    lists.pop(event.stream, None)
                    if event.tag != "order.released":
                        self._short.pop(event.stream, None)
        return lists


_KEEPER: Final = By("person", "sim-keeper", "keeper")


def _by(channel: str) -> By:
    return By("channel", channel)


def _tag(invoice: Invoice) -> str:
    return f"{_TAG}{invoice.number}"
