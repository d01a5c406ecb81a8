"""One shop's line to its platform, kept up: timed pulls, hints, its message socket, and comparisons with its past.

Whatever goes wrong with it is its own affair: it waits, says why, and tries again; other shops do not notice.
"""

import asyncio
import contextlib
import math
import random
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import structlog

from adapters.platforms import connect
from adapters.platforms.connection import Connection, MissingSecret
from domain.envelope import By
from domain.platforms import NotAuthorised, Platform, PlatformBusy, PlatformError, Puller, Window
from domain.time_units import HOUR_MS
from runners.connection_keys import FileKeys
from runners.connections import BadConnections, secrets_of
from runners.pulling_feed import BadOption, Feed
from runners.pulling_hints import LOOK_S, Fetching
from runners.pulling_mail import AWAY, Mailroom
from runners.pulling_socket import listen
from runners.pulling_store import Pulls, State
from runners.reconciling import Reconciliation

if TYPE_CHECKING:
    from domain.ports import EventLog
    from runners.settings import Settings

START_SPREAD_S = 0.5
"""First pulls of many shops are spread over so long."""
JITTER = 0.1
"""Part of the interval by which pulls come earlier or later."""
BACKOFF_S_MIN = 2.0
BACKOFF_S_MAX = 900.0
REFUSED_S = 60.0
"""Pause after a refusal: the same again will not help, so a person must look."""
ACCESS_S = 300.0
"""Pause after the platform did not let us in; a new token or secret ends it at once."""
AWAY_S = 1.0
AWAY_S_MAX = 10.0
"""Pauses while broker or worker are away: the platform should not be asked in vain all the time."""
CLOSE_S = 2.0
STAMP_S = 1.0
SOUND_S = 60.0
"""What has lasted so long had worked."""
WHOLE = ("access", "settings", "program")
"""Problems of the whole line."""
LISTENS_S = 5.0
COMPARE_LOOK_S = 30.0
COMPARE_OPTION = "compare_every_h"
COMPARE_EVERY_H = 24.0
"""How often a shop's last day is compared by itself, unless its option says otherwise; 0 = never."""
COMPARE_OVERLAP_MS = HOUR_MS

log = structlog.get_logger(__name__)


class Shared(NamedTuple):
    """What all lines use."""

    settings: "Settings"
    pulls: Pulls
    mailroom: Mailroom
    event_log: "EventLog"
    now_ms: Callable[[], int]


class Line:
    """One connection's tasks."""

    def __init__(self, connection: Connection, shared: Shared) -> None:
        """Nothing is connected yet."""
        self.connection = connection
        self.can_fetch = True
        """Whether orders can be fetched by their number; believed until the platform turns out to have no such thing,
        so that what is pushed while it does not let us in is fetched later."""
        self._shared = shared
        self._keys = FileKeys(shared.settings.path, connection)
        self._task: asyncio.Task[None] | None = None
        self._told_to_end = False
        self._hinted = asyncio.Event()
        self._asked = asyncio.Event()
        self._state = shared.pulls.state(connection.name)
        self._state = msgspec.structs.replace(self._state, problems={}, again_ms=0, listening=False)
        self._log = log.bind(connection=connection.name)

    def wake(self) -> None:
        """There is a hint, or something to compare."""
        self._hinted.set()
        self._asked.set()

    def start(self) -> "asyncio.Task[None]":
        """Begin to keep the line up; the task ends with `stop`, or with an error where nothing can be noted."""
        assert self._task is None
        self._task = asyncio.create_task(self._run(), name=f"line-{self.connection.name}")
        return self._task

    def stop(self) -> None:
        """Tell the line to end; its task is done soon."""
        self._told_to_end = True
        if self._task is not None:
            self._task.cancel()

    def _end_if_told(self) -> None:
        """Go on with an end that a group of tasks has swallowed: one that fails while it is cancelled only tells that.

        (The task's own count of cancellations does not say: where a child fails, groups of Python 3.11 raise it.)
        """
        if self._told_to_end:
            raise asyncio.CancelledError

    async def _run(self) -> None:
        failures = 0
        while True:
            stamp = self._keys.stamp()
            began = time.monotonic()
            try:
                await self._connected()
            except (NotAuthorised, MissingSecret) as error:
                await self._stopped("access", str(error), ACCESS_S, stamp)
            except (BadConnections, BadOption) as error:
                await self._stopped("settings", str(error), ACCESS_S, stamp)
            except Exception as error:  # noqa: BLE001  a broken adapter must not stop the other shops
                failures = 0 if time.monotonic() - began > SOUND_S else failures + 1
                # Neither text nor values of the error: they may hold what a platform sent, or a key.
                place = traceback.extract_tb(error.__traceback__)[-1]
                reason = f"a fault in the program: {type(error).__name__} in {place.filename}:{place.lineno}"
                await self._stopped("program", reason, backoff_s(failures), stamp)

    async def _connected(self) -> None:
        """Be connected until something ends it.

        Raises:
            NotAuthorised, MissingSecret, BadOption, BadConnections, and what only a bug can be.
        """
        try:
            platform = connect(self.connection, self._keys, self._shared.now_ms)
        except ValueError as error:  # an option; it names it
            raise BadOption(f"connection {self.connection.name}: {error}") from None
        try:
            stamp = self._keys.stamp()
            if platform.puller is None:
                self.can_fetch = False
                await asyncio.to_thread(self._shared.pulls.fetch_nothing, self.connection.name)
                for name in secrets_of(self.connection):
                    self._keys.secret(name)
            if platform.puller is None or not self.connection.pull_every_s:
                await self._tell(clear=WHOLE)  # no pull will show whether it works
            async with asyncio.TaskGroup() as group:
                if platform.puller is not None:
                    self._start(group, platform.puller)
                if platform.listener is not None and self.connection.listen:
                    group.create_task(self._listen(platform))
                if platform.puller is None and platform.listener is None:
                    # It only pushes: nothing to do here but to see that its secrets are still there.
                    await self._changed(stamp)
        except BaseExceptionGroup as group_error:
            self._end_if_told()
            raise _worst(group_error) from None
        finally:
            await _close(platform)

    def _start(self, group: asyncio.TaskGroup, puller: Puller) -> None:
        shared, connection = self._shared, self.connection
        feed = Feed(connection, puller, shared.pulls, shared.mailroom, shared.now_ms)
        fetching = Fetching(connection, puller, shared.pulls, shared.mailroom, shared.now_ms)
        if connection.pull_every_s:
            group.create_task(self._again_and_again("pull", lambda: self._pull(feed)))
        group.create_task(self._again_and_again("hints", lambda: self._fetch(fetching)))
        group.create_task(self._again_and_again("compare", lambda: self._compare(puller)))

    async def _again_and_again(self, what: str, once: Callable[[], Awaitable[float]]) -> None:
        """Do something, wait as long as it says, and so on; longer each time while it does not work.

        Raises:
            NotAuthorised, MissingSecret, BadOption: it cannot work.
        """
        await asyncio.sleep(random.uniform(0, START_SPREAD_S))  # noqa: S311  spread, no secret
        failures = away = 0
        while True:
            stamp = self._keys.stamp()
            try:
                wait_s = await once()
            except (NotAuthorised, MissingSecret) as error:
                if what != "hints" or not self.connection.pull_every_s:
                    raise
                # An app may pull without the right to single orders; where nothing is allowed, the pull ends it.
                await self._stopped(what, str(error), ACCESS_S, stamp)
                continue
            except AWAY as error:
                self._log.info("pull.waits", what=what, reason=str(error))
                away += 1
                wait_s = min(AWAY_S_MAX, AWAY_S * 2.0 ** (away - 1))
            except PlatformBusy as busy:
                failures += 1
                wait_s = max(busy.retry_after_s or 0.0, backoff_s(failures))
                await self._tell(what, str(busy), wait_s)
            except PlatformError as error:
                failures += 1
                wait_s = max(REFUSED_S, backoff_s(failures))
                await self._tell(what, str(error), wait_s)
            else:
                failures = away = 0
                await self._tell(clear=(what,))
            self._end_if_told()
            woken = {"hints": self._hinted, "compare": self._asked}.get(what)
            if failures or woken is None:
                await asyncio.sleep(wait_s)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await woken.wait()
            woken.clear()

    async def _pull(self, feed: Feed) -> float:
        began = time.monotonic()
        found: Counter[str] = await feed.pull()
        await self._tell(clear=WHOLE, pulled=found)
        every_s = self.connection.pull_every_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  spread, no secret
        return max(0.0, every_s - (time.monotonic() - began))

    async def _fetch(self, fetching: Fetching) -> float:
        return min(LOOK_S, await fetching.run_once())

    async def _compare(self, puller: Puller) -> float:
        """Do what is to be compared, one after the other."""
        shared, connection = self._shared, self.connection
        await asyncio.to_thread(self._ask_daily, puller)
        for asked in await asyncio.to_thread(shared.pulls.comparisons, connection.name):
            by = By("system", "puller")
            one = Reconciliation(connection, puller, shared.pulls, shared.mailroom, shared.event_log, shared.now_ms, by)
            result = await one.run(asked.window, asked.reason)
            if result.stopped is None:
                await asyncio.to_thread(shared.pulls.compared_to, asked, asked.window.end_ms)
                continue
            if result.recorded:
                await asyncio.to_thread(shared.pulls.compared_to, asked, result.window.end_ms)
            raise result.stopped
        return COMPARE_LOOK_S

    def _ask_daily(self, puller: Puller) -> None:
        every_ms = compare_every_ms(self.connection)
        compared = self._shared.pulls.compared(self.connection)
        end = self._shared.now_ms() - puller.rules.margin_ms - puller.rules.overlap_ms
        if not every_ms or compared is None or not self.connection.pull_every_s or end - compared < every_ms:
            return
        window = Window(compared - COMPARE_OVERLAP_MS, end)
        self._shared.pulls.compare_daily(self.connection, window, "the daily comparison")

    async def _listen(self, platform: Platform) -> None:
        """Listen to the platform's socket, again whenever it ends.

        Not being let in here stops nothing else: an app may pull without the right to messages.
        """
        assert platform.listener is not None
        shared = self._shared
        failures = 0
        while True:
            stamp = self._keys.stamp()
            began = time.monotonic()
            sound = asyncio.create_task(self._sound())
            refused = False
            reason = "the platform closed the socket"
            try:
                await listen(self.connection, platform.listener, shared.mailroom, shared.now_ms, self._heard)
            except AWAY as error:
                reason = str(error)
            except PlatformError as error:
                reason = str(error)
                refused = isinstance(error, NotAuthorised)
            except MissingSecret as error:
                reason, refused = str(error), True
            finally:
                sound.cancel()
            self._end_if_told()
            failures = 0 if time.monotonic() - began > SOUND_S else failures + 1
            if refused:
                await self._stopped("socket", reason, ACCESS_S, stamp)
                continue
            wait_s = backoff_s(failures) if failures else 0.0
            if failures > 1:
                await self._tell("socket", reason, wait_s)
            await asyncio.sleep(wait_s)

    async def _sound(self) -> None:
        """Believe a socket that has lasted a while, also where nothing came."""
        await asyncio.sleep(LISTENS_S)
        await self._heard()

    async def _heard(self) -> None:
        """The socket works."""
        if not self._state.listening:
            await self._tell(clear=("socket",), listening=True)

    async def _stopped(self, what: str, reason: str, seconds: float, stamp: tuple[object, ...]) -> None:
        """Say why the line is down; wait, or until a token or secret has changed."""
        await self._tell(what, reason, seconds)
        await self._changed(stamp, seconds)

    async def _changed(self, stamp: tuple[object, ...], seconds: float = math.inf) -> None:
        """Wait until a token or secret has changed, or so long."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0 or self._keys.stamp() != stamp:
                return
            await asyncio.sleep(min(STAMP_S, left))

    async def _tell(
        self,
        what: str = "",
        reason: str = "",
        wait_s: float = 0.0,
        *,
        clear: tuple[str, ...] = (),
        pulled: Counter[str] | None = None,
        listening: bool | None = None,
    ) -> None:
        """Keep how it does, for people; what is new goes into the log as well."""
        before = self._state
        problems = {name: text for name, text in before.problems.items() if name not in clear}
        if what:
            problems[what] = reason
            if before.problems.get(what) != reason:
                self._log.error(f"{what}.failed", reason=reason, again_s=round(wait_s, 1))
        for name in before.problems.keys() - problems.keys():
            self._log.info(f"{name}.works_again")
        now = self._shared.now_ms()
        state = State(
            problems,
            now,
            now + round(wait_s * 1000) if wait_s else (before.again_ms if problems else 0),
            before.pulled_ms if pulled is None else now,
            before.pulled if pulled is None else dict(pulled),
            False if what == "socket" else before.listening if listening is None else listening,
        )
        if msgspec.structs.replace(state, at_ms=0) != msgspec.structs.replace(before, at_ms=0):
            self._state = state
            await asyncio.to_thread(self._shared.pulls.tell, self.connection.name, state)


def backoff_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row; never all at once."""
    longest = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** (max(1, failures) - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  spread, no secret


def compare_every_ms(connection: Connection) -> int:
    """Return how often a shop is compared by itself, ms; 0 = never.

    Raises:
        BadOption: the option is no number of hours.
    """
    text = connection.options.get(COMPARE_OPTION, "")
    try:
        hours = float(text) if text else COMPARE_EVERY_H
    except ValueError:
        hours = -1.0
    if not 0 <= hours < 10_000:  # noqa: PLR2004  a year and more
        raise BadOption(f"connection {connection.name}: option {COMPARE_OPTION} {text!r}: a number of hours is needed")
    return round(hours * HOUR_MS)


async def _close(platform: Platform) -> None:
    if platform.close is None:
        return
    with contextlib.suppress(TimeoutError, OSError, PlatformError):
        async with asyncio.timeout(CLOSE_S):
            await platform.close()


def _worst(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one error of a group that says most: a bug before a lock that is shut, that before the rest."""
    errors = list(_leaves(group))
    return min(errors, key=lambda error: isinstance(error, PlatformError | MissingSecret | BadOption | BadConnections))


def _leaves(error: BaseException) -> "list[BaseException]":
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
