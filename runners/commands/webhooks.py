"""`webhooks`: subscribers without NATS, who are told over HTTP what happens."""

import contextlib
import time
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter, validators

from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    Rows,
    escape,
    moment,
    print_json,
    settings_of,
    show,
    table,
)
from runners.commands.entries import removed
from runners.naming import orders_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapters.storage.vault import DestroyingVault
    from runners.settings import Settings
    from runners.webhooks_store import Delivery, Subscriber, Webhooks

app = App(
    name="webhooks",
    help="Subscribers who are told over HTTP what happens 事件订阅. A running `up` notices changes within a second.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine webhooks add erp https://erp.example/orders --types order.paid,order.shipped\n"
        "  orderspine webhooks test erp\n"
        "  orderspine webhooks deliveries erp --dead\n"
        "  orderspine webhooks replay erp --from 1200"
    ),
)

WebhookName = Annotated[str, Parameter(name="NAME", help="Name of the subscriber.")]
DAY_S = 86_400


@app.command
def add(
    name: WebhookName,
    url: Annotated[str, Parameter(name="URL", help="Where events are posted: http or https.")],
    /,
    *,
    types: Annotated[str, Parameter(help="Only these events, with commas: order.paid, or order.* for all.")] = "",
    kinds: Annotated[str, Parameter(help="Only streams of these kinds: order, warehouse, intake …")] = "",
    channels: Annotated[str, Parameter(help="Only orders of these channels: taobao, jd …")] = "",
    start: Annotated[
        int | None,
        Parameter(
            name="--from",
            help="Position of the first event; 1 is all there ever was. Left out: what comes from now on.",
            validator=validators.Number(gte=1),
        ),
    ] = None,
    give_up_days: Annotated[
        float,
        Parameter(
            help="How long a delivery is tried again before it is a dead letter.",
            validator=validators.Number(gt=0, lte=365),
        ),
    ] = 3.0,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Subscribe somebody, and show the secret that deliveries are signed with."""
    from adapters.notify.delivery import NotAllowed, check_url  # noqa: PLC0415
    from adapters.platforms.connection import is_name  # noqa: PLC0415
    from runners.commands.mapping import channel_of  # noqa: PLC0415
    from runners.webhooks_secrets import end_secrets, key_of, new_secret, shown  # noqa: PLC0415
    from runners.webhooks_store import Subscriber, Wants, unknown_types  # noqa: PLC0415

    settings = settings_of(data)
    if not is_name(name):
        raise Failure(Exit.USAGE, f"{name[:80]!r}: a name has letters, digits, - and _ (at most 64)")
    try:
        check_url(url, private=settings.webhooks_private)
    except NotAllowed as error:
        raise Failure(Exit.USAGE, str(error)) from error
    wants = Wants(_listed(types), _listed(kinds), _listed(channels))
    if strange := unknown_types(wants.types):
        raise Failure(Exit.USAGE, f"there is no event {strange[0][:80]!r}: `orderspine schemas` lists them")
    if strange := sorted(set(wants.kinds) - (known := _kinds())):
        raise Failure(Exit.USAGE, f"there is no kind {strange[0][:80]!r}; there are: {', '.join(sorted(known))}")
    for each in wants.channels:
        channel_of(settings, each)
    generation, head = _log_of(settings)
    if start is not None and start > head + 1:
        raise Failure(Exit.REFUSED, f"the log ends at {head}: what comes next is event {head + 1}")
    with _open(settings) as store, _vault(settings) as vault:
        secret = new_secret(vault)
        position = head if start is None else start - 1
        give_up_ms = round(give_up_days * DAY_S * 1000)
        made = Subscriber(
            name, url, wants, "active", "", generation, position, secret, "", 0, give_up_ms, time.time_ns() // 1_000_000
        )
        if not store.add(made):
            end_secrets(vault, secret)
            raise Failure(Exit.REFUSED, f"there is a subscriber {name} already: remove it first, or take another name")
        text = shown(key_of(vault, secret) or b"")
    if json:
        print_json({"name": name, "url": url, "from": position + 1, "secret": text})
    else:
        show(f"{escape(name)} is told from event {position + 1} on. Its secret, for {escape(url)}:", text)
    return Exit.OK


@app.command(name="list")
def list_(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """List the subscribers, how far each has come, and what waits; works without a running `up`."""
    settings = settings_of(data)
    _, head = _log_of(settings)
    with _open(settings) as store:
        rows = [_told(store, each, head) for each in store.subscribers()]
    if json:
        print_json(rows)
        return Exit.OK
    made = table("name", "state", "behind", "waiting", "dead", "last", "goes to", right=("behind", "waiting", "dead"))
    for row in rows:
        last = row["last"]
        said = "" if last is None else str(last["status"] or "no answer")
        made.add_row(
            escape(row["name"]), row["state"], str(row["behind"]), str(row["waiting"]), str(row["dead"]), said,
            escape(row["url"]),
        )  # fmt: skip
    show(made)
    return Exit.OK


@app.command(name="show")
def show_(
    name: WebhookName,
    /,
    *,
    secret: Annotated[bool, Parameter(negative="", help="Show the secret, too.")] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Show one subscriber; works without a running `up`."""
    settings = settings_of(data)
    _, head = _log_of(settings)
    with _open(settings) as store:
        each = _named(store, name)
        told = _told(store, each, head)
    if secret:
        from runners.webhooks_secrets import key_of, shown  # noqa: PLC0415

        with _vault(settings) as vault:
            key = key_of(vault, each.secret)
        told["secret"] = shown(key) if key else "gone: `webhooks rotate-secret` makes a new one"
    if json:
        print_json(told)
        return Exit.OK
    made = table("", "")
    for word, value in told.items():
        text = ", ".join(value) if isinstance(value, (list, tuple)) else "" if value is None else str(value)
        made.add_row(word, escape(text))
    show(made)
    return Exit.OK


@app.command
def remove(name: WebhookName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Forget a subscriber, its secret, and all that waits for it."""
    from runners.webhooks_secrets import end_secrets  # noqa: PLC0415

    settings = settings_of(data)
    with _open(settings) as store, _vault(settings) as vault:
        each = _named(store, name)
        store.remove(name)
        end_secrets(vault, each.secret, each.old_secret)
    return removed(name, json=json)


@app.command
def pause(name: WebhookName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Send a subscriber nothing more until `resume`; nothing is lost."""
    with _open(settings_of(data)) as store:
        _named(store, name)
        store.pause(name, "by hand")
    return _said(name, "paused", json=json)


@app.command
def resume(name: WebhookName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Go on where a subscriber was left; what waits is tried at once."""
    settings = settings_of(data)
    generation, head = _log_of(settings)
    with _open(settings) as store:
        _named(store, name)
        store.resume(name, generation, head)
    return _said(name, "active", json=json)


@app.command(name="rotate-secret")
def rotate_secret(
    name: WebhookName,
    /,
    *,
    overlap_hours: Annotated[
        float,
        Parameter(
            help="How long deliveries carry the old signature, too.", validator=validators.Number(gte=0, lte=720)
        ),
    ] = 24.0,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Make a new secret and show it; both sign for a while, so that the other side can change over."""
    from runners.webhooks_secrets import end_secrets, key_of, new_secret, shown  # noqa: PLC0415

    settings = settings_of(data)
    with _open(settings) as store, _vault(settings) as vault:
        each = _named(store, name)
        fresh = new_secret(vault)
        store.rotate(name, fresh, time.time_ns() // 1_000_000 + round(overlap_hours * 3_600_000))
        end_secrets(vault, each.old_secret)  # of two rotations in a row, the first one's
        text = shown(key_of(vault, fresh) or b"")
    if json:
        print_json({"name": name, "secret": text, "old_signs_for_hours": overlap_hours})
    else:
        show(f"the new secret of {escape(name)}; the old one signs too for {overlap_hours:g} hours:", text)
    return Exit.OK


@app.command(name="test")
def try_(name: WebhookName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Send a subscriber a signed delivery of the type `orderspine.test`, once, and say what it answered."""
    import asyncio  # noqa: PLC0415

    settings = settings_of(data)
    with _open(settings) as store, _vault(settings) as vault:
        each = _named(store, name)
        status, ms, reason = asyncio.run(_try(settings, each, vault))
    good = 200 <= status < 300  # noqa: PLR2004  HTTP
    if json:
        print_json({"name": name, "status": status, "ms": ms, "reason": reason})
    else:
        show(f"{escape(name)}: {'arrived' if good else 'not taken'}, {reason or f'answered {status}'} ({ms} ms)")
    return Exit.OK if good else Exit.REFUSED


@app.command
def deliveries(
    name: WebhookName,
    /,
    *,
    dead: Annotated[bool, Parameter(negative="", help="The dead letters, in the order of the log.")] = False,
    waiting: Annotated[bool, Parameter(negative="", help="What waits, in the order of the log.")] = False,
    limit: Rows = 50,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Show the latest tries, what waits, or the dead letters; works without a running `up`."""
    if dead and waiting:
        raise Failure(Exit.USAGE, "--dead and --waiting are two lists: ask for one")
    settings = settings_of(data)
    with _open(settings) as store:
        each = _named(store, name)
        if not dead and not waiting:
            tries = store.tries(name, limit)
            if json:
                print_json([one._asdict() for one in tries])
                return Exit.OK
            made = table("when", "delivery", "event", "try", "status", "ms", "reason", right=("try", "status", "ms"))
            for one in tries:
                made.add_row(
                    moment(one.at_ms, settings.zone), escape(one.delivery), escape(one.tag), str(one.number),
                    str(one.status or "-"), str(one.ms), escape(one.reason),
                )  # fmt: skip
            show(made)
            return Exit.OK
        found = store.deliveries(name, limit, dead=dead)
    if json:
        print_json([{"delivery": f"{each.generation}:{left.position}", **left._asdict()} for left in found])
        return Exit.OK
    made = table("delivery", "event", "of", "tries", "next", "reason", right=("tries",))
    for left in found:
        due = "" if dead else moment(left.due_ms, settings.zone) if left.due_ms else "now"
        made.add_row(
            escape(f"{each.generation}:{left.position}"), escape(left.tag), escape(orders_named(left.stream)),
            str(left.tries), due, escape(left.reason),
        )  # fmt: skip
    show(made)
    return Exit.OK


@app.command
def replay(
    name: WebhookName,
    /,
    *,
    start: Annotated[
        int | None,
        Parameter(
            name="--from", help="Send everything again from this position on.", validator=validators.Number(gte=1)
        ),
    ] = None,
    delivery: Annotated[str, Parameter(help="Send the event of this delivery id again.")] = "",
    dead: Annotated[bool, Parameter(negative="", help="Send all dead letters again, in their order.")] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Send again: each with the id it had, so that the other side can tell what it knows already."""
    if sum((start is not None, bool(delivery), dead)) != 1:
        raise Failure(Exit.USAGE, "say what is to be sent again: --from POSITION, --delivery ID, or --dead")
    settings = settings_of(data)
    generation, head = _log_of(settings)
    with _open(settings) as store:
        each = _named(store, name)
        if start is not None:
            if start > head:
                raise Failure(Exit.REFUSED, f"the log ends at {head}: there is no event {start}")
            store.rewind(name, generation, start - 1)
            count = head - start + 1
            if each.why and each.generation != generation:
                store.resume(name, generation, head)
        elif dead:
            count = store.revive(name)
        else:
            store.again(name, _delivery_of(settings, each, delivery, generation))
            count = 1
    if json:
        print_json({"name": name, "again": count})
    else:
        show(f"{escape(name)}: {count} event{'' if count == 1 else 's'} of the log will be looked at or sent again")
    return Exit.OK


@app.command
def discard(
    name: WebhookName,
    /,
    *,
    delivery: Annotated[
        str, Parameter(help="Only the dead letter of this delivery id; what waited behind it goes on.")
    ] = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Drop dead letters. The events stay in the log: `replay` can send them all the same."""
    with _open(settings_of(data)) as store:
        each = _named(store, name)
        count = store.discard(name, _position(each, delivery, each.generation) if delivery else None)
    if not count and delivery:
        raise Failure(Exit.REFUSED, f"{name} has no dead letter {delivery[:80]}")
    if json:
        print_json({"name": name, "discarded": count})
    else:
        show(f"{escape(name)}: {count} dead letters dropped")
    return Exit.OK


@contextlib.contextmanager
def _open(settings: "Settings") -> "Iterator[Webhooks]":
    from runners.webhooks_store import Webhooks  # noqa: PLC0415

    with contextlib.closing(Webhooks(settings.path)) as store:
        yield store


@contextlib.contextmanager
def _vault(settings: "Settings") -> "Iterator[DestroyingVault]":
    from runners.bootstrap import open_vault  # noqa: PLC0415

    with contextlib.closing(open_vault(settings)) as vault:
        yield vault


def _log_of(settings: "Settings") -> tuple[str, int]:
    """Return generation and end of the log.

    Raises:
        Failure: there is none yet.
    """
    from runners.bootstrap import open_log  # noqa: PLC0415

    try:
        with contextlib.closing(open_log(settings, read_only=True)) as log:
            tracked = log.tracked()
    except FileNotFoundError as error:
        raise Failure(Exit.DATA, "there is no log yet: start `orderspine up` once") from error
    return tracked.generation, tracked.head


def _named(store: "Webhooks", name: str) -> "Subscriber":
    from runners.commands.entries import named  # noqa: PLC0415

    return named(store.subscribers(), name, "subscriber")


def _told(store: "Webhooks", each: "Subscriber", head: int) -> dict[str, Any]:
    figures = store.figures(each.name)
    return {
        "name": each.name,
        "url": each.url,
        "state": each.state,
        "why": each.why,
        "types": each.wants.types,
        "kinds": each.wants.kinds,
        "channels": each.wants.channels,
        "position": each.position,
        "behind": max(0, head - each.position),
        "waiting": figures.waiting,
        "dead": figures.dead,
        "give_up_days": each.give_up_ms / DAY_S / 1000,
        "last": None if figures.last is None else figures.last._asdict(),
    }


async def _try(settings: "Settings", each: "Subscriber", vault: "DestroyingVault") -> tuple[int, int, str]:
    import secrets  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from adapters.notify.delivery import Deliverer, Failed, NotAllowed  # noqa: PLC0415
    from runners.webhooks_secrets import key_of  # noqa: PLC0415

    key = key_of(vault, each.secret)
    if key is None:
        raise Failure(Exit.REFUSED, f"the secret of {each.name} is gone: `webhooks rotate-secret` makes a new one")
    identity = f"test:{secrets.token_hex(8)}"
    source = f"/orderspine/{settings.cell}/webhooks"
    body = msgspec.json.encode(
        {"specversion": "1.0", "id": identity, "source": source, "type": "orderspine.test", "data": {}}
    )
    try:
        deliverer = Deliverer(each.url, private=settings.webhooks_private, at_once=1)
        try:
            answered = await deliverer.post(identity, int(time.time()), body, [key])
        finally:
            await deliverer.close()
    except (NotAllowed, Failed) as error:
        return 0, 0, str(error)
    return answered.status, answered.ms, ""


def _delivery_of(settings: "Settings", each: "Subscriber", delivery: str, generation: str) -> "Delivery":
    from runners.bootstrap import open_log  # noqa: PLC0415
    from runners.webhooks_store import Delivery  # noqa: PLC0415

    position = _position(each, delivery, generation)
    with contextlib.closing(open_log(settings, read_only=True)) as log:
        found = log.read(position - 1, 1)
    if not found:
        raise Failure(Exit.REFUSED, f"the log has no event {position}")
    if position > each.position:  # sent now, it would come before those that it follows
        raise Failure(Exit.REFUSED, f"{each.name} has not come to event {position} yet: it is sent in its turn")
    return Delivery(each.name, position, found[0].stream, found[0].tag, 0)


def _position(each: "Subscriber", delivery: str, generation: str) -> int:
    """Return the position that a delivery id names.

    Raises:
        Failure: it is none, or of another life of the log.
    """
    life, _, digits = delivery.rpartition(":")
    if not digits.isascii() or not digits.isdigit() or not 1 <= len(digits) <= 18 or int(digits) < 1:  # noqa: PLR2004
        raise Failure(Exit.USAGE, f"{delivery[:80]!r} is no delivery id: `webhooks deliveries {each.name}` shows them")
    if life != generation:
        raise Failure(Exit.REFUSED, f"{delivery[:80]} is of another life of the log than today's {generation}")
    return int(digits)


def _kinds() -> set[str]:
    """Return the kinds of streams whose events are published."""
    from runners.contract import released  # noqa: PLC0415

    return {address.split(".")[2] for address in released().feeds if address.startswith("events.")}


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _said(name: str, state: str, *, json: bool) -> Exit:
    if json:
        print_json({"name": name, "state": state})
    else:
        show(f"{escape(name)} is {state}")
    return Exit.OK
