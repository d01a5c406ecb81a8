"""Privacy: who asked that a person be forgotten, or what is held of him; what it was about, and when it was done.

One stream for all requests, so that the record of who asked stays when everything it was about is gone. It names
orders, buyers (by keyed digest) and asides, and never the person. A request is decided in one turn with all orders it
names; the keys are destroyed afterwards, by an act outside (`runners.effects_erasure`), whose end is recorded here.

A request may wait until everything of the person is finished. Its orders know of it: each of their steps that leaves
one finished asks here, in the same turn, whether all are now (`react_to_awaited`); once a day a timer asks, for what no
step tells. What is carried out then is the request itself, by the same event and the same way as at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import immutables
import msgspec

from domain.acts import Act, acting
from domain.decider import Command, Decider, DomainError, Event
from domain.erasure import AwaitForget, Forget, StopAwaiting
from domain.fulfilment import Message
from domain.handled import Handled
from domain.ids import BUYERS_KEY, PRIVACY_KEY, is_key, kind_of, trail_key
from domain.order import EffectFailed, EffectSucceeded, Order, RecordEffect, TimerCleared, TimerDue, TimerSet
from domain.time_units import DAY_MS

EFFECT = "erasure"
"""Name of the act that destroys keys."""
STREAMS_MAX = 1_000
"""Most orders, asides and buyers of one request: it is one turn."""
REASON_MAX = 500
SETTLED_MS = 30 * DAY_MS
"""A parcel of which its channel has said nothing new for so long counts as arrived where no carrier tells."""
LOOK_MS = DAY_MS
"""How often a request that waits is looked at where nothing happens: silence and debts end without an order's step."""
TIMER = "forget-"
"""How the names of these timers begin; the request follows."""
ASIDE = "aside-"
"""How the names begin that keys of asides have: bytes that came in and are no order's."""
_END: frozenset[str] = frozenset({"completed", "cancelled", ""})

Asked = Literal["customer", "guardian", "authority", "merchant"]
"""Who asked: the person himself 本人, who speaks for him 监护人, an authority 监管部门, the merchant 商家."""


class _Request(Act, frozen=True):
    """What both requests say."""

    asked: str = ""
    """One of `Asked`."""
    reason: str = ""
    """Why; names nobody."""
    orders: tuple[str, ...] = ()
    """Keys of his orders."""
    buyers: tuple[str, ...] = ()
    """Whom he is known as: `<channel>:<keyed digest>`."""
    asides: tuple[str, ...] = ()
    """Names of the keys of other bytes of him."""


class ForgetPerson(_Request, frozen=True):
    """A person is to be forgotten: all that is held of these orders, buyers and asides."""

    unfinished: tuple[tuple[str, str], ...] = ()
    """(order, why it cannot be forgotten yet): filled in by the turn."""
    known: tuple[str, ...] = ()
    """Of `buyers`, those with whom something was agreed: filled in by the turn."""
    owing: tuple[str, ...] = ()
    """Of `buyers`, those who owe something: filled in by the turn."""
    when_finished: bool = False
    """Whether it waits where something stands against it, instead of being refused."""


class WithdrawForgetting(Act, frozen=True):
    """A request that waits is not to be carried out any more."""

    request: str = ""
    reason: str = ""
    """Why; names nobody."""


class LookAgain(Command, frozen=True):
    """In-turn: something that stood against a request may do so no more."""

    request: str
    timer: str = ""
    """The timer that rang; "" = an order asks."""
    unfinished: tuple[tuple[str, str], ...] = ()
    known: tuple[str, ...] = ()
    owing: tuple[str, ...] = ()


class RepeatForgetting(ForgetPerson, frozen=True):
    """In a restore: it was done after the backup was made, so nothing can stand against it any more."""


class RecordDisclosure(_Request, frozen=True):
    """What is held of a person is given out; recorded before it is."""


class ForgettingAsked(Event, frozen=True):
    """A person is to be forgotten. His keys are destroyed from here on."""

    request: str
    """Id of the act."""
    asked: str
    """Who asked: customer, guardian, authority or merchant."""
    reason: str
    who: str
    """Who entered it."""
    role: str
    orders: tuple[str, ...] = ()
    buyers: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()


class ForgettingAwaited(Event, frozen=True):
    """A person is to be forgotten as soon as everything of him is finished. Nothing is destroyed yet."""

    request: str
    """Id of the act; that of the request that it becomes."""
    asked: str
    reason: str
    who: str
    role: str
    orders: tuple[str, ...] = ()
    buyers: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()


class ForgettingWithdrawn(Event, frozen=True):
    """A request that waited is not carried out."""

    request: str
    command: str
    reason: str
    who: str
    role: str
    orders: tuple[str, ...] = ()


class PersonForgotten(EffectSucceeded, frozen=True):
    """The keys are destroyed. `reference` is the request."""


class ErasureDelayed(EffectFailed, frozen=True):
    """The keys could not be destroyed yet; it is tried again."""


class DataDisclosed(Event, frozen=True):
    """What is held of a person was given out; none of it stands here."""

    request: str
    asked: str
    reason: str
    who: str
    role: str
    orders: tuple[str, ...] = ()
    buyers: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()


class PrivacyRefused(Event, frozen=True):
    """A request broke a rule; nothing else happened."""

    what: str
    rule: str
    reason: str
    command: str = ""


class NobodyFound(DomainError):
    """The request names nothing that is held."""


class NotToldWhy(DomainError):
    """It was not said who asked, or why."""


class TooMuchAtOnce(DomainError):
    """More than one turn takes."""


class StillUnderWay(DomainError):
    """An order of the person is not finished, and cannot be finished without his address."""


class StillOwes(DomainError):
    """The person owes the merchant something."""


class AwaitedAlready(DomainError):
    """Another request waits for the same."""


class NothingAwaited(DomainError):
    """No such request waits: it is carried out, withdrawn, or never was."""


class WrongActor(DomainError):
    """Privacy knows no such command."""


class Privacy(msgspec.Struct, frozen=True):
    """What is remembered of the requests."""

    requests: "immutables.Map[str, bool]" = immutables.Map()
    """Id → whether the keys are destroyed."""
    handled: Handled = Handled()
    waiting: "immutables.Map[str, ForgettingAwaited]" = immutables.Map()
    """Requests that wait, by id."""


_replace = msgspec.structs.replace


def why_unfinished(state: Order, now_ms: int) -> str:
    """Return why an order's person cannot be forgotten yet; "" = he can."""
    if state.quarantined is not None or state.queue:
        return "a message of it waits for a decision"
    if state.forgotten:
        return ""
    if state.interceptions:
        return "it waits for a decision"
    if any(case.open for case in state.cases) or any(stage == "open" for _, stage in state.after_sales):
        return "an after-sale of it is open"
    if state.status in _END:
        return ""
    if state.status == "shipped" and (state.tracking.delivered or now_ms - state.modified_ms > SETTLED_MS):
        return ""
    return f"it is {state.status}"


def informed(command: Any, states_of: Callable[[Sequence[str]], Sequence[Any]], now_ms: int) -> Command:
    """Return a request with what stands against it; `states_of` returns other actors' states.

    What a message says there itself counts for nothing.
    """
    if isinstance(command, TimerDue):
        command = LookAgain(command.timer.removeprefix(TIMER), command.timer)
    if not isinstance(command, ForgetPerson | LookAgain):
        told: Command = command
        return told
    asks: ForgetPerson | LookAgain = _replace(command, unfinished=(), known=(), owing=())
    about: Any = asks
    if isinstance(asks, LookAgain):
        (state,) = states_of((PRIVACY_KEY,))
        about = state.waiting.get(asks.request)
    if about is None or len(about.orders) > STREAMS_MAX or not _are_orders(about.orders):
        return asks  # nothing waits, or it is refused for that
    *orders, buyers = states_of((*about.orders, BUYERS_KEY))
    why = [(key, why_unfinished(state, now_ms)) for key, state in zip(about.orders, orders, strict=True)]
    known = tuple(name for name in about.buyers if name in buyers.known)
    return _replace(
        asks,
        unfinished=tuple(each for each in why if each[1]),
        known=known,
        owing=tuple(name for name in known if sum(buyers.known[name].owes.values()) > 0),
    )


def _are_orders(keys: Sequence[str]) -> bool:
    return all(is_key(key) and kind_of(key) == "order" for key in keys)


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > REASON_MAX:
        raise NotToldWhy(f"say why, in at most {REASON_MAX} characters, without naming anybody")


def _checked(command: _Request) -> tuple[str, str]:
    """Return (id, role) of who enters a request. Raises DomainError where it is none."""
    who, role = acting(command)
    if command.asked not in Asked.__args__:  # type: ignore[attr-defined]
        raise NotToldWhy(f"say who asked: one of {', '.join(Asked.__args__)}")  # type: ignore[attr-defined]
    _check_reason(command.reason)
    named = (*command.orders, *command.buyers, *command.asides)
    if not named:
        raise NobodyFound("nothing is held of such a person")
    if len(named) > STREAMS_MAX:
        raise TooMuchAtOnce(f"{len(named):,} streams are named; at most {STREAMS_MAX:,} go at once: ask in parts")
    if not (
        _are_orders(command.orders)
        and all(is_key(trail_key(name)) for name in command.buyers)
        and all(is_key(name) and name.startswith(ASIDE) for name in command.asides)
    ):
        raise NobodyFound("what is named is no order, buyer or aside")
    return who, role


def _forget(command: ForgetPerson, state: Privacy, now_ms: int) -> Sequence[Event]:
    who, role = _checked(command)
    named = (command.orders, command.buyers, command.asides)
    asked = (command.command_id, command.asked, command.reason, who, role, *named)
    if isinstance(command, RepeatForgetting):
        cleared = (TimerCleared(TIMER + command.command_id, fired=False),) * (command.command_id in state.waiting)
        return (*cleared, ForgettingAsked(*asked))
    if command.when_finished and (command.unfinished or command.owing):
        for each in state.waiting.values():
            if all(set(of) <= set(its) for of, its in zip(named, (each.orders, each.buyers, each.asides), strict=True)):
                raise AwaitedAlready(f"request {each.request} waits for that already")
        return (ForgettingAwaited(*asked), TimerSet(TIMER + command.command_id, now_ms + LOOK_MS))
    if command.unfinished:
        shown = "; ".join(f"{key}: {why}" for key, why in command.unfinished[:5])
        more = f"; and {len(command.unfinished) - 5} more" if len(command.unfinished) > 5 else ""  # noqa: PLR2004
        raise StillUnderWay(
            f"not before they are finished: {shown}{more}. Finish or cancel them, then ask again; or ask that it be "
            "done when they are finished"
        )
    if command.owing:
        raise StillOwes(f"{', '.join(command.owing[:5])} owes something; settle it first")
    return (ForgettingAsked(*asked),)


def _look(command: LookAgain, state: Privacy, now_ms: int) -> Sequence[Event]:
    """Carry out a request that waited, if nothing stands against it any more; else look again tomorrow."""
    waits = state.waiting.get(command.request)
    if waits is None:
        return ()
    timer = TIMER + command.request
    if command.unfinished or command.owing:
        return (TimerCleared(timer, fired=True), TimerSet(timer, now_ms + LOOK_MS)) if command.timer else ()
    named = (waits.orders, waits.buyers, waits.asides)
    asked = ForgettingAsked(waits.request, waits.asked, waits.reason, waits.who, waits.role, *named)
    return (TimerCleared(timer, fired=bool(command.timer)), asked)


def _withdraw(command: WithdrawForgetting, state: Privacy) -> Sequence[Event]:
    who, role = acting(command)
    _check_reason(command.reason)
    waits = state.waiting.get(command.request)
    if waits is None:
        raise NothingAwaited(f"no request {command.request} waits: it is carried out or withdrawn, or there was none")
    told = ForgettingWithdrawn(command.request, command.command_id, command.reason, who, role, waits.orders)
    return (TimerCleared(TIMER + command.request, fired=False), told)


def _disclose(command: RecordDisclosure) -> Sequence[Event]:
    who, role = _checked(command)
    named = (command.orders, command.buyers, command.asides)
    return (DataDisclosed(command.command_id, command.asked, command.reason, who, role, *named),)


def _report(command: RecordEffect, state: Privacy) -> Sequence[Event]:
    """Record how destroying stands; what is done is done once."""
    if command.effect != EFFECT:
        raise WrongActor(f"privacy knows no act {command.effect!r}")
    if command.outcome == "failed":
        told = (command.effect, command.key, command.reason, command.reference, command.tries, command.final)
        return (ErasureDelayed(*told),)
    if state.requests.get(command.reference, True):
        return ()
    return (PersonForgotten(command.effect, command.key, command.reference, command.tries),)


def decide(command: Command, state: Privacy, now_ms: int = 0) -> Sequence[Event]:
    """Return what follows; nothing for a command that was handled.

    Raises:
        RefusedBefore: it was refused when it came first.
        DomainError: it breaks a rule.
    """
    if isinstance(command, LookAgain):
        return _look(command, state, now_ms)
    if isinstance(command, RecordEffect):
        return _report(command, state)
    if not isinstance(command, ForgetPerson | RecordDisclosure | WithdrawForgetting):
        raise WrongActor(f"{type(command).__name__} is nothing that privacy could do")
    repeats = isinstance(command, RepeatForgetting) and command.command_id in state.waiting
    if not repeats and state.handled.has(command.command_id):
        return ()
    if isinstance(command, WithdrawForgetting):
        return _withdraw(command, state)
    return _forget(command, state, now_ms) if isinstance(command, ForgetPerson) else _disclose(command)


def react(events: Sequence[Event], command: Any) -> list[Message]:
    """Return what a request means for the actors that hold something of the person."""
    messages: list[Message] = []
    for event in events:
        if isinstance(event, ForgettingAwaited):
            messages += [Message(key, AwaitForget(event.request)) for key in event.orders]
        elif isinstance(event, ForgettingWithdrawn):
            messages += [Message(key, StopAwaiting(event.request)) for key in event.orders]
        elif isinstance(event, ForgettingAsked):
            forget = Forget(event.request)
            messages += [Message(key, forget) for key in event.orders]
            messages += [Message(trail_key(name), forget) for name in event.buyers]
            messages += [Message(BUYERS_KEY, Forget(event.request, name)) for name in command.known]
    return messages


def react_to_awaited(before: Order, after: Order, now_ms: int) -> list[Message]:
    """Return what a step of an order that requests wait for means for them: nothing while it is not finished."""
    if after is before or not after.awaited or not before.awaited or why_unfinished(after, now_ms):
        return []
    return [Message(PRIVACY_KEY, LookAgain(request)) for request in after.awaited]


def streams_of(asked: ForgettingAsked) -> tuple[str, ...]:
    """Return the names of all keys that a request destroys."""
    return (*asked.orders, *map(trail_key, asked.buyers), *asked.asides)


EVOLVE: Mapping[type[Event], Callable[[Privacy, Any], Privacy]] = {
    ForgettingAwaited: lambda state, event: _replace(
        state, handled=state.handled.with_(event.request), waiting=state.waiting.set(event.request, event)
    ),
    ForgettingWithdrawn: lambda state, event: _replace(
        state, handled=state.handled.with_(event.command), waiting=_without(state.waiting, event.request)
    ),
    ForgettingAsked: lambda state, event: Privacy(
        state.requests.set(event.request, False),
        state.handled.with_(event.request),
        _without(state.waiting, event.request),
    ),
    PersonForgotten: lambda state, event: _replace(state, requests=state.requests.set(event.reference, True)),
    ErasureDelayed: lambda state, _: state,
    DataDisclosed: lambda state, event: _replace(state, handled=state.handled.with_(event.request)),
    PrivacyRefused: lambda state, event: _replace(state, handled=state.handled.with_(event.command, event.reason)),
    TimerSet: lambda state, _: state,
    TimerCleared: lambda state, _: state,
}


def _without(waiting: "immutables.Map[str, ForgettingAwaited]", request: str) -> Any:
    return waiting.delete(request) if request in waiting else waiting


def evolve(state: Privacy, event: Event) -> Privacy:
    """Return the state after the event."""
    return EVOLVE[type(event)](state, event)


privacy = Decider(Privacy(), decide, evolve)
