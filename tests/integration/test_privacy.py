"""A person who is forgotten is gone for good, from every file, and the proof of everything stays."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.storage.checkpoints import CheckpointFolder, Signer
from adapters.storage.scan import SqliteScan
from adapters.storage.vault import KeysHeld, SqliteVault
from domain.ids import BUYERS_KEY, PRIVACY_KEY, intake_key, kind_of
from domain.mail import ChannelPayload
from domain.order import DiscardQuarantined, OrderAmended, OrderNormalized, OrderQuarantined, OrderRefused, TimerSet
from domain.privacy import (
    ErasureDelayed,
    ForgettingAsked,
    ForgettingAwaited,
    PersonForgotten,
    PrivacyRefused,
    RecordDisclosure,
)
from domain.talk import Comment
from projections.order_document import VERSION
from runners import erasures
from runners.audit import Verified, verify
from runners.audited import scan_of
from runners.backup import make_backup, restore, scrub_keys
from runners.bootstrap import KEYS_FILE, LOG_FILE, open_read_models, open_vault
from runners.cli import run
from runners.disclosure import as_html, as_json, held
from runners.engine import Delivered
from runners.person import Unclear
from runners.prepare import Job, do, ready
from runners.replay import replay_states
from runners.timers import load_timers
from runners.upstart import check_store
from runners.words import seal_words
from tests.privacy_world import (
    CUSTOMER,
    MEMO,
    NAME,
    PHONE,
    SECRETS,
    T0,
    Cell,
    Killed,
    cell,
    forget,
    key_of,
    needles,
    traces,
    trade,
)

MINE = ["A-100001", "A-100002"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Cell]:
    """A person with two finished orders, a comment, an aside that names him; and somebody else."""
    with cell(tmp_path / "data") as made:
        for number in MINE:
            assert made.take(number, trade(number)).outcome == "accepted"
        assert made.take("B-1", trade("B-1", person=False)).outcome == "accepted"
        key = key_of(MINE[0])
        told, sealed = seal_words(made.data_keys()[key], key, {"text": f"{NAME} 来电"})
        assert made.mail(key, Comment("say-1", told=told, sealed=sealed)).outcome == "accepted"
        made.aside(f"half a file of {PHONE} {NAME}".encode())
        made.aside(f"push about {MINE[1]} for {NAME}".encode(), "hint", MINE[1])
        made.aside(b"somebody else's 13900000001")
        yield made


def verified(place: Cell) -> Verified:
    data = place.data
    with closing(open_vault(place.settings)) as vault:
        return verify(
            partial(SqliteScan, data / LOG_FILE),
            "main",
            folder=CheckpointFolder(data.with_name("data.checkpoints")),
            signer=Signer.open(data / "checkpoint_key.pem"),
            vault=vault,
            open_blocks=True,
        )


async def forgotten(place: Cell) -> None:
    assert place.ask().outcome == "accepted"
    await place.effects()
    assert isinstance(place.facts(PRIVACY_KEY)[-1], PersonForgotten)


async def test_no_byte_of_the_person_or_of_his_keys_is_in_any_file(place: Cell) -> None:
    mine = {stream: key for stream, key in place.data_keys().items() if "A-1" in stream}
    assert len(mine) == 2
    place.project()
    before = place.person(PHONE)
    assert (before.orders, len(before.asides)) == (list(mine), 1)
    aside = place.data_keys()[before.asides[0]]
    assert traces(place.data, [*mine.values(), aside]), "the keys are there before, so that the look means something"
    await forgotten(place)
    place.project()
    assert traces(place.data, needles([*mine.values(), aside])) == []
    place.close()
    assert traces(place.data.parent, needles([*mine.values(), aside])) == []
    place._open()
    left = place.data_keys()
    assert key_of("B-1") in left, "nobody else loses anything"
    assert sum(stream.startswith("aside-") for stream in left) == 1


async def test_every_hash_still_verifies_and_a_replay_is_the_same_to_the_byte(place: Cell) -> None:
    place.project()
    assert verified(place).forgotten == 0
    await forgotten(place)
    place.project()
    found = verified(place)
    assert (found.problems, found.notes) == ([], [])
    assert found.forgotten == 7, "two views, one comment, two payloads, two asides"
    assert found.opened > 0
    assert replay_states(place.log).problems == []
    assert run(["audit", "replay", "--data", str(place.data)]) == 0
    with closing(open_read_models(place.settings)) as views:
        shown = views.order(key_of(MINE[0]))
        assert shown is not None
        assert (shown["sealed"], shown["erased"], shown["customer"]) == (None, "c-1", "")
        other = views.order(key_of("B-1"))
        assert other is not None
        assert other["sealed"] is not None
        assert "erased" not in other


async def test_nothing_leads_from_the_customer_to_his_orders_any_more(place: Cell) -> None:
    place.project()
    with closing(open_read_models(place.settings)) as views:
        digest = next(row["customer"] for row in views.orders() if row["key"] == key_of(MINE[0]))
        assert len(views.orders({"customer": digest})) == 2
    await forgotten(place)
    place.project()
    with closing(open_read_models(place.settings)) as views:
        assert views.orders({"customer": digest}) == []
    with closing(sqlite3.connect(place.data / "read_models.db")) as db:
        text = json.dumps(
            [
                row
                for table in (f"orders_v{VERSION}", f"order_views_v{VERSION}", f"order_search_v{VERSION}")
                for row in db.execute(
                    f"SELECT * FROM {table}"  # noqa: S608
                )
            ],
            default=repr,
        )
    assert digest not in text
    for name in (PHONE, NAME, f"generic:{CUSTOMER}", key_of(MINE[0])):
        try:
            assert place.person(name).orders == []
        except Unclear:
            continue


@pytest.mark.parametrize(
    "text", [PHONE, "+86 138-1234-5678", NAME, f"generic:{CUSTOMER}", MINE[0], f"generic:erp:{MINE[1]}"]
)
def test_a_person_is_found_by_whatever_he_is_known_by(place: Cell, text: str) -> None:
    found = place.person(text)
    assert found.orders == [key_of(number) for number in MINE]
    assert [name.partition(":")[0] for name in found.buyers] == ["generic"]


async def test_bytes_that_nobody_understood_and_hints_of_unknown_orders_are_found_too(place: Cell) -> None:
    place.take("A-100009", f'{{"order_no": "A-100009", "of": "{PHONE}"'.encode())
    place.aside(f"push about A-100010 for {PHONE}".encode(), "hint", "A-100010")
    found = place.person(PHONE)
    assert found.orders == [key_of(f"A-10000{number}") for number in (1, 2, 9)] + [key_of("A-100010")]
    assert "A-100009: a message of it waits" in place.ask().reason
    (quarantined,) = [fact for fact in place.facts(key_of("A-100009")) if isinstance(fact, OrderQuarantined)]
    place.mail(key_of("A-100009"), DiscardQuarantined("d-1", quarantined.item, "no use"))
    assert place.ask(own="c-2").outcome == "accepted"
    await place.effects()
    with pytest.raises(Unclear):
        place.person(PHONE)
    assert verified(place).problems == []


def test_a_name_that_several_share_is_not_guessed(place: Cell) -> None:
    receiver = {"name": NAME, "phone": "13700000000", "detail": "x"}
    place.take("C-1", trade("C-1", person=False, receiver=receiver))
    with pytest.raises(Unclear, match="2 different phones"):
        place.person(NAME)


@pytest.mark.parametrize("status", ["paid", "awaiting_payment"])
def test_an_order_under_way_is_not_forgotten_and_nothing_else_is_either(place: Cell, status: str) -> None:
    place.take("A-100003", trade("A-100003", status))
    reply = place.ask()
    assert reply.outcome == "refused"
    assert "A-100003" in reply.reason
    assert [type(fact) for fact in place.facts(PRIVACY_KEY)] == [PrivacyRefused]
    assert all("OrderForgotten" not in str(place.facts(key_of(number))) for number in MINE)
    place.take("A-100003", trade("A-100003", "cancelled", modified_at="2026-11-12T00:00:00+08:00"))
    assert place.ask(own="c-2").outcome == "accepted"


# --- requests that wait until everything is finished


CANCELLED = trade("A-100003", "cancelled", modified_at="2026-11-12T00:00:00+08:00")


async def test_a_request_that_waits_outlives_every_kill_and_is_carried_out_by_what_finishes_the_order(
    place: Cell,
) -> None:
    place.take("A-100003", trade("A-100003", "paid"))
    mine = {stream: key for stream, key in place.data_keys().items() if "A-1" in stream}
    assert place.ask(when_finished=True).outcome == "accepted"
    assert [type(fact) for fact in place.facts(PRIVACY_KEY)] == [ForgettingAwaited, TimerSet]
    await place.effects()
    place.again()
    assert mine.items() <= place.data_keys().items(), "nothing is destroyed yet"
    assert place.person(PHONE).orders == [*map(key_of, [*MINE, "A-100003"])]
    assert place.take("A-100003", CANCELLED).outcome == "accepted"
    place.again()
    await place.effects()
    asked, done = place.facts(PRIVACY_KEY)[-2:]
    assert isinstance(asked, ForgettingAsked)
    assert (asked.request, asked.who, asked.reason) == ("c-1", "li.wei", "asked by phone")
    assert isinstance(done, PersonForgotten)
    assert len(load_timers(place.log)) == 0
    place.project()
    assert traces(place.data.parent, needles([*mine.values()])) == [], "nor anything of the message that finished it"
    assert run(["audit", "replay", "--data", str(place.data)]) == 0
    assert verified(place).problems == []
    registered = erasures.registered(erasures.register_of(place.data.with_name("data.checkpoints"), "main"))
    assert [each.asked.request for each in registered] == ["c-1"]


async def test_what_was_carried_out_after_a_backup_is_carried_out_in_its_copy_too(place: Cell, tmp_path: Path) -> None:
    place.take("A-100003", trade("A-100003", "paid"))
    place.ask(when_finished=True)
    copy, keys = tmp_path / "copy", tmp_path / "elsewhere" / "keys"
    make_backup(place.settings, copy, keys)
    mine = [key for stream, key in place.data_keys().items() if "A-1" in stream]
    place.take("A-100003", CANCELLED)
    await place.effects()
    register = erasures.register_of(tmp_path / "data.checkpoints", "main")
    restored = restore(copy, tmp_path / "again", keys, tmp_path / "again.checkpoints", register)
    assert "1 person(s)" in restored.notes[0]
    with cell(tmp_path / "again") as after:
        assert not any("A-1" in stream for stream in after.data_keys())
        assert isinstance(after.facts(PRIVACY_KEY)[-1], ForgettingAsked)
        assert len(load_timers(after.log)) == 0
        assert replay_states(after.log).problems == []
    assert traces(tmp_path / "again", needles(mine)) == []


async def test_a_copy_in_which_it_still_waits_goes_on_waiting(place: Cell, tmp_path: Path) -> None:
    place.take("A-100003", trade("A-100003", "paid"))
    place.ask(when_finished=True)
    make_backup(place.settings, tmp_path / "copy", tmp_path / "elsewhere" / "keys")
    restore(tmp_path / "copy", tmp_path / "again", tmp_path / "elsewhere" / "keys", tmp_path / "again.checkpoints")
    with cell(tmp_path / "again") as after:
        after.take("A-100003", CANCELLED)
        await after.effects()
        assert isinstance(after.facts(PRIVACY_KEY)[-1], PersonForgotten)


# --- what comes later


async def test_what_the_channel_sends_later_goes_on_without_the_person(place: Cell) -> None:
    await forgotten(place)
    key, number = key_of(MINE[0]), MINE[0]
    assert place.take(number, trade(number)).outcome == "accepted"
    assert place.take(number, trade(number)).outcome == "repeated"
    refund = trade(number, modified_at="2026-12-01T00:00:00+08:00", seller_note=f"退款给 {NAME}")
    assert place.take(number, refund).outcome == "accepted"
    amended = [event for event in place.log.select(key) if event.tag == "order.amended"]
    assert len(amended) == 2
    assert all(event.sealed is None for event in amended)
    facts = [fact for fact in place.facts(key) if isinstance(fact, OrderAmended)]
    assert all((fact.payload, fact.address, fact.snapshot.customer) == ("", "", "") for fact in facts)
    place.take(number, f'{{"order_no": "{number}", "receiver": "{NAME}"'.encode())
    broken = place.facts(key)[-1]
    assert isinstance(broken, OrderRefused)
    assert broken.rule == "OrderIsForgotten"
    lines = [{"id": "1", "sku": "DRL-01", "quantity": -1, "unit_price": "329.00"}]
    place.take(number, trade(number, modified_at="2026-12-02T00:00:00+08:00", lines=lines))
    assert isinstance(place.facts(key)[-1], OrderRefused)
    later = trade(number, modified_at="2026-12-03T00:00:00+08:00")
    place.sequence += 1
    mail = place.bytes_of(key, ChannelPayload("generic", "erp", number, later))
    batch = place.engine.decide([Delivered(place.sequence, T0, mail)], suspect=place.sequence)
    place.engine.committed(batch, place.engine.commit(batch))
    assert isinstance(place.facts(key)[-1], OrderRefused), "also what kills the worker is not kept"
    assert place.take(number, later).outcome == "accepted"
    place.aside(f"push about {number} for {NAME}".encode(), "hint", number)
    place.project()
    assert key not in place.data_keys()
    assert traces(place.data, needles()) == []
    assert verified(place).problems == []
    assert replay_states(place.log).problems == []


async def test_what_was_prepared_before_the_request_was_decided_is_prepared_anew(place: Cell) -> None:
    """The key is still there when the request is decided: it is the log that says what may be kept."""
    found = place.person(PHONE)
    first = place.sequence + 1
    asking = place.bytes_of(PRIVACY_KEY, forget("c-1", tuple(found.orders), tuple(found.buyers)))
    raw = trade(MINE[0], modified_at="2026-12-01T00:00:00+08:00")
    late = place.bytes_of(key_of(MINE[0]), ChannelPayload("generic", "erp", MINE[0], raw))
    opened = place.engine.open([Delivered(first, T0, asking), Delivered(first + 1, T0, late)])
    assert key_of(MINE[0]) in opened.keys
    ((seq, mail, body),) = opened.jobs()
    done = do(place.engine._preparer, Job("generic", "erp", mail.to, body.raw, opened.keys[mail.to]))
    assert done.sealed
    beforehand = {seq: ready(mail.to, done)}
    batch = place.engine.decide(opened, beforehand=beforehand)
    assert batch.payloads == []
    assert all(record.sealed is None for record in batch.records)


async def test_nothing_can_be_written_about_him_again(place: Cell) -> None:
    key = key_of(MINE[0])
    data_key = place.data_keys()[key]
    assert place.ask().outcome == "accepted"
    told, sealed = seal_words(data_key, key, {"text": f"{NAME} 又来电"})
    reply = place.mail(key, Comment("say-2", told=told, sealed=sealed))
    assert reply.outcome == "refused"
    assert "forgotten" in reply.reason
    assert [event.sealed for event in place.log.select(key)][-1] is None


async def test_he_may_order_again_and_is_known_again(place: Cell) -> None:
    await forgotten(place)
    place.take("A-200001", trade("A-200001", "paid"))
    assert place.person(PHONE).orders == [key_of("A-200001")]


# --- kills


@pytest.mark.parametrize("at", ["registered", "destroyed", "reported", "recorded"])
async def test_a_kill_between_request_and_completion_leaves_it_done_once(
    place: Cell, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    assert place.ask().outcome == "accepted"

    def dying(real: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
        def do(*args: Any, **kwargs: Any) -> Any:
            if not before:
                real(*args, **kwargs)
            raise Killed

        return do

    with monkeypatch.context() as patch:
        if at == "registered":
            patch.setattr("runners.effects_erasure.register", dying(erasures.register, before=False))
        elif at == "destroyed":
            patch.setattr("runners.effects_erasure.destroy", dying(erasures.destroy, before=False))
        elif at == "reported":
            place.away = True
        else:
            patch.setattr(place.jobs, "drop", dying(place.jobs.drop, before=True))
        with pytest.raises(Killed):
            await place.effects()
    place.again()
    monkeypatch.setattr("runners.effects._now_ms", lambda: T0 * 2)
    await place.effects()
    await place.effects()
    done = [fact for fact in place.facts(PRIVACY_KEY) if isinstance(fact, PersonForgotten)]
    assert [fact.reference for fact in done] == ["c-1"]
    assert not any("A-1" in stream for stream in place.data_keys())
    assert len(erasures.registered(place.data.with_name("data.checkpoints") / "erasures-main.jsonl")) == 1
    (place.data / "effects.db").unlink()
    place.again()
    await place.effects()
    assert len(place.facts(PRIVACY_KEY)) == 2, "also a runner that lost its notes does nothing twice"


async def test_keys_that_cannot_be_destroyed_yet_are_destroyed_later(
    place: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.ask()
    with closing(sqlite3.connect(place.data / KEYS_FILE)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM keys").fetchone()
        monkeypatch.setattr("adapters.storage.sqlite.BUSY_MS", 50)
        await place.effects()
    assert [type(fact) for fact in place.facts(PRIVACY_KEY)] == [ForgettingAsked, ErasureDelayed]
    monkeypatch.setattr("runners.effects._now_ms", lambda: T0 * 2)
    await place.effects()
    assert isinstance(place.facts(PRIVACY_KEY)[-1], PersonForgotten)


# --- copies of the keys


async def test_an_older_backup_does_not_bring_him_back(place: Cell, tmp_path: Path) -> None:
    copy, keys = tmp_path / "copy", tmp_path / "elsewhere" / "keys"
    make_backup(place.settings, copy, keys)
    mine = [key for stream, key in place.data_keys().items() if "A-1" in stream]
    await forgotten(place)
    register = erasures.register_of(tmp_path / "data.checkpoints", "main")
    restored = restore(copy, tmp_path / "again", keys, tmp_path / "again.checkpoints", register)
    assert "1 person(s)" in restored.notes[0]
    assert traces(tmp_path / "again", needles(mine)) == []
    with cell(tmp_path / "again") as after:
        assert not any("A-1" in stream for stream in after.data_keys())
        assert key_of("B-1") in after.data_keys()
        await after.effects()
        assert [type(fact) for fact in after.facts(PRIVACY_KEY)] == [ForgettingAsked, PersonForgotten]
        asked = after.facts(PRIVACY_KEY)[0]
        assert isinstance(asked, ForgettingAsked)
        assert (asked.who, asked.asked, asked.reason) == ("li.wei", "customer", "asked by phone")
        assert after.take(MINE[0], trade(MINE[0])).outcome == "accepted"
        assert replay_states(after.log).problems == []
        assert verified(after).problems == []
    assert traces(tmp_path / "again", needles(mine)) == []


async def test_keys_that_were_put_back_by_hand_are_destroyed_before_anybody_serves(place: Cell, tmp_path: Path) -> None:
    with closing(sqlite3.connect(place.data / KEYS_FILE)) as db, closing(sqlite3.connect(tmp_path / "old.db")) as old:
        db.backup(old)
    await forgotten(place)
    place.close()
    for name in (KEYS_FILE, f"{KEYS_FILE}-wal", f"{KEYS_FILE}-shm"):
        (place.data / name).unlink(missing_ok=True)
    (tmp_path / "old.db").rename(place.data / KEYS_FILE)
    check_store(place.settings)  # as `up` does first
    place._open()
    assert not any("A-1" in stream for stream in place.data_keys())


def test_whoever_holds_old_bytes_of_keys_keeps_none_of_many_from_being_destroyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.storage.sqlite.BUSY_MS", 20)
    names = tuple(f"order-taobao:s1:{number}" for number in range(2 * erasures.KEYS_AT_ONCE + 1))
    asked = ForgettingAsked("ask-1", "customer", "asked by phone", "li.wei", "service", names)
    with closing(SqliteVault(tmp_path / "keys.db")) as vault, closing(sqlite3.connect(tmp_path / "keys.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM keys").fetchone()
        vault.keys(names, create=True)
        with pytest.raises(KeysHeld):
            erasures.destroy(vault, [asked])
        assert vault.keys(names, create=False) == {}
        reader.execute("ROLLBACK")
        assert erasures.destroy(vault, [asked]) == 0


async def test_copies_of_the_keys_are_told_and_cleaned(place: Cell, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    make_backup(place.settings, tmp_path / "copy", keys)
    mine = [key for stream, key in place.data_keys().items() if "A-1" in stream]
    await forgotten(place)
    assert all(key in keys.read_bytes() for key in mine)
    assert run(["privacy", "scrub", str(keys), "--data", str(place.data)]) == 1
    assert run(["privacy", "scrub", str(keys), "--rewrite", "--data", str(place.data)]) == 0
    assert not any(key in keys.read_bytes() for key in mine)
    assert run(["privacy", "scrub", str(keys), "--data", str(place.data)]) == 0
    assert scrub_keys(keys, [], rewrite=False) == 0
    restored = restore(tmp_path / "copy", tmp_path / "again", keys, tmp_path / "data.checkpoints")
    assert any("other keys" in note for note in restored.notes)


async def test_a_register_that_is_not_there_lets_no_copy_of_keys_pass_for_clean(place: Cell, tmp_path: Path) -> None:
    keys, data = tmp_path / "keys", str(place.data)
    make_backup(place.settings, tmp_path / "copy", keys)
    await forgotten(place)
    assert run(["privacy", "scrub", str(keys), "--erasures", str(tmp_path / "mistyped"), "--data", data]) == 2
    register = erasures.register_of(tmp_path / "data.checkpoints", "main")
    said = register.read_bytes()
    register.unlink()
    assert run(["privacy", "scrub", str(keys), "--data", data]) == 1
    place.close()
    check_store(place.settings)  # as `up` does first
    assert register.read_bytes() == said
    log = place.data / LOG_FILE
    log.rename(tmp_path / "log.db")
    assert run(["privacy", "scrub", str(keys), "--data", data]) == 1
    register.unlink()
    assert run(["privacy", "scrub", str(keys), "--data", data]) == 4, "nobody can tell who is forgotten"
    (tmp_path / "log.db").rename(log)
    place._open()


async def test_the_register_of_a_restored_copy_tells_of_everybody(place: Cell, tmp_path: Path) -> None:
    make_backup(place.settings, tmp_path / "old", tmp_path / "old.keys")
    await forgotten(place)
    make_backup(place.settings, tmp_path / "new", tmp_path / "new.keys")
    register = erasures.register_of(tmp_path / "data.checkpoints", "main")
    for copy, folder in (("new", "moved.checkpoints"), ("old", "older.checkpoints")):
        restore(tmp_path / copy, tmp_path / f"from-{copy}", tmp_path / f"{copy}.keys", tmp_path / folder, register)
        register = erasures.register_of(tmp_path / folder, "main")
        assert [each.asked.who for each in erasures.registered(register)] == ["li.wei"]
    with cell(tmp_path / "from-old") as after:
        assert not any("A-1" in stream for stream in after.data_keys())


def test_the_bytes_of_destroyed_keys_are_overwritten_in_the_file(tmp_path: Path) -> None:
    with closing(SqliteVault(tmp_path / "keys.db")) as vault:
        keys = vault.keys([f"order-a:b:{number}" for number in range(2_000)], create=True)
        gone = [f"order-a:b:{number}" for number in range(0, 2_000, 3)]
        vault.destroy(gone)
        found = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert [stream for stream in gone if keys[stream] in found or keys[stream][:16] in found] == []
        assert sum(key in found for key in keys.values()) == len(keys) - len(gone)


# --- disclosure


def test_everything_that_is_held_of_him_is_given_out_and_nothing_of_others(place: Cell) -> None:
    person = place.person(PHONE)
    with closing(open_vault(place.settings)) as vault, closing(scan_of(place.settings)()) as scan:
        document = held(place.log, scan, vault, person, "Asia/Shanghai")
    text = as_json(document).decode()
    assert [secret for secret in SECRETS if secret not in text] == []
    assert f"{NAME} 来电" in text, "what was written about him"
    assert f"half a file of {PHONE}" in text
    assert f"push about {MINE[1]}" in text
    assert "赵一" not in text
    assert "13900000001" not in text
    assert sorted(document["orders"]) == [key_of(number) for number in MINE]
    page = as_html(document, "t").decode()
    assert NAME in page
    assert "<script" not in as_html({"orders": {"<script>": "<script>"}}, "<script>").decode()


def test_a_request_that_names_nothing_but_bytes_is_told_to_whom_they_name(place: Cell) -> None:
    place.aside(b"nobody's order, but 13700000007 called")
    found = place.person("13700000007")
    assert not found.orders
    told = RecordDisclosure("ask-1", asked="customer", reason="asked", asides=tuple(found.asides))
    assert place.mail(PRIVACY_KEY, told).outcome == "accepted"
    with closing(open_vault(place.settings)) as vault, closing(scan_of(place.settings)()) as scan:
        document = held(place.log, scan, vault, found, "Asia/Shanghai")
    assert [each["request"] for each in document["requests"]] == ["ask-1"]


def test_whose_stream_is_whose(place: Cell) -> None:
    """Nothing personal is sealed under a key that several persons share."""
    log = place.engine.log
    with closing(sqlite3.connect(place.data / LOG_FILE)) as db:
        owners = {stream for (stream,) in db.execute("SELECT stream FROM payloads")}
    sealed = {event.stream for event in log.read(0, 1_000) if event.sealed}
    assert {kind_of(stream) for stream in owners} == {"order", "aside"}
    assert {kind_of(stream) for stream in sealed} == {"order"}
    assert place.facts(intake_key("generic", "erp"))
    assert not place.facts(BUYERS_KEY)
    assert any(isinstance(fact, OrderNormalized) for fact in place.facts(key_of(MINE[0])))
    assert MEMO not in str(place.facts(key_of(MINE[0])))
