"""`quarantine`: what nobody could handle. Nothing in it is lost; it waits for a person to resend or discard it."""

import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from runners.commands.acting import act, command_id_of, mail_of, send
from runners.commands.common import (
    DATA_DEFAULT,
    CommandIdOption,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    not_blank,
    outcome_word,
    print_json,
    printable,
    say,
    settings_of,
    show,
    table,
)
from runners.naming import orders_named

if TYPE_CHECKING:
    from domain.mail import Mail
    from runners.settings import Settings
    from runners.waiting import Item

RAW_SHOWN_MAX = 4_000

app = App(
    name="quarantine",
    help="What nobody could handle: list, show, resend, discard.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine quarantine list\n"
        "  orderspine quarantine show 4f1c\n"
        "  orderspine quarantine resend 4f1c --channel taobao --shop flagship\n"
        "  orderspine quarantine discard 4f1c --reason 'a test file'"
    ),
)

ItemName = Annotated[str, Parameter(name="ITEM", help="Its id from `quarantine list`, or how it begins.")]


@app.command(name="list")
def list_(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """What waits for a decision; works without a running `up`."""
    import msgspec  # noqa: PLC0415

    from runners.waiting import waiting  # noqa: PLC0415

    settings = settings_of(data)
    items = waiting(settings)
    if json:
        print_json([msgspec.to_builtins(item) for item in items])
        return Exit.OK
    made = table("item", "of", "queued behind", "where", "reason", "what to do", right=("queued behind",))
    for item in items:
        made.add_row(
            escape(item.id[:24]),
            escape(orders_named(item.stream)),
            f"{item.queued:,}" if item.queued else "",
            escape(item.where),
            escape(item.reason),
            escape(item.advice),
        )
    show(made)
    say(f"{len(items):,} quarantined" if items else "nothing is quarantined")
    return Exit.OK


@app.command(name="show")
def show_(
    item: ItemName,
    /,
    *,
    raw: Annotated[
        bool, Parameter(negative="", help="Write the bytes themselves to stdout, and nothing else.")
    ] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Why, where, what to do, and the raw bytes (they may hold personal data)."""
    import msgspec  # noqa: PLC0415

    from runners.waiting import raw_of  # noqa: PLC0415

    settings = settings_of(data)
    found = _one(settings, item)
    content = raw_of(settings, found)
    if raw:
        if content is None:
            raise Failure(Exit.REFUSED, f"the bytes of {found.id} are erased: their key was destroyed")
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return Exit.OK
    text = "(erased: its key was destroyed)" if content is None else content.decode("utf-8", "backslashreplace")
    if json:
        print_json({**msgspec.to_builtins(found), "bytes": len(content or b""), "raw": text})
        return Exit.OK
    made = table("", "", title=escape(found.id))
    made.show_header = False
    for title, value in (
        ("of", orders_named(found.stream)),
        ("reason", found.reason),
        ("where", found.where),
        ("what to do", found.advice),
        ("source", found.source_tag),
        ("queued behind it", str(found.queued or "")),
        ("bytes", f"{len(content or b''):,}"),
    ):
        if value:
            made.add_row(title, escape(value))
    show(made)
    sys.stdout.write(
        printable(text[:RAW_SHOWN_MAX]) + ("\n… (--raw writes all of it)\n" if len(text) > RAW_SHOWN_MAX else "\n")
    )
    return Exit.OK


@app.command
def resend(
    item: ItemName,
    /,
    *,
    channel: Annotated[str, Parameter(help="For bytes of no known channel: whose they are.")] = "",
    shop: Annotated[str, Parameter(help="For bytes that name no shop: which one.")] = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Try it again, after its cause was repaired; what is queued behind it follows."""
    from runners.waiting import open_in_order  # noqa: PLC0415

    settings = settings_of(data)
    found = _one(settings, item)
    if not found.of_order:
        mails = [_act_of(found)] if found.message else _mails_of(settings, found, channel, shop)
        return _resend_aside(settings, found, mails, json=json)
    from domain.order import ResendQuarantined  # noqa: PLC0415

    own = command_id_of(command_id)
    mail = mail_of(found.stream, ResendQuarantined(own, found.id), "operations", "quarantine-resend")
    ended = act(settings, mail, f"{found.id} of {orders_named(found.stream)} sent again", json=json, command_id=own)
    again = open_in_order(settings, found.stream)
    if again is not None:
        raise Failure(Exit.REFUSED, f"it was tried and is quarantined again ({again.id}): {again.reason}")
    return ended


@app.command
def discard(
    item: ItemName,
    /,
    *,
    reason: Annotated[str, Parameter(validator=not_blank, help="Why; it is recorded. Name no customer in it.")],
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Give it up (its bytes stay stored); what is queued behind it goes on."""
    from domain.intake import DiscardAside  # noqa: PLC0415
    from domain.order import DiscardQuarantined  # noqa: PLC0415

    settings = settings_of(data)
    found = _one(settings, item)
    body = (
        DiscardQuarantined(command_id_of(command_id), found.id, reason)
        if found.of_order
        else DiscardAside(found.id, reason)
    )
    mail = mail_of(found.stream, body, "operations", "quarantine-discard")
    return act(settings, mail, f"{found.id} discarded", json=json)


def _one(settings: "Settings", text: str) -> "Item":
    from runners.waiting import waiting  # noqa: PLC0415

    fitting = [item for item in waiting(settings) if item.id.startswith(text)]
    exact = [item for item in fitting if item.id == text]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    if fitting:
        raise Failure(Exit.USAGE, f"{len(fitting)} quarantined items begin with {text!r}: give more of the id")
    raise Failure(Exit.REFUSED, f"nothing that begins with {text!r} is quarantined; `orderspine quarantine list`")


def _act_of(found: "Item") -> "Mail":
    """Return the act that an intake kept, as mail to its actor."""
    from domain.mail import decode_body  # noqa: PLC0415

    return mail_of(found.to, decode_body(found.message), "operations", "quarantine-resend")


def _mails_of(settings: "Settings", found: "Item", channel: str, shop: str) -> "list[Mail]":
    """Look at bytes of an intake again, and return the mail that they turn out to be."""
    from domain.ids import parts_of  # noqa: PLC0415
    from domain.mail import AsideReport  # noqa: PLC0415
    from runners.bootstrap import open_spool, open_vault  # noqa: PLC0415
    from runners.commands.mapping import cutting_channels  # noqa: PLC0415
    from runners.cutting import UNKNOWN, Cutter, Source  # noqa: PLC0415
    from runners.waiting import raw_of  # noqa: PLC0415

    content = raw_of(settings, found)
    if content is None:
        raise Failure(Exit.REFUSED, f"the bytes of {found.id} are erased: their key was destroyed; discard it")
    known = cutting_channels(settings)
    was_channel, was_shop = parts_of(found.stream)
    channel = channel or (was_channel if was_channel in known else "")
    if channel and channel not in known:
        raise Failure(Exit.USAGE, f"there is no channel {channel!r}; known are {', '.join(sorted(known))}")
    shop = shop or (was_shop if was_shop != UNKNOWN else "")
    with closing(open_vault(settings)) as vault, closing(open_spool(settings, vault)) as spool:
        cutter = Cutter(known, spool, channel=channel, shop=shop)
        mails = list(cutter.cut(content, Source("resend", found.id[:16], 1), time.time_ns() // 1_000_000))
    stuck = [mail.body for mail in mails if isinstance(mail.body, AsideReport) and mail.body.kind == "quarantined"]
    if stuck:
        raise Failure(Exit.REFUSED, f"{found.id[:24]} stays quarantined: {stuck[0].reason}")
    return mails


def _resend_aside(settings: "Settings", found: "Item", mails: "list[Mail]", *, json: bool) -> Exit:
    """Send what an intake kept; what it becomes is recorded where it goes, and the intake keeps it no longer."""
    from domain.intake import DiscardAside  # noqa: PLC0415

    replies, _ = send(settings, mails)
    done = mail_of(found.stream, DiscardAside(found.id, "sent again"), "operations", "quarantine-resend")
    answers, position = send(settings, [done])
    outcomes: list[dict[str, Any]] = [
        {"to": mail.to, "outcome": reply.outcome, "reason": reply.reason}
        for mail, reply in zip(mails, replies, strict=True)
    ]
    if json:
        print_json({"item": found.id, "sent": outcomes, "closed": answers[0].outcome, "position": position})
    else:
        for each in outcomes:
            why = f" ({escape(each['reason'])})" if each["reason"] else ""
            show(f"{outcome_word(each['outcome'])}: {escape(each['to'])}{why}")
    good = all(each["outcome"] not in ("refused", "quarantined") for each in outcomes)
    return Exit.OK if good and answers[0].outcome == "accepted" else Exit.REFUSED
