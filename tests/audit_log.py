"""A small log of believable events, made by the cell's own turns, for tests of what reads logs."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from adapters.storage.sealing import payload_digest, seal
from adapters.storage.sqlite_log import SqliteEventLog
from adapters.storage.vault import SqliteVault
from domain import order, stock
from domain.canonical import Amounts, Line, Snapshot, SourceTime, Status
from domain.catalogue import decode_event
from domain.cell import DECIDERS, Held, Message, Missing, Prepared, Taken, run_turn
from domain.decider import fold
from domain.envelope import By
from domain.ids import kind_of, order_key
from domain.mail import Body, ChannelPayload, Mail
from domain.ports import Advance, EventLog, Payload, StoredSnapshot, Vault

DAY = 1_770_000_000_000
"""When the story begins, UTC ms."""
INCARNATION = "life1"


def moment(ms: int) -> SourceTime:
    return SourceTime(str(ms), ms, 480, str(ms))


def snapshot(number: int, status: Status, modified_ms: int, quantity: int = 2) -> Snapshot:
    line = Line(f"{number}-1", f"SKU{number % 7}", quantity, "tea 茶", "item", "", 990, 0, 990 * quantity)
    amount = 990 * quantity
    paid = 0 if status == "awaiting_payment" else amount
    return Snapshot(
        "taobao",
        "shop1",
        str(10_000 + number),
        status,
        status.upper(),
        Amounts("CNY", amount, payable=amount, paid=paid),
        moment(DAY + number),
        moment(modified_ms),
        (line,),
        region="浙江 / 杭州",
        paid_at=moment(modified_ms) if paid else None,
    )


def key_of(number: int) -> str:
    return order_key("taobao", "shop1", str(10_000 + number))


class Story:
    """Feeds messages to a cell, one commit each, as the worker would."""

    def __init__(self, log: EventLog, vault: Vault) -> None:
        self.log, self.vault = log, vault
        self.tracked = log.take_over()
        if not self.tracked.incarnation:
            self.tracked = log.set_incarnation(self.tracked.epoch, INCARNATION, 0)
        self.sequence = self.tracked.position
        self.states: dict[str, Held] = {}
        self.now = DAY
        self.personal = b'{"receiver":{"name":"Wang"}}'

    def send(self, to: str, body: Body, prepared: Prepared | None = None, payloads: tuple[Payload, ...] = ()) -> int:
        """Run one message's turn and commit it; return the log's head."""
        self.sequence += 1
        self.now += 1_000
        mail = Mail(to, body, self.now, By("channel", "taobao"), f"batch-{self.sequence // 10}")
        message = Message(f"{INCARNATION}-{self.sequence}", self.now + 5, mail)
        while True:
            try:
                self.load(to, "warehouse-A")
                turn = run_turn(message, self.states, prepared)
                break
            except Missing as missing:
                self.load(*missing.streams)
        self.states.update(turn.states)
        digest = sha256(message.id.encode()).digest()
        position = self.sequence
        advance = Advance(INCARNATION, self.tracked.epoch, position - 1, position, digest, message.at_ms)
        snapshots: tuple[StoredSnapshot, ...] = ()
        ledger = self.states["warehouse-A"]
        if position % 50 == 0:
            data = stock.to_snapshot(ledger.state)
            snapshots = (StoredSnapshot("warehouse-A", ledger.version, stock.SNAPSHOT_TAG, data),)
        kept = payloads if turn.keeps_payload else ()
        return self.log.append(turn.records, payloads=kept, snapshots=snapshots, advance=advance)

    def load(self, *streams: str) -> None:
        for stream in streams:
            if stream not in self.states:
                decider = DECIDERS[kind_of(stream)]
                loaded = self.log.select_many((stream,)).get(stream)
                events = loaded.events if loaded else ()
                version, state = 0, decider.initial
                if loaded and loaded.snapshot:
                    version, state = loaded.snapshot.version, stock.from_snapshot(loaded.snapshot.data)
                state = fold(decider, [decode_event(event.tag, event.data) for event in events], state)
                self.states[stream] = Held(version + len(events), state)

    def take(self, number: int, status: Status, quantity: int = 2) -> int:
        """Let the channel report an order."""
        key = key_of(number)
        data_key = self.vault.keys((key,), create=True)[key]
        seen = snapshot(number, status, self.now, quantity)
        raw = f'{{"tid": {10_000 + number}, "status": "{status}", "at": {self.now}}}'.encode()
        sealed = seal(data_key, key, raw)
        payload = Payload(payload_digest(sealed), key, sealed)
        digest = sha256(raw).hexdigest()[:32]
        half = seal(data_key, key, self.personal)
        taken = Taken(order.TakeSnapshot(seen, digest, "address", payload.digest.hex(), half))
        return self.send(key, ChannelPayload("taobao", "shop1", str(10_000 + number), raw), taken, (payload,))

    def receive(self, document: str, units: int = 1_000) -> int:
        lines = tuple((f"SKU{number}", units) for number in range(6))
        return self.send("warehouse-A", stock.ReceiveStock(document, lines))

    def tell(self, orders: int, first: int = 1) -> None:
        """A stretch of trade: paid at once, paid late, shipped, cancelled, short of stock, repeated."""
        self.receive(f"receipt-{first}")
        for number in range(first, first + orders):
            if number % 3 == 0:
                self.take(number, "awaiting_payment")
            self.take(number, "paid")
            if number % 5 == 0:
                self.send(key_of(number), order.CancelLines(f"cancel-{number}", (), "changed their mind"))
            elif number % 2 == 0:
                self.send(key_of(number), order.ScanOut(f"scan-{number}", f"SF{number}", "SF"))
            if number % 4 == 0:
                self.take(number, "completed")
        self.send("warehouse-A", stock.AdjustStock(f"count-{first}", "SKU1", -3, "broken"))


def make_log(directory: Path, orders: int = 30) -> None:
    """Write a log and its keys into a data directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for story in open_story(directory):
        story.tell(orders)


def open_story(directory: Path) -> Iterator[Story]:
    """Go on telling in a data directory; closes its files behind."""
    log = SqliteEventLog(directory / "log.db")
    vault = SqliteVault(directory / "keys.db")
    try:
        yield Story(log, vault)
    finally:
        log.close()
        vault.close()
