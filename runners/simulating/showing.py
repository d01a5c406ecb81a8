"""The demo: a cell of its own, a day of trade (or a file of real orders) through it, and every check there is."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.storage.checkpoints import CheckpointFolder
from runners.audit import verify
from runners.audited import scan_of
from runners.bootstrap import channels, open_log, open_read_models, open_spool, open_vault
from runners.post import Postman
from runners.replay import ReplayedReadModels, ReplayedStates, replay_read_models, replay_states
from runners.settings import Settings
from runners.simulating.account import Account, account
from runners.simulating.courier import Courier, Ledger
from runners.simulating.drive import Progress, WorldClock, drive, first_moment
from runners.simulating.embedded import level, running
from runners.simulating.feed import open_feed
from runners.simulating.world import CHANNELS, World

if TYPE_CHECKING:
    from runners.simulating.trading import Traded

TWO_PROCESSES_FROM = 50_000
"""Events from which a second process is worth its start."""
STATES = ("awaiting_payment", "paid", "allocating", "shipped", "completed", "cancelled", "after_sale")


class Shown(msgspec.Struct):
    """What happened, and what the checks found."""

    account: Account
    seconds: float
    trade_s: float
    states: dict[str, int]
    outcomes: dict[str, int]
    reasons: dict[str, int]
    read_models_match_log: bool
    chain_verified: bool
    invariants_hold: bool
    problems: list[str]
    messages: int
    retail: dict[str, Any] = {}
    traded: "Traded | None" = None
    """What became of a day over platforms."""

    @property
    def repeated(self) -> int:
        """Views that came again and changed nothing."""
        return self.account.tags.get("order.repeated", 0)

    @property
    def quarantined(self) -> int:
        """Messages nobody could handle, set aside with their reason."""
        tags = self.account.tags
        return tags.get("order.quarantined", 0) + tags.get("intake.quarantined", 0)

    @property
    def unaccounted(self) -> int:
        """Invoices of a file that ended nowhere; 0 without a file."""
        return int(self.retail.get("lost", 0))

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(good for _, _, good in self.checks())

    def checks(self) -> Iterator[tuple[str, str, bool]]:
        """Yield (what, how it stands, whether it is as it should be)."""
        lost = self.account.lost + self.unaccounted
        yield "nothing lost", f"{self.messages:,} messages sent, {lost} not found in the log", lost == 0
        yield "nothing oversold", f"{self.account.oversold} SKUs promised beyond stock", self.account.oversold == 0
        what = "folded again from the log: the same rows" if self.read_models_match_log else "rows differ"
        yield "read models match the log", what, self.read_models_match_log
        proved = f"{self.account.events:,} hashes" + ("" if self.chain_verified else ": not what was committed")
        yield "every event as committed", proved, self.chain_verified
        yield "invariants hold", "stock, allocations, transitions, once each", self.invariants_hold
        if self.traded is not None:
            yield from self.traded.checks()

    def document(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "orders": self.account.orders,
            "events": self.account.events,
            "seconds": round(self.seconds, 3),
            "states": self.states,
            "repeated": self.repeated,
            "quarantined": self.quarantined,
            "lost": self.account.lost + self.unaccounted,
            "oversold": self.account.oversold,
            "read_models_match_log": self.read_models_match_log,
            "chain_verified": self.chain_verified,
            "invariants_hold": self.invariants_hold,
            "messages": self.messages,
            "trade_seconds": round(self.trade_s, 3),
            "events_by_tag": dict(sorted(self.account.tags.items())),
            "outcomes": dict(sorted(self.outcomes.items())),
            "problems": self.problems,
            **({"invoices": self.retail} if self.retail else {}),
            **({"trade": self.traded.document()} if self.traded is not None else {}),
        }


async def run_demo(
    data: Path, orders: int, seed: int, source: Path | None, tell: Callable[[str], None], *, platforms: bool = False
) -> Shown:
    """Run it in the directory `data`; with `platforms` over simulated platforms.

    Raises:
        BadSource, NotSettled, FeedBehind, NoAnswer, BrokerError: it did not come to its end.
    """
    if platforms:
        return await _over_platforms(data, orders, seed, tell)
    from runners.simulating.retail import Retail, trade_file  # noqa: PLC0415  pyarrow is slow to import

    began = time.monotonic()
    retail = Retail(source) if source is not None else None
    retail_summary: dict[str, Any] = {}
    stop = asyncio.Event()
    tell("starting broker, worker, projector and relay")
    async with running(data) as settings:
        async with Postman(settings) as postman:
            with closing(open_vault(settings)) as vault, closing(open_log(settings, read_only=True)) as log:
                courier = Courier(postman, channels(settings), open_spool(settings, vault), WorldClock())
                feed = await open_feed(postman.connection, settings.cell, open_log(settings, read_only=True))
                try:
                    if retail is not None:
                        await trade_file(retail, courier, feed, stop=stop, tell=tell)
                    else:
                        tell(f"a day of trade: {orders:,} orders, seed {seed}")
                        known = tuple(name for name in CHANNELS if name in channels(settings))
                        world = World(seed, orders, first_moment(log, real=False, speed=0), known)
                        await drive(world, courier, feed, ticks=True, stop=stop, show=_progress(tell))
                    await courier.settled(settings.cell, lambda: log.tracked().position)
                finally:
                    await courier.cancel()
                    await feed.close()
                if retail is not None:
                    retail_summary = retail.summary()
        trade_s = time.monotonic() - began
        tell("waiting until read models and public feed are level with the log")
        await level(settings)
        tell("checking")
        shown = await asyncio.to_thread(check, settings, courier.sent)
    shown.outcomes, shown.reasons = dict(courier.tally.outcomes), dict(courier.tally.reasons)
    shown.trade_s, shown.seconds, shown.retail = trade_s, time.monotonic() - began, retail_summary
    return shown


async def _over_platforms(data: Path, orders: int, seed: int, tell: Callable[[str], None]) -> Shown:
    from runners.simulating.buyers import SHARES  # noqa: PLC0415  platforms are slow to import
    from runners.simulating.trading import trade  # noqa: PLC0415

    began = time.monotonic()
    tell("starting broker, gateway, puller, effects, worker, projector and relay")
    async with running(data) as settings:
        tell(f"a day of trade over simulated platforms: {orders:,} orders, seed {seed}")
        stop = asyncio.Event()
        wanted = (*SHARES, "pos")
        traded = await trade(
            settings, orders=orders, seed=seed, speed=0, wanted=wanted, keep=False, stop=stop, tell=tell
        )
        trade_s = time.monotonic() - began
        tell("waiting until read models and public feed are level with the log")
        await level(settings)
        tell("checking")
        shown = await asyncio.to_thread(check, settings, traded.sent)
    shown.outcomes, shown.traded = traded.outcomes, traded
    shown.problems += traded.said()
    shown.trade_s, shown.seconds = trade_s, time.monotonic() - began
    return shown


def check(settings: Settings, sent: Ledger) -> Shown:
    """Check a cell that has come to rest against what was sent to it; a long log by two processes."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(closing(open_log(settings, read_only=True)))
        vault = stack.enter_context(closing(open_vault(settings)))
        live = stack.enter_context(closing(open_read_models(settings)))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pool: Executor = ThreadPoolExecutor(1)
        if log.tracked().head > TWO_PROCESSES_FROM:
            pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        replayed = stack.enter_context(pool).submit(_replayed, settings)
        found = account(log, vault, sent)
        proof = verify(scan_of(settings), settings.cell, folder=CheckpointFolder(scratch), signer=None, vault=vault)
        states, models = replayed.result()
        unbuilt = [note for note in models.notes if "has not been built" in note]
        problems = [
            *(f"lost: {each}" for each in found.first_lost),
            *states.problems,
            *models.differences,
            *unbuilt,
            *(f"{each.kind}: {each.text}" for each in proof.problems),
        ]
        return Shown(
            account=found,
            seconds=0.0,
            trade_s=0.0,
            states=dict.fromkeys(STATES, 0) | live.count_orders(),
            outcomes={},
            reasons={},
            read_models_match_log=not models.differences and not models.more and not unbuilt,
            chain_verified=proof.ok,
            invariants_hold=not states.problems and not states.more,
            problems=problems[:50],
            messages=sent.messages,
        )


def _replayed(settings: Settings) -> tuple[ReplayedStates, ReplayedReadModels]:
    """Fold everything again from the log alone."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        closing(open_log(settings, read_only=True)) as log,
        closing(open_read_models(settings)) as live,
    ):
        return replay_states(log), replay_read_models(log, Path(scratch), live)


def _progress(tell: Callable[[str], None]) -> Callable[[Progress], None]:
    last = 0.0

    def progress(now: Progress) -> None:
        nonlocal last
        if time.monotonic() - last > 2.0:  # noqa: PLR2004
            last = time.monotonic()
            tell(f"  {now.sent:,} messages sent, {now.answers:,} answers of the cell seen")

    return progress
