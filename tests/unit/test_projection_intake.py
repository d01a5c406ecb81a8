"""The intake read model counts what became of everything that came in."""

from pathlib import Path

from adapters.storage.memory_log import MemoryEventLog
from adapters.storage.read_models import ReadModels
from domain import intake, order
from domain.cell import Untranslatable
from domain.ids import intake_key, order_key
from domain.mail import AsideReport, ChannelPayload
from runners.projector import Projector
from tests.trade import NOON_MS, Trade, view

NOTHING = {
    "accepted": 0,
    "amended": 0,
    "repeated": 0,
    "outdated": 0,
    "refused": 0,
    "refused_acts": 0,
    "quarantined": 0,
    "quarantined_open": 0,
    "queued": 0,
    "hints": 0,
    "ignored": 0,
    "unmatched": 0,
}


def test_each_fate_is_counted_for_its_channel_and_shop(tmp_path: Path) -> None:
    log = MemoryEventLog()
    trade = Trade(log)
    trade.take(view("1"))
    trade.take(view("1"))
    trade.take(view("1", modified=-5))
    trade.take(view("1", modified=9, units=2))
    trade.send(order_key("taobao", "s1", "1"), order.ResolveInterception("r1", "no-such", "release"))
    failed = Untranslatable("no lines", "", "", "digest")
    for shop, number in (("s1", "1"), ("s:2", "7")):
        trade.send(order_key("taobao", shop, number), ChannelPayload("taobao", shop, number), failed)
    another = Untranslatable("no lines", "", "", "another digest")
    trade.send(order_key("taobao", "s1", "1"), ChannelPayload("taobao", "s1", "1"), another)
    aside = intake_key("taobao", "s1")
    for kind in ("hint", "ignored", "refused", "quarantined"):
        trade.send(
            aside,
            AsideReport("taobao", "s1", kind, "why", kind.encode()),
            Untranslatable("", "", "", f"bytes of {kind}"),
        )
    trade.send(aside, intake.RecordUnmatched("u1", "cancellation", "no order"))
    read_models = ReadModels(f"sqlite:///{tmp_path}/rm.db")
    projector = Projector(log, read_models)
    projector.run()
    asides = {"hints": 1, "ignored": 1, "refused": 1, "unmatched": 1}
    s1 = {"accepted": 1, "amended": 1, "repeated": 1, "outdated": 1, "refused_acts": 1, "queued": 1}
    assert [
        {name: value for name, value in row.items() if name not in ("position", "updated_at")}
        for row in read_models.intake()
    ] == [
        {"channel": "taobao", "shop": "s1", **NOTHING, **s1, **asides, "quarantined": 2, "quarantined_open": 2},
        {"channel": "taobao", "shop": "s:2", **NOTHING, "quarantined": 1, "quarantined_open": 1},
    ]
    trade.send(aside, intake.DiscardAside("bytes of quarantined", "sent again"))
    trade.send(order_key("taobao", "s:2", "7"), order.DiscardQuarantined("d1", "life-7", "junk"))
    projector.run()
    assert [(row["shop"], row["quarantined"], row["quarantined_open"]) for row in read_models.intake()] == [
        ("s1", 2, 1),
        ("s:2", 1, 0),
    ]
    last = log.read(0, 1000)[-1]
    assert read_models.intake(shop="s:2")[0]["position"] == last.position
    assert read_models.intake(shop="s:2")[0]["updated_at"] == NOON_MS + 1000 * trade.mails
    read_models.close()


def test_an_order_released_from_waiting_for_itself_closes_no_quarantine(tmp_path: Path) -> None:
    log = MemoryEventLog()
    trade = Trade(log)
    key = order_key("taobao", "s1", "5")
    trade.append(
        key,
        order.QueuedBehind("m1", "order"),
        order.QueueReleased("order", "order_known"),
        order.OrderQuarantined("m2", "odd"),
        order.QueueReleased("m2", "resend"),
    )
    read_models = ReadModels(f"sqlite:///{tmp_path}/rm.db")
    Projector(log, read_models).run()
    (row,) = read_models.intake()
    assert (row["quarantined"], row["quarantined_open"], row["queued"]) == (1, 0, 1)
    read_models.close()
