"""Tokens: fresh ahead of their end, refreshed once for all who ask, on the disk before they are used."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from adapters.platforms.connection import Token
from adapters.platforms.tokens import TokenExpired, TokenKeeper, lasting, secret
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformError
from tests.platform_world import MemoryKeys

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_MS = 3_600_000
NOW_MS = 1_000 * HOUR_MS


class World:
    """A clock, a platform that gives tokens, and the keys of two processes' disk."""

    def __init__(self, token: Token | None) -> None:
        self.now_ms = NOW_MS
        self.keys = MemoryKeys(token)
        self.refreshed: list[str] = []
        self.asked = asyncio.Event()
        self.fails: PlatformError | None = None
        self.gives: Callable[[], Token] = lambda: Token(f"a{len(self.refreshed)}", self.now_ms + 8 * HOUR_MS, "r-next")

    async def refresh(self, old: Token) -> Token:
        self.refreshed.append(old.refresh)
        self.asked.set()
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        return self.gives()

    def keeper(self, ahead_ms: int = HOUR_MS) -> TokenKeeper:
        return TokenKeeper(self.keys, lambda: self.now_ms, self.refresh, ahead_ms=ahead_ms)


async def test_a_token_that_holds_is_used() -> None:
    world = World(Token("a0", NOW_MS + 2 * HOUR_MS, "r0"))
    assert await world.keeper().access() == "a0"
    assert world.refreshed == []


async def test_a_token_without_an_end_is_never_refreshed() -> None:
    world = World(Token("a0"))
    world.now_ms *= 10
    assert await world.keeper().access() == "a0"


async def test_it_is_refreshed_ahead_of_its_end_and_kept_before_it_is_used() -> None:
    world = World(Token("a0", NOW_MS + HOUR_MS, "r0"))
    assert await world.keeper().access() == "a1"
    assert world.refreshed == ["r0"]
    assert world.keys.kept == [Token("a1", NOW_MS + 8 * HOUR_MS, "r-next")]


async def test_many_who_ask_at_once_make_one_refresh() -> None:
    world = World(Token("a0", NOW_MS - 1, "r0"))
    keeper = world.keeper()
    assert set(await asyncio.gather(*(keeper.access() for _ in range(20)))) == {"a1"}
    assert len(world.refreshed) == 1


async def test_a_caller_that_goes_away_does_not_lose_the_fresh_token() -> None:
    world = World(Token("a0", NOW_MS - 1, "r0"))
    keeper = world.keeper()
    caller = asyncio.create_task(keeper.access())
    await world.asked.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await keeper.close()
    assert world.keys.token() == Token("a1", NOW_MS + 8 * HOUR_MS, "r-next")


async def test_where_the_platform_gives_no_new_refresh_token_the_old_one_stays() -> None:
    world = World(Token("a0", NOW_MS, "r0", NOW_MS + 99 * HOUR_MS))
    world.gives = lambda: Token("a1", NOW_MS + 8 * HOUR_MS)
    await world.keeper().access()
    assert world.keys.token() == Token("a1", NOW_MS + 8 * HOUR_MS, "r0", NOW_MS + 99 * HOUR_MS)


@pytest.mark.parametrize(
    "token",
    [
        None,
        Token(""),
        Token("a0", NOW_MS),
        Token("a0", NOW_MS, "r0", NOW_MS),
    ],
)
async def test_without_a_way_to_a_token_a_person_must_authorise(token: Token | None) -> None:
    world = World(token)
    with pytest.raises(NotAuthorised, match="authorise the shop anew"):
        await world.keeper().access()
    assert world.refreshed == []


async def test_a_dead_refresh_token_asks_for_a_person() -> None:
    world = World(Token("a0", NOW_MS, "r0"))
    world.fails = NotAuthorised("invalid_grant")
    with pytest.raises(NotAuthorised, match=r"invalid_grant.*authorise the shop anew"):
        await world.keeper().access()
    assert world.keys.kept == []


@pytest.mark.parametrize("fails", [PlatformBusy("down"), OutcomeUnknown("no answer")])
async def test_a_platform_that_cannot_refresh_now_is_busy(fails: PlatformError) -> None:
    world = World(Token("a0", NOW_MS, "r0"))
    world.fails = fails
    with pytest.raises(PlatformBusy):
        await world.keeper().access()


async def test_a_refresh_that_fails_ahead_of_time_stops_nobody_and_is_not_tried_at_each_call() -> None:
    world = World(Token("a0", NOW_MS + HOUR_MS // 2, "r0"))
    world.fails = PlatformBusy("down")
    keeper = world.keeper()
    assert [await keeper.access() for _ in range(5)] == ["a0"] * 5
    assert len(world.refreshed) == 1
    world.now_ms += 61_000
    world.fails = None
    assert await keeper.access() == "a2"


async def test_short_lived_tokens_are_not_refreshed_at_every_call() -> None:
    world = World(Token("a0", NOW_MS, "r0"))
    world.gives = lambda: Token(f"a{len(world.refreshed)}", world.now_ms + 40_000, "r")
    keeper = world.keeper(ahead_ms=12 * HOUR_MS)
    assert await keeper.access() == "a1"
    world.now_ms += 29_000
    assert await keeper.access() == "a1"
    world.now_ms += 2_000
    assert await keeper.access() == "a2"


async def test_what_the_platform_calls_worn_out_is_refreshed_once_and_the_call_repeated() -> None:
    world = World(Token("a0", NOW_MS + 8 * HOUR_MS, "r0"))
    used: list[str] = []

    async def call(access: str) -> str:
        used.append(access)
        if access == "a0":
            raise TokenExpired("worn out")
        return "done"

    keeper = world.keeper()
    assert await asyncio.gather(*(keeper.using(call) for _ in range(5))) == ["done"] * 5
    assert len(world.refreshed) == 1
    assert used.count("a1") == 5


async def test_a_fresh_token_that_is_refused_too_is_not_tried_for_ever() -> None:
    world = World(Token("a0", NOW_MS + 8 * HOUR_MS, "r0"))

    async def call(_: str) -> str:
        raise TokenExpired("worn out")

    with pytest.raises(NotAuthorised, match="refuses a fresh token") as caught:
        await world.keeper().using(call)
    assert type(caught.value) is NotAuthorised
    assert len(world.refreshed) == 1


async def test_a_platform_that_gives_the_worn_out_token_again_is_not_believed() -> None:
    world = World(Token("a0", NOW_MS, "r0"))
    world.gives = lambda: Token("a0", NOW_MS + HOUR_MS, "r0")
    with pytest.raises(NotAuthorised, match="worn-out token again"):
        await world.keeper().access()


async def test_what_another_process_refreshed_is_used() -> None:
    world = World(Token("a0", NOW_MS + 2 * HOUR_MS, "r0"))
    keeper = world.keeper()
    await keeper.access()
    world.now_ms += 2 * HOUR_MS
    world.keys.keep(Token("from-the-other", world.now_ms + 8 * HOUR_MS, "r9"))
    assert await keeper.access() == "from-the-other"
    assert world.refreshed == []


async def test_what_a_person_authorised_meanwhile_is_used_after_the_old_one_was_refused() -> None:
    world = World(Token("a0", NOW_MS + 8 * HOUR_MS))
    keeper = world.keeper()
    await keeper.access()
    world.keys.keep(Token("anew"))

    async def call(access: str) -> str:
        if access == "a0":
            raise TokenExpired("revoked")
        return access

    assert await keeper.using(call) == "anew"


async def test_a_token_that_could_not_be_kept_is_not_used_and_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Token("a0", NOW_MS, "r0"))
    keeper = world.keeper()

    def full(_: Token) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(world.keys, "keep", full)
        with pytest.raises(PlatformBusy, match="could not be kept"):
            await keeper.access()
    assert await keeper.access() == "a1"
    assert world.refreshed == ["r0"], "the refresh token was used once: it is dead by now"
    assert world.keys.kept == [Token("a1", NOW_MS + 8 * HOUR_MS, "r-next")]


def test_a_missing_secret_says_which() -> None:
    assert secret(MemoryKeys(app_secret="x"), "app_secret") == "x"
    with pytest.raises(NotAuthorised, match="app_secret"):
        secret(MemoryKeys(), "app_secret")


def test_the_end_of_a_token_is_read_from_either_word() -> None:
    assert lasting(5_000, 10) == 15_000
    assert lasting(5_000, "10") == 15_000
    assert lasting(5_000, 10, expires_at_s=100) == 100_000
    assert lasting(5_000, None) == 0
    assert lasting(5_000, 0) == 0
    assert lasting(5_000, "never") == 0
