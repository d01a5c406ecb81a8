"""`privacy`: forget a person, give out what is held of one, and keep old keys from coming back."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from runners.audited import checkpoints_of, scan_of
from runners.commands.acting import GOOD, act, command_id_of, mail_of
from runners.commands.common import (
    DATA_DEFAULT,
    CommandIdOption,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    moment,
    print_json,
    print_text,
    say,
    settings_of,
    show,
    table,
    write_new,
)
from runners.commands.people import WHO, Who
from runners.naming import orders_named

if TYPE_CHECKING:
    from domain.privacy import ForgettingAwaited
    from runners.person import Person
    from runners.settings import Settings

app = App(
    name="privacy",
    help="Forget a person, or give out what is held of one. 个人信息：删除与查阅",
    help_epilogue=(
        "Examples:\n"
        "  orderspine privacy forget 13800000000 --by customer --reason 'asked by phone' --dry-run\n"
        "  orderspine privacy forget 13800000000 --by customer --reason 'asked by phone' --when-finished\n"
        "  orderspine privacy disclose taobao:flagship:2231958349 --by customer --reason 'his request' --out his.html\n"
        "  orderspine privacy scrub backups/*.keys --rewrite"
    ),
)

CustomerName = Annotated[
    str,
    Parameter(
        name="CUSTOMER",
        help="An order (key, channel:shop:number or number: all orders of its buyer), channel:customer-id, a phone, or "
        "a full name.",
    ),
]
AskedOption = Annotated[
    Literal["customer", "guardian", "authority", "merchant"],
    Parameter(name="--by", help="Who asked: customer 本人, guardian 监护人, authority 监管部门, merchant 商家."),
]
ReasonOption = Annotated[str, Parameter(help="Why; it is recorded for ever. Name no person in it.")]
RegisterOption = Annotated[Path | None, Parameter(help="The register; the one in the checkpoints if left out.")]
DONE_S = 30.0
"""How long it is waited for the keys to be destroyed."""


@app.command
def forget(
    customer: CustomerName,
    /,
    *,
    by: AskedOption,
    reason: ReasonOption,
    dry_run: Annotated[bool, Parameter(help="Only list what would be forgotten, and what stands against it.")] = False,
    when_finished: Annotated[
        bool,
        Parameter(negative="", help="Where an order is still under way: wait, and do it as soon as all are finished."),
    ] = False,
    who: Who = WHO,
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Forget a person: his keys are destroyed, the proof stays. Nothing brings his data back."""
    from domain.ids import PRIVACY_KEY  # noqa: PLC0415
    from domain.privacy import ForgetPerson  # noqa: PLC0415

    settings = settings_of(data)
    acting = None if dry_run else who.acts()
    person = _found(settings, customer, reason)
    if acting is None:
        return _listed(settings, person, json=json)
    own = command_id_of(command_id)
    body = ForgetPerson(
        own,
        asked=by,
        reason=reason,
        orders=tuple(person.orders),
        buyers=tuple(person.buyers),
        asides=tuple(person.asides),
        when_finished=when_finished,
    )
    mail = mail_of(PRIVACY_KEY, body, acting, "privacy forget")
    what = f"{len(person.orders)} order(s) of one person"
    more: dict[str, Any] = {"orders": person.orders, "buyers": person.buyers, "asides": person.asides}
    ended = act(settings, mail, what, json=json, command_id=own, **more)
    if ended is Exit.OK and when_finished and own in _waiting(settings):
        if not json:
            say(f"it waits until everything of the person is finished (request {own}): `orderspine privacy waiting`")
        return ended
    if ended is Exit.OK and not json:
        done = _wait_for(settings, own)
        say(
            "the keys are destroyed, and that is recorded"
            if done
            else "the keys are not destroyed yet; it is done as soon as it can be: `orderspine privacy list` shows it"
        )
        hours = settings.mail_span_s / 3600
        say(f"the mail keeps what came in for up to {hours:g} h; copies of the keys: `orderspine privacy scrub`")
    return ended


@app.command
def waiting(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """List the requests to forget that wait until everything is finished, and what stands against each."""
    import time  # noqa: PLC0415

    from domain.privacy import why_unfinished  # noqa: PLC0415
    from runners.bootstrap import open_log  # noqa: PLC0415
    from runners.person import states_of  # noqa: PLC0415

    settings = settings_of(data)
    now_ms = time.time_ns() // 1_000_000
    rows: list[dict[str, Any]] = []
    with closing(open_log(settings, read_only=True)) as log:
        for fact, at_ms in _waiting(settings).values():
            why = {key: why_unfinished(state, now_ms) for key, state in states_of(log, list(fact.orders)).items()}
            rows.append(
                {
                    "request": fact.request,
                    "at_ms": at_ms,
                    "asked": fact.asked,
                    "reason": fact.reason,
                    "who": fact.who,
                    "role": fact.role,
                    "orders": list(fact.orders),
                    "against": {key: told for key, told in why.items() if told},
                }
            )
    if json:
        print_json(rows)
        return Exit.OK
    if not rows:
        say("no request waits")
        return Exit.OK
    made = table("request", "since", "asked by", "entered by", "orders", "why", "stands against it", right=("orders",))
    for row in rows:
        against = "; ".join(f"{orders_named(key)}: {told}" for key, told in row["against"].items())
        made.add_row(
            escape(row["request"]),
            moment(row["at_ms"], settings.zone)[:16],
            row["asked"],
            escape(f"{row['who']} ({row['role']})"),
            str(len(row["orders"])),
            escape(row["reason"]),
            escape(against or "what the buyer owes"),
        )
    show(made)
    say("`orderspine privacy withdraw REQUEST` takes one back")
    return Exit.OK


@app.command
def withdraw(
    request: Annotated[str, Parameter(name="REQUEST", help="Id of the request, as `privacy waiting` shows it.")],
    /,
    *,
    reason: ReasonOption,
    who: Who = WHO,
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Take a request to forget back that still waits; that it was asked for stays on record."""
    from domain.ids import PRIVACY_KEY  # noqa: PLC0415
    from domain.privacy import WithdrawForgetting  # noqa: PLC0415

    settings = settings_of(data)
    acting = who.acts()
    own = command_id_of(command_id)
    known = _waiting(settings).get(request)
    if known is not None and known[0].orders:
        _found(settings, known[0].orders[0], reason)  # the reason must not name him
    mail = mail_of(PRIVACY_KEY, WithdrawForgetting(own, request=request, reason=reason), acting, "privacy withdraw")
    return act(settings, mail, f"request {request}", json=json, command_id=own)


@app.command
def disclose(
    customer: CustomerName,
    /,
    *,
    by: AskedOption,
    reason: ReasonOption,
    out: Annotated[
        Path | None,
        Parameter(help="File to write, .json or .html; it must not exist. Left out: JSON to standard output."),
    ] = None,
    who: Who = WHO,
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
) -> Exit:
    """Give out everything that is held of a person; that it was asked for is recorded first, without the data."""
    from domain.ids import PRIVACY_KEY  # noqa: PLC0415
    from domain.privacy import RecordDisclosure  # noqa: PLC0415
    from runners.bootstrap import open_log, open_vault  # noqa: PLC0415
    from runners.commands.acting import send  # noqa: PLC0415
    from runners.disclosure import as_html, as_json, held  # noqa: PLC0415

    settings = settings_of(data)
    acting = who.acts()
    if out is not None and (out.exists() or out.suffix not in (".json", ".html") or not out.parent.is_dir()):
        raise Failure(Exit.USAGE, f"{out}: name a new file ending in .json or .html, in a directory that is there")
    person = _found(settings, customer, reason)
    own = command_id_of(command_id)
    body = RecordDisclosure(
        own,
        asked=by,
        reason=reason,
        orders=tuple(person.orders),
        buyers=tuple(person.buyers),
        asides=tuple(person.asides),
    )
    (reply,) = send(settings, [mail_of(PRIVACY_KEY, body, acting, "privacy disclose")]).replies
    if reply.outcome not in GOOD:
        raise Failure(Exit.REFUSED, reply.reason)
    with (
        closing(open_log(settings, read_only=True)) as log,
        closing(open_vault(settings)) as vault,
        closing(scan_of(settings)()) as scan,
    ):
        document = held(log, scan, vault, person, settings.zone)
    if out is None:
        print_text(as_json(document).decode())
        return Exit.OK
    write_new(out, as_html(document, "个人信息 Personal data") if out.suffix == ".html" else as_json(document))
    say(f"{out}: {len(person.orders)} order(s). It holds personal data in clear: hand it over, then delete it")
    return Exit.OK


@app.command(name="list")
def list_(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """List who was to be forgotten, and what was given out: who asked, when, why, and whether it is done."""
    from domain.catalogue import decode_event  # noqa: PLC0415
    from domain.decider import fold  # noqa: PLC0415
    from domain.envelope import decode_envelope  # noqa: PLC0415
    from domain.ids import PRIVACY_KEY  # noqa: PLC0415
    from domain.privacy import DataDisclosed, ForgettingAsked, ForgettingAwaited, privacy  # noqa: PLC0415
    from runners.bootstrap import open_log  # noqa: PLC0415

    settings = settings_of(data)
    with closing(open_log(settings, read_only=True)) as log:
        events = log.select(PRIVACY_KEY)
    facts = [(decode_event(each.tag, each.data), decode_envelope(each.envelope).at) for each in events]
    state = fold(privacy, [fact for fact, _ in facts])
    rows: list[dict[str, Any]] = [
        {
            "request": fact.request,
            "what": "disclose" if isinstance(fact, DataDisclosed) else "forget",
            "at_ms": at_ms,
            "asked": fact.asked,
            "reason": fact.reason,
            "who": fact.who,
            "role": fact.role,
            "orders": list(fact.orders),
            "done": isinstance(fact, DataDisclosed) or state.requests.get(fact.request, False),
            "stage": _stage(fact, state),
        }
        for fact, at_ms in facts
        if isinstance(fact, ForgettingAsked | DataDisclosed)
        or (isinstance(fact, ForgettingAwaited) and fact.request not in state.requests)
    ]
    if json:
        print_json(rows)
        return Exit.OK
    made = table("when", "what", "asked by", "entered by", "orders", "why", "done", right=("orders",))
    for row in rows:
        cells = (
            moment(row["at_ms"], settings.zone)[:16],
            "删除 forget" if row["what"] == "forget" else "查阅 disclose",
            row["asked"],
            f"{row['who']} ({row['role']})",
            str(len(row["orders"])),
            row["reason"],
            row["stage"],
        )
        made.add_row(*map(escape, cells))
    show(made)
    return Exit.OK


def _stage(fact: Any, state: Any) -> str:
    from domain.privacy import DataDisclosed, ForgettingAwaited  # noqa: PLC0415

    if isinstance(fact, DataDisclosed):
        return "yes"
    if isinstance(fact, ForgettingAwaited):
        return "waits" if fact.request in state.waiting else "withdrawn"
    return "yes" if state.requests[fact.request] else "under way"


def _waiting(settings: "Settings") -> "dict[str, tuple[ForgettingAwaited, int]]":
    """Return the requests that wait, by id: each with when it was entered, UTC ms."""
    from domain.catalogue import decode_event  # noqa: PLC0415
    from domain.decider import fold  # noqa: PLC0415
    from domain.envelope import decode_envelope  # noqa: PLC0415
    from domain.ids import PRIVACY_KEY  # noqa: PLC0415
    from domain.privacy import ForgettingAwaited, privacy  # noqa: PLC0415
    from runners.bootstrap import open_log  # noqa: PLC0415

    with closing(open_log(settings, read_only=True)) as log:
        events = log.select(PRIVACY_KEY)
    facts = [(decode_event(each.tag, each.data), decode_envelope(each.envelope).at) for each in events]
    state = fold(privacy, [fact for fact, _ in facts])
    return {
        fact.request: (fact, at_ms)
        for fact, at_ms in facts
        if isinstance(fact, ForgettingAwaited) and fact.request in state.waiting
    }


@app.command
def repeat(
    *,
    erasures: Annotated[
        Path | None, Parameter(help="The register; the one beside the checkpoints if left out.")
    ] = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Forget again, in a log and keys that were brought back by other means than `restore` (PostgreSQL).

    Needs `up` to be stopped. Records who was forgotten after the backup was made, and destroys their keys.
    """
    from adapters.storage.vault import KeysHeld  # noqa: PLC0415
    from runners import erasures as erasing  # noqa: PLC0415
    from runners.bootstrap import open_log, open_vault  # noqa: PLC0415
    from runners.lock import DataLock  # noqa: PLC0415

    settings = settings_of(data)
    file = erasures or erasing.register_of(checkpoints_of(settings), settings.cell)
    if erasures is not None and not erasures.is_file():
        raise Failure(Exit.USAGE, f"{erasures} is no register of erasures")
    with (
        DataLock(settings.path),
        closing(open_log(settings)) as log,
        closing(open_vault(settings)) as vault,
    ):
        fresh = erasing.repeat_all(log, file, erasing.register_of(checkpoints_of(settings), settings.cell))
        try:
            keys = erasing.destroy_again(log, vault)
            vault.wipe()
        except KeysHeld as error:
            raise Failure(Exit.DATA, f"the keys are destroyed, but {error} (`orderspine privacy repeat`)") from error
    if json:
        print_json({"persons": fresh, "keys": keys, "register": str(file) if file.exists() else None})
    else:
        say(f"{fresh} person(s) of the register were not forgotten here yet; {keys} key(s) were destroyed")
    return Exit.OK


@app.command
def scrub(
    *files: Annotated[Path, Parameter(name="KEYS", help="Files of keys that `orderspine backup` made.")],
    rewrite: Annotated[
        bool, Parameter(help="Destroy the keys of forgotten persons in them; else they are counted.")
    ] = False,
    erasures: Annotated[
        Path | None, Parameter(help="The register; the one beside the checkpoints if left out.")
    ] = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Say which copies of the keys still hold keys of forgotten persons; with --rewrite take these out of them.

    Who is forgotten, the log and the register say.
    """
    from runners import erasures as erasing  # noqa: PLC0415
    from runners.backup import BackupError, NoPlace, scrub_keys  # noqa: PLC0415
    from runners.bootstrap import open_log  # noqa: PLC0415

    settings = settings_of(data)
    if not files:
        raise Failure(Exit.USAGE, "name at least one file of keys that `orderspine backup` made")
    if erasures is not None and not erasures.is_file():
        raise Failure(Exit.USAGE, f"{erasures} is no register of erasures")
    file = erasures or erasing.register_of(checkpoints_of(settings), settings.cell)
    known = erasing.registered(file)
    try:
        with closing(open_log(settings, read_only=True)) as log:
            known += erasing.erasures_in(log)
    except FileNotFoundError:  # the register alone will do
        if not file.exists():
            raise
    asked = [*{each.asked.request: each.asked for each in known}.values()]
    left = 0
    found = {}
    for each in files:
        try:
            found[str(each)] = scrub_keys(each, asked, rewrite=rewrite)
        except NoPlace as error:
            raise Failure(Exit.USAGE, str(error)) from error
        except BackupError as error:
            raise Failure(Exit.REFUSED, str(error)) from error
        left += 0 if rewrite else found[str(each)]
    if json:
        print_json({"keys": found, "rewritten": rewrite})
    else:
        for name, keys in found.items():
            say(f"{name}: {keys} key(s) of forgotten persons" + (" taken out" if rewrite and keys else ""))
    return Exit.REFUSED if left else Exit.OK


def _found(settings: "Settings", customer: str, reason: str) -> "Person":
    from runners.bootstrap import open_log, open_vault  # noqa: PLC0415
    from runners.person import Unclear, find  # noqa: PLC0415

    if not reason.strip():
        raise Failure(Exit.USAGE, "--reason must say why")
    with ExitStack() as stack:
        log = stack.enter_context(closing(open_log(settings, read_only=True)))
        vault = stack.enter_context(closing(open_vault(settings)))
        scan = stack.enter_context(closing(scan_of(settings)()))
        try:
            person = find(log, scan, vault, customer)
        except Unclear as error:
            raise Failure(Exit.REFUSED, str(error)) from error
    if not person.orders and not person.asides:
        raise Failure(Exit.REFUSED, "nothing is held under that any more: the person is forgotten 已删除")
    if any(text in reason for text in person.texts):
        raise Failure(Exit.USAGE, "--reason names the person: it is recorded for ever, so name nobody in it")
    return person


def _listed(settings: "Settings", person: "Person", *, json: bool) -> Exit:
    import time  # noqa: PLC0415

    from domain.privacy import why_unfinished  # noqa: PLC0415
    from runners.bootstrap import open_log  # noqa: PLC0415
    from runners.person import states_of  # noqa: PLC0415

    with closing(open_log(settings, read_only=True)) as log:
        states = states_of(log, person.orders)
    now_ms = time.time_ns() // 1_000_000
    why = {key: why_unfinished(state, now_ms) for key, state in states.items()}
    against = {key: told for key, told in why.items() if told}
    if json:
        print_json({"orders": person.orders, "buyers": person.buyers, "asides": person.asides, "against": against})
        return Exit.REFUSED if against else Exit.OK
    made = table("what", "name", "stands against it")
    for key in person.orders:
        made.add_row("订单 order", escape(orders_named(key)), escape(why.get(key, "")))
    for what, names in (("买家 buyer", person.buyers), ("其他 other bytes", person.asides)):
        for name in names:
            made.add_row(what, escape(name), "")
    show(made)
    return Exit.REFUSED if against else Exit.OK


def _wait_for(settings: "Settings", request: str) -> bool:
    """Wait until the keys of a request are destroyed; False where it takes too long."""
    import time  # noqa: PLC0415

    from domain.catalogue import decode_event  # noqa: PLC0415
    from domain.ids import PRIVACY_KEY  # noqa: PLC0415
    from domain.privacy import PersonForgotten  # noqa: PLC0415
    from runners.bootstrap import open_log  # noqa: PLC0415

    until = time.monotonic() + DONE_S
    with closing(open_log(settings, read_only=True)) as log:
        while time.monotonic() < until:
            for event in log.select(PRIVACY_KEY, desc=True, limit=50):
                fact = decode_event(event.tag, event.data)
                if isinstance(fact, PersonForgotten) and fact.reference == request:
                    return True
            time.sleep(0.1)
    return False
