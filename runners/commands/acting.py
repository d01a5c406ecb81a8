"""Acts through the mail: who does it, on which order, and what became of it after the commit."""

import asyncio
import getpass
import os
import time
import uuid
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from runners.commands.common import (
    DATA_DEFAULT,
    CommandIdOption,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    outcome_word,
    print_json,
    say,
    settings_of,
    show,
)
from runners.naming import orders_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.envelope import By
    from domain.mail import Body, Mail, Reply
    from domain.ports import Recorded
    from runners.settings import Settings

GOOD = ("accepted", "repeated", "queued")
"""Outcomes after which nobody has to do anything."""


class Answered(NamedTuple):
    """Answers, and the log position that shows what they mean."""

    replies: "list[Reply]"
    position: int


class OnOrder(NamedTuple):
    """An act on an order, before it is sent."""

    settings: "Settings"
    key: str
    """The order's."""
    own: str
    """The act's id."""
    json: bool

    def currency(self) -> str:
        """Return the order's currency, in which people name amounts.

        Raises:
            Failure: it is not known.
        """
        from runners.bootstrap import open_read_models  # noqa: PLC0415

        with closing(open_read_models(self.settings)) as views:
            amounts = (views.order(self.key) or {}).get("amounts") or {}
        if not amounts.get("currency"):
            raise Failure(
                Exit.REFUSED,
                f"the currency of {orders_named(self.key)} is not known in {self.settings.data} yet. If it came in "
                "just now, try again in a second",
            )
        return str(amounts["currency"])

    def send(self, body: "Body", by: "str | By", verb: str, what: str, **more: Any) -> Exit:
        """Send it, say what became of it, and return how the verb ends; see `mail_of`."""
        mail = mail_of(self.key, body, by, verb)
        return act(self.settings, mail, what, json=self.json, command_id=self.own, **more)


@Parameter(name="*")
@dataclass(frozen=True)
class Sending:
    """The options that each act on an order has."""

    early: Annotated[
        bool,
        Parameter(negative="", help="Send it although no channel has told of the order yet: it waits for its order."),
    ] = False
    command_id: CommandIdOption = ""
    data: DataOption = DATA_DEFAULT
    json: JsonOption = False

    def on(self, order: str) -> OnOrder:
        """Begin an act on the order a person means.

        Raises:
            Failure: nothing or several orders fit, no channel has told of it, or there is no such data directory.
        """
        settings = settings_of(self.data)
        key = order_to_act_on(settings, order, early=self.early)
        return OnOrder(settings, key, command_id_of(self.command_id), self.json)


SENDING = Sending()
"""As it is where no such option is given."""


def person(role: str) -> "By":
    """Return who sits at this command line: ORDERSPINE_PERSON, or the system's name for them."""
    from domain.envelope import By  # noqa: PLC0415

    try:
        name = os.environ.get("ORDERSPINE_PERSON", "").strip() or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = f"uid-{os.getuid()}"
    return By("person", name, role)


def command_id_of(given: str) -> str:
    """Return the id of an act: the given one, or a new one."""
    return given or f"cli-{uuid.uuid4().hex}"


def mail_of(to: str, body: "Body", by: "str | By", verb: str) -> "Mail":
    """Return the mail of an act; `by` says who acts, or as what who sits at this command line does."""
    from domain.mail import Mail  # noqa: PLC0415

    who = person(by) if isinstance(by, str) else by
    return Mail(to, body, time.time_ns() // 1_000_000, who, f"cli/{verb}")


def send(settings: "Settings", mails: "Sequence[Mail]") -> Answered:
    """Send acts and wait for their commit.

    Raises:
        NotRunning, NoAnswer: see `Postman`.
    """
    from runners.post import Postman  # noqa: PLC0415

    async def deliver() -> Answered:
        async with Postman(settings, name="orderspine-cli") as postman:
            return Answered(await postman.send(mails), postman.position)

    return asyncio.run(deliver())


def act(settings: "Settings", mail: "Mail", what: str, *, json: bool, **more: Any) -> Exit:
    """Send one act, say what became of it, and return how the verb ends."""
    replies, position = send(settings, [mail])
    reply = replies[0]
    if json:
        print_json({"outcome": reply.outcome, "reason": reply.reason, "to": mail.to, "position": position, **more})
    else:
        show(
            f"{outcome_word(reply.outcome)}: {escape(what)}"
            + (f" ({escape(orders_named(reply.reason))})" if reply.reason else "")
        )
        if reply.outcome == "repeated":
            say("it was done before; nothing has changed")
        elif reply.outcome == "queued" and _told_of(settings, mail.to):
            say("it waits: a quarantined message of the order stands before it (`orderspine quarantine list`)")
        elif reply.outcome == "queued":
            say(
                "it waits for its order, and is done when that comes in; after two days `orderspine desk` asks about it"
            )
    return Exit.OK if reply.outcome in GOOD else Exit.REFUSED


def order_of(settings: "Settings", text: str) -> str:
    """Return the key of the order a person means: its key, channel:shop:number, or its number where that is unique.

    Raises:
        Failure: nothing or several orders fit.
    """
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    key = _whole_key_of(text)
    if not key:
        return _numbered(settings, text)
    with closing(open_read_models(settings)) as views:
        if views.order(key) is not None or _events_of(settings, key, limit=1):
            return key
    raise Failure(
        Exit.REFUSED, f"there is no order {orders_named(key)} in {settings.data}; `orderspine orders` lists them"
    )


def _numbered(settings: "Settings", text: str) -> str:
    """Return the key of the one order that has this number.

    Raises:
        Failure: nothing or several orders fit.
    """
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    with closing(open_read_models(settings)) as views:
        found = views.orders({"order_no": text}, limit=6)
    if len(found) == 1:
        return str(found[0]["key"])
    if found:
        keys = ", ".join(name_of(row) for row in found)
        raise Failure(Exit.USAGE, f"several orders have the number {text}: say which one ({keys})")
    raise Failure(
        Exit.REFUSED,
        f"no order {text!r} in the read models of {settings.data}. If it came in just now, try again in a second; "
        "an order can also be named channel:shop:number",
    )


def order_to_act_on(settings: "Settings", text: str, *, early: bool = False) -> str:
    """Return the key of the order a person means; without `early`, of one that a channel has told of.

    By a slip in its name an act would wait for an order that never comes, or be done on another's that does.

    Raises:
        Failure: nothing or several orders fit, or no channel has told of it.
    """
    key = _whole_key_of(text) or _numbered(settings, text)
    if early or _told_of(settings, key):
        return key
    raise Failure(
        Exit.REFUSED,
        f"no channel has sent such an order as {orders_named(key)}, so nothing was done: `orderspine orders` lists "
        "those that there are. Where this one is still to come, give --early: it then waits for its order",
    )


def _told_of(settings: "Settings", key: str) -> bool:
    """Whether any channel has told of an order; acts that wait for it are no such word."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    with closing(open_read_models(settings)) as views:
        shown = views.order(key)
    told = ("order.received", "order.quarantined")
    return bool(shown and shown.get("state")) or any(event.tag in told for event in _events_of(settings, key))


def _whole_key_of(text: str) -> str:
    """Return the key that is said in whole, or by channel:shop:number; "" where it is neither.

    Raises:
        Failure: it is meant to be one of them and is none.
    """
    from domain.ids import BadId, is_key, order_key  # noqa: PLC0415

    if text.startswith("order-") and text.count(":") == 2:  # noqa: PLR2004  a key has three parts
        if is_key(text):
            return text
        raise Failure(
            Exit.USAGE,
            f"{text!r} is no key of an order: in keys every byte but letters, digits, _ and - is written =XX. "
            "Name it channel:shop:number instead, as its channel writes it",
        )
    channel, shop, number = (*text.split(":", 2), "", "")[:3]
    if number:
        try:
            return order_key(channel, shop, number)
        except BadId as error:
            raise Failure(Exit.USAGE, f"{text!r} is no order: {error}") from error
    return ""


def _events_of(settings: "Settings", key: str, *, limit: int | None = None) -> "Sequence[Recorded]":
    """Return an order's first events: the log knows it a moment before the read models do."""
    from runners.bootstrap import open_log  # noqa: PLC0415

    with suppress(FileNotFoundError), closing(open_log(settings, read_only=True)) as log:
        return log.select(key, limit=limit)
    return ()


def name_of(row: dict[str, Any]) -> str:
    """Return an order's name for people and for the command line."""
    return f"{row['channel']}:{row['shop']}:{row['order_no']}"


def interception_of(settings: "Settings", key: str, text: str) -> str:
    """Return the id of the order's open interception that begins with `text`; `text` itself where that is not clear."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    with closing(open_read_models(settings)) as views:
        order = views.order(key) or {}
    fitting = [
        str(each["interception"])
        for each in order.get("interceptions", ())
        if str(each["interception"]).startswith(text)
    ]
    return fitting[0] if len(fitting) == 1 else text
