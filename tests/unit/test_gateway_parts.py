"""Parts of the gateway by themselves: tokens, what is remembered, how mail is gathered, what is counted."""

import asyncio
import contextlib
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from adapters.nats import tasks
from adapters.nats.errors import BrokerUnavailable
from adapters.platforms.connection import Connection
from adapters.platforms.own_contract import OwnReceiver
from adapters.web import tokens
from adapters.web.memory import KEPT_MS, Answer, Memory
from adapters.web.metrics import REASONS_MAX, Metrics
from adapters.web.ports import Standing
from adapters.web.tokens import BadTokenFile, TokenBook, add_token, read_tokens, remove_token
from domain.envelope import By
from domain.mail import Mail, Reply
from domain.order import ScanOut
from domain.platforms import Platform
from runners import desk
from runners.connections import FILE, save
from runners.desk import BATCH_MESSAGES_MAX, Gathering
from runners.gateway_hooks import ConnectedHooks
from runners.settings import BadSetting, load_settings
from runners.upstart import agreed_settings, write_settings
from tests.integration.running import orderspine

NOW_MS = 1_800_000_000_000


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenBook:
    monkeypatch.setattr(tokens, "RELOAD_S", 0.0)
    return TokenBook(tmp_path / "api_tokens.json")


# --- connections


@pytest.mark.asyncio
async def test_connections_are_read_as_soon_as_nobody_else_can_write_them(tmp_path: Path) -> None:
    save(tmp_path, [Connection("shop-a", "generic", "own")])
    (tmp_path / FILE).chmod(0o666)
    hooks = ConnectedHooks(tmp_path, lambda: NOW_MS, lambda _: Platform(receiver=OwnReceiver(lambda: "secret")))
    await hooks.refresh()
    assert hooks.find("shop-a") is None
    (tmp_path / FILE).chmod(0o600)
    await hooks.refresh()
    assert hooks.find("shop-a") is not None
    await hooks.close()


@pytest.mark.asyncio
async def test_a_push_to_a_connection_that_was_added_a_moment_ago_finds_it(tmp_path: Path) -> None:
    closed: list[str] = []

    def platform_of(each: Connection) -> Platform:
        async def close() -> None:
            closed.append(each.name)

        return Platform(receiver=OwnReceiver(lambda: "secret"), close=close)

    first, second = Connection("shop-a", "generic", "own"), Connection("shop-b", "generic", "other")
    save(tmp_path, [first])
    hooks = ConnectedHooks(tmp_path, lambda: NOW_MS, platform_of)
    await hooks.refresh()
    assert hooks.find("shop-a") is not None
    assert hooks.find("shop-b") is None
    save(tmp_path, [second])
    assert hooks.find("shop-b") is not None
    assert hooks.find("shop-a") is None
    assert closed == []
    await hooks.refresh()
    assert closed == ["shop-a"]
    await hooks.close()
    assert closed == ["shop-a", "shop-b"]


# --- tokens


def test_a_token_is_known_by_its_digest_and_never_kept(book: TokenBook, tmp_path: Path) -> None:
    token = add_token(tmp_path / "api_tokens.json", "erp", ("push",))
    holder = book.holder(token)
    assert holder is not None
    assert (holder.name, holder.rights) == ("erp", ("push",))
    assert token not in (tmp_path / "api_tokens.json").read_text()
    assert stat.S_IMODE((tmp_path / "api_tokens.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("wrong", ["", "osp_", "x", "\ud800"])
def test_any_other_token_is_nobodys(book: TokenBook, tmp_path: Path, wrong: str) -> None:
    token = add_token(tmp_path / "api_tokens.json", "erp", ("push",))
    assert book.holder(wrong) is None
    assert book.holder(token[:-1]) is None
    assert book.holder(token + "x") is None


def test_a_token_that_was_replaced_or_removed_is_nobodys_any_more(book: TokenBook, tmp_path: Path) -> None:
    file = tmp_path / "api_tokens.json"
    first, other = add_token(file, "erp", ("push",)), add_token(file, "shop", ("read",))
    second = add_token(file, "erp", ("push",))
    assert book.holder(first) is None
    assert book.holder(second) is not None
    assert remove_token(file, "erp")
    assert not remove_token(file, "erp")
    assert book.holder(second) is None
    assert book.holder(other) is not None


@pytest.mark.parametrize("harm", ["open", "damaged", "no text"])
def test_a_file_that_others_may_read_or_that_is_damaged_lets_nobody_in(
    book: TokenBook, tmp_path: Path, harm: str
) -> None:
    file = tmp_path / "api_tokens.json"
    token = add_token(file, "erp", ("push",))
    assert book.holder(token) is not None
    if harm == "open":
        file.chmod(0o644)
    else:
        file.write_bytes(b'[{"name":' if harm == "damaged" else b'[{"name":"\xff"}]')
    assert book.holder(token) is None
    assert str(file) in book.trouble
    with pytest.raises(BadTokenFile):
        add_token(file, "other", ("push",))


def test_tokens_are_made_shown_once_listed_and_removed_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_bytes(b'{"schema":1,"version":"0"}')
    made = orderspine("api-token", "add", "erp", "--rights", "push", "--data", tmp_path)
    assert made.code == 0, made.err
    token = made.out.strip()
    assert token.startswith("osp_")
    assert "not shown again" in made.err
    assert [each.name for each in read_tokens(tmp_path / "api_tokens.json")] == ["erp"]
    assert orderspine("api-token", "add", "erp", "--data", tmp_path).code == 1
    replaced = orderspine("api-token", "add", "erp", "--replace", "--json", "--data", tmp_path)
    assert replaced.json["rights"] == ["push", "read"]
    assert replaced.json["token"] != token
    listed = orderspine("api-token", "list", "--json", "--data", tmp_path)
    assert [each["name"] for each in listed.json] == ["erp"]
    assert replaced.json["token"] not in listed.out
    assert orderspine("api-token", "remove", "erp", "--data", tmp_path).code == 0
    assert orderspine("api-token", "remove", "erp", "--data", tmp_path).code == 1


@pytest.mark.parametrize("words", [("a b",), ("erp", "--rights", "admin"), ("erp", "--rights", ",")])
def test_a_token_that_cannot_be_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "build.json").write_bytes(b'{"schema":1,"version":"0"}')
    assert orderspine("api-token", "add", *words, "--data", tmp_path).code == 2
    assert not (tmp_path / "api_tokens.json").exists()


# --- memory


async def test_what_is_remembered_outlives_the_process_and_is_forgotten_in_time(tmp_path: Path) -> None:
    clock = [NOW_MS]
    memory = Memory(tmp_path / "gateway.db", now_ms=lambda: clock[0])
    answer = Answer(b"c" * 32, 200, b"{}")
    await asyncio.gather(
        memory.remember_push("shop", "n-1", b"body"),
        memory.remember_answer("erp", "k-1", answer),
        *(memory.remember_push("shop", f"m-{number}", b"body") for number in range(50)),
    )
    await memory.close()
    memory = Memory(tmp_path / "gateway.db", now_ms=lambda: clock[0])
    assert memory.pushed("shop", "n-1", b"body")
    assert not memory.pushed("shop", "n-1", b"other body")
    assert not memory.pushed("other", "n-1", b"body")
    assert memory.answered("erp", "k-1") == answer
    assert memory.answered("other", "k-1") is None
    clock[0] += KEPT_MS
    assert not memory.pushed("shop", "n-1", b"body")
    assert memory.answered("erp", "k-1") is None
    await memory.remember_push("shop", "late", b"body")
    assert memory._db.execute("SELECT count(*) FROM pushes").fetchone() == (1,)
    assert memory._db.execute("SELECT count(*) FROM answers").fetchone() == (0,)
    await memory.close()


async def test_what_cannot_be_written_is_told_to_everyone_who_waits(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "gateway.db")
    memory._db.execute("DROP TABLE pushes")
    results = await asyncio.gather(
        *(memory.remember_push("shop", str(number), b"") for number in range(3)), return_exceptions=True
    )
    assert [type(result).__name__ for result in results] == ["OperationalError"] * 3
    assert not memory.pushed("shop", "0", b"")
    await memory.close()


# --- gathering


def mail(number: int) -> Mail:
    return Mail(f"order-x:y:{number}", ScanOut(str(number)), NOW_MS, By("system"))


class Broker:
    """Takes batches, slowly, and can refuse."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.let = asyncio.Event()
        self.refuses: dict[str, Exception] = {}

    async def send(self, mails: Sequence[Mail]) -> list[Reply]:
        self.batches.append([each.to.rpartition(":")[2] for each in mails])
        await self.let.wait()
        for each in mails:
            if (error := self.refuses.get(each.to.rpartition(":")[2])) is not None:
                raise error
        return [Reply(int(each.to.rpartition(":")[2]), "accepted") for each in mails]


async def test_mail_that_comes_while_a_batch_is_under_way_leaves_together() -> None:
    broker = Broker()
    gathering: Gathering[Reply] = Gathering(broker.send, 1)
    tasks = [asyncio.create_task(gathering.send([mail(number)])) for number in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    more = [asyncio.create_task(gathering.send([mail(number), mail(number + 1)])) for number in (10, 20)]
    await asyncio.sleep(0.01)
    broker.let.set()
    answers = await asyncio.gather(*tasks, *more)
    assert len(broker.batches) == 2
    assert [[reply.sequence for reply in each] for each in answers] == [[0], [1], [2], [3], [4], [10, 11], [20, 21]]
    await gathering.close()


async def test_a_batch_has_a_bound_and_a_larger_request_goes_whole() -> None:
    broker = Broker()
    broker.let.set()
    gathering: Gathering[Reply] = Gathering(broker.send, 1)
    tasks = [asyncio.create_task(gathering.send([mail(number)])) for number in range(BATCH_MESSAGES_MAX + 50)]
    tasks.append(asyncio.create_task(gathering.send([mail(number) for number in range(1_000, 1_500)])))
    await asyncio.gather(*tasks)
    assert max(map(len, broker.batches)) == 500
    assert all(len(batch) <= BATCH_MESSAGES_MAX for batch in broker.batches if len(batch) != 500)
    await gathering.close()


async def test_mail_that_cannot_be_sent_takes_no_other_along() -> None:
    broker = Broker()
    broker.refuses["3"] = ValueError("no subject")
    gathering: Gathering[Reply] = Gathering(broker.send, 1)
    tasks = [asyncio.create_task(gathering.send([mail(number)])) for number in range(6)]
    await asyncio.sleep(0.01)
    broker.let.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(answer, ValueError) for answer in answers] == [number == 3 for number in range(6)]
    await gathering.close()


async def test_when_the_broker_takes_nothing_everyone_is_told_at_once() -> None:
    broker = Broker()
    broker.refuses["0"] = BrokerUnavailable("gone")
    broker.let.set()
    gathering: Gathering[Reply] = Gathering(broker.send, 1)
    answers = await asyncio.gather(*(gathering.send([mail(number)]) for number in range(3)), return_exceptions=True)
    assert any(isinstance(answer, BrokerUnavailable) for answer in answers)
    assert len(broker.batches) <= 3
    await gathering.close()


async def test_whoever_gives_up_waiting_stops_nothing() -> None:
    broker = Broker()
    gathering: Gathering[Reply] = Gathering(broker.send, 1)
    impatient = asyncio.create_task(gathering.send([mail(1)]))
    patient = asyncio.create_task(gathering.send([mail(2)]))
    await asyncio.sleep(0.01)
    impatient.cancel()
    broker.let.set()
    assert [reply.sequence for reply in await patient] == [2]
    await gathering.close()
    assert sorted(each for batch in broker.batches for each in batch) == ["1", "2"]


async def test_a_lane_that_does_not_hear_of_its_end_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker's library can swallow a cancellation: the batch under way, and the one behind it, would go on."""
    monkeypatch.setattr(tasks, "SWALLOWED_S", 0.01)
    sent = 0

    async def send(_: Sequence[Mail]) -> list[Reply]:
        nonlocal sent
        sent += 1
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)
        return []

    gathering: Gathering[Reply] = Gathering(send, 1)
    impatient = asyncio.create_task(gathering.send([mail(1)]))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        await gathering.close(wait_s=0.01)
    impatient.cancel()
    assert sent == 1


# --- figures and settings


def test_reasons_of_refused_pushes_cannot_grow_without_bound() -> None:
    metrics = Metrics()
    for number in range(REASONS_MAX * 3):
        metrics.refused_push("shop", f"reason {number}")
    text = metrics.render(Standing()).decode()
    lines = [line for line in text.splitlines() if line.startswith("orderspine_pushes_refused_total{")]
    assert len(lines) == REASONS_MAX + 1
    assert f'orderspine_pushes_refused_total{{connection="shop",reason="other"}} {REASONS_MAX * 2}.0' in lines


def test_what_cannot_be_told_is_no_number() -> None:
    text = Metrics().render(Standing(refusal="full")).decode()
    assert "orderspine_log_head NaN" in text
    assert "orderspine_taking_in 0.0" in text
    assert "_created" not in text


@pytest.mark.parametrize("value", [{"gateway_port": 70_000}, {"gateway_port": -1}, {"gateway_requests_max": 0}])
def test_settings_of_the_gateway_that_cannot_be_are_refused(tmp_path: Path, value: dict[str, int]) -> None:
    (tmp_path / "settings.json").write_bytes(msgspec.json.encode(value))
    with pytest.raises(BadSetting, match=next(iter(value))):
        load_settings(tmp_path)


def test_settings_that_a_windows_editor_saved_are_read(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"gateway_port": 8088}', encoding="utf-8-sig")
    assert load_settings(tmp_path).gateway_port == 8088
    agreed = agreed_settings(tmp_path, {})
    write_settings(agreed)
    assert load_settings(tmp_path) == agreed
    (tmp_path / "settings.json").write_text('{"gateway_port": 8088}', encoding="utf-16")
    with pytest.raises(BadSetting, match=r"settings\.json is not a JSON object in UTF-8"):
        load_settings(tmp_path)


@pytest.mark.parametrize("last", [b"1", rb'"\ud83d"'])
@pytest.mark.parametrize(("before", "behind"), [(b"[", b"]"), (b'{"orders":[', b"]}")])
def test_more_parts_than_anybody_sends_are_noticed_before_they_are_cut(
    before: bytes, behind: bytes, last: bytes
) -> None:
    assert not desk._too_many(before + b"1," * (desk.PARTS_MAX - 1) + last + behind)
    assert desk._too_many(before + b"1," * desk.PARTS_MAX + last + behind)
