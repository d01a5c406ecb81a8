"""Rows for the ERP that stays beside: what happened to an order, one way, in the ERP's own twelve fields."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from adapters.erp.fields import ErpLine, ErpRecord
from adapters.erp.outlets import BadErp, CsvFolder, ErpSettings, HttpOutlet, Outlet, read_settings
from adapters.platforms.connection import Connection
from domain.after_sale import OrderRefunded
from domain.canonical import Snapshot
from domain.order import OrderAmended, OrderShipped
from domain.order.questions import live_lines
from domain.platforms import NotAuthorised
from runners import settings_file
from runners.connection_keys import FileKeys
from runners.effects_kind import Gone, Happened, Kind, Unusable, last_view
from runners.effects_store import Job
from runners.wms_orders import state_of

ERP_FILE = "erp.json"
ERP_WORDS: Mapping[str, str] = {
    "order.paid": "paid",
    "order.shipped": "shipped",
    "order.completed": "completed",
    "order.cancelled": "cancelled",
    "order.refunded": "refunded",
}
"""Tag → what an ERP is told."""
_AMENDED = "order.amended"
"""Of amended orders it is told only of a counter sale that was complete before: goods of it follow."""
_LAST_WORDS = ("completed", "shipped", "paid")
"""A counter sale is all of these at once; an ERP hears of its change by the last of them that it wants to hear."""
_AS_ORDERED = frozenset({"cancelled", "refunded"})
"""Of these it hears with the lines as they were ordered; of all others with what is still wanted of them."""
_ENDS_OF_SALE = frozenset({"order.completed", "order.cancelled"})


class ErpRows(Kind):
    """Tells the ERP that `erp.json` names."""

    name = "erp"
    files = (ERP_FILE,)
    in_turn = True

    def __init__(self, data: Path) -> None:
        """Nothing is read yet."""
        self._data = data
        self._erp: ErpSettings | None = None
        self._outlet: Outlet | None = None

    def tells(self) -> frozenset[str]:
        """Return what the ERP is to be told (words of `ERP_WORDS`); empty where there is none."""
        return frozenset(self._erp.tells) if self._erp is not None else frozenset()

    @property
    def tags(self) -> frozenset[str]:
        """Return those of which the ERP hears."""
        told = self.tells()
        return frozenset(tag for tag, word in ERP_WORDS.items() if word in told) | ({_AMENDED} if told else frozenset())

    async def refresh(self) -> None:
        """Read `erp.json` anew; see `Kind.refresh`."""
        try:
            erp = self._read()
        except BadErp as error:
            raise Unusable(str(error)) from error
        if erp != self._erp:
            await self.close()
        self._erp = erp

    def asked_by(self, happened: Happened, now_ms: int) -> list[Job]:
        """Return the row that the ERP is to have of it."""
        fact, tag = happened.fact, happened.recorded.tag
        if isinstance(fact, OrderAmended):
            told = self.tells()
            word = next((word for word in _LAST_WORDS if word in told), "")
            if not word or not _is_sale_that_grew(happened, fact.snapshot):
                return []
        else:
            word = ERP_WORDS[tag]
        snapshot = happened.snapshot
        assert snapshot is not None, "an order to which this happened has been seen"
        lines = _lines(snapshot, fact) if word in _AS_ORDERED else _wanted_lines(happened, snapshot)
        if not lines:
            return []
        tracking = next((parcel.tracking for parcel in fact.parcels), "") if isinstance(fact, OrderShipped) else ""
        record = ErpRecord(
            happened.key,
            word,
            snapshot.order_no,
            snapshot.channel,
            snapshot.shop,
            snapshot.ordered_at.local,
            snapshot.customer,
            snapshot.amounts.currency,
            tracking,
            lines,
        )
        stream, at_ms = happened.recorded.stream, happened.envelope.at
        return [Job(happened.key, self.name, self.name, stream, msgspec.json.encode(record), at_ms, now_ms)]

    async def do(self, job: Job) -> str:
        """Tell the ERP; see `Kind.do`."""
        try:
            return await self._to_erp().tell(msgspec.json.decode(job.document, type=ErpRecord))
        except NotAuthorised:
            # The next try reads the token again: somebody may have put a good one there.
            await self.close()
            raise

    async def close(self) -> None:
        """Release its connections."""
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            await outlet.close()

    def _to_erp(self) -> Outlet:
        if self._erp is None:
            raise Gone(f"there is no {ERP_FILE} any more; put it back, then retry")
        if self._outlet is None:
            self._outlet = self._made(self._erp)
        return self._outlet

    def _made(self, settings: ErpSettings) -> Outlet:
        if settings.kind == "csv":
            return CsvFolder(self._data / Path(settings.folder).expanduser(), settings)
        token = ""
        if "token" in settings.secrets:
            erp = Connection(self.name, self.name, self.name, secrets=settings.secrets)
            token = FileKeys(self._data, erp).secret("token")
        return HttpOutlet(settings, token)

    def _read(self) -> ErpSettings | None:
        file = self._data / ERP_FILE
        raw = settings_file.read(file, BadErp, "turn away what is told")
        return None if raw is None else read_settings(raw, str(file))


def _is_sale_that_grew(happened: Happened, now: Snapshot) -> bool:
    """Tell whether this is a counter sale that was complete, and is another one now."""
    if now.kind != "counter" or now.status != "completed":
        return False
    earlier = [each for each in happened.story if each.version < happened.recorded.version]
    ends = [each.tag for each in earlier if each.tag in _ENDS_OF_SALE]
    before = last_view(earlier)
    return ends[-1:] == ["order.completed"] and before is not None and _lines(before) != _lines(now)


def _lines(snapshot: Snapshot, fact: Any = None) -> tuple[ErpLine, ...]:
    return tuple(
        ErpLine(line.sku or line.item, line.name, line.quantity, line.unit_price, line.amount)
        for line in snapshot.lines
        if _concerned(fact, line.id)
    )


def _wanted_lines(happened: Happened, snapshot: Snapshot) -> tuple[ErpLine, ...]:
    """Return the lines without what channel or people cancelled of them; their amounts by the units that are left."""
    story = [each for each in happened.story if each.version <= happened.recorded.version]
    wanted = {line.id: units for line, units in live_lines(state_of(story))}
    return tuple(
        ErpLine(line.sku or line.item, line.name, units, line.unit_price, line.amount * units // line.quantity)
        for line in snapshot.lines
        if (units := wanted.get(line.id, 0))
    )


def _concerned(fact: Any, line: str) -> bool:
    return not isinstance(fact, OrderRefunded) or not fact.lines or line in fact.lines
