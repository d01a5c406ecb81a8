"""`approve`, `comment`, `complain` …: what people do on orders. Who acts is said by --person and --role."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from runners.commands.acting import GOOD, act, command_id_of, order_of, send
from runners.commands.common import (
    DATA_DEFAULT,
    NOT_NEGATIVE,
    CommandIdOption,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    print_json,
    say,
    settings_of,
    show,
)
from runners.commands.fulfil import OrderName

if TYPE_CHECKING:
    from domain.acts import Act
    from domain.envelope import By
    from domain.mail import Body, Mail
    from runners.settings import Settings

PersonOption = Annotated[
    str,
    Parameter(name="--person", env_var="ORDERSPINE_PERSON", help="Who acts: the id that colleagues call you by."),
]
RoleOption = Annotated[
    str,
    Parameter(
        name="--role",
        env_var="ORDERSPINE_ROLE",
        help="As what: sales, warehouse, finance, service, operations, keeper, auditor, engineer, or its Chinese word.",
    ),
]
SEAL_BYTES_MAX = 100
"""Bytes that sealing adds, at most."""
NoteOption = Annotated[str, Parameter(help="A remark; it is sealed with the order's personal data.")]
ChannelOption = Annotated[
    str, Parameter(help="How it came: phone, wechat …; the order's own channel where it is left out.")
]
LinkOption = Annotated[
    tuple[str, ...],
    Parameter(name="--link", help="Id of what it is about: a line, a parcel, an interception; may be given again."),
]
WordsOption = Annotated[str, Parameter(name="--words", help="What the customer said; it is sealed.")]


def approve(
    order: OrderName,
    approval: Annotated[str, Parameter(name="FORM", help="The approval's name (`desk` shows it), or how it begins.")],
    /,
    *,
    field: Annotated[
        tuple[str, ...], Parameter(help="NAME=VALUE: fills a field of the form in; may be given again.")
    ] = (),
    note: NoteOption = "",
    attempt: Annotated[
        int,
        Parameter(
            validator=NOT_NEGATIVE,
            help="Which asking you have seen (`thread` shows it): refused where the order was changed since.",
        ),
    ] = 0,
    person: PersonOption = "",
    role: RoleOption = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Say yes to an approval that an order waits for; what is filled in is sealed."""
    from domain.approvals import Approve  # noqa: PLC0415

    who = person_of(person, role)
    words = {**fields_of(field), "note": note}
    settings = settings_of(data)
    key = order_of(settings, order)
    name = _approval_of(settings, key, approval)
    body = Approve(command_id_of(command_id), **_sealed(settings, key, words), approval=name, attempt=attempt)
    return _act(settings, key, body, who, "approve", f"{name} of {order}", json=json)


def reject(
    order: OrderName,
    approval: Annotated[str, Parameter(name="FORM", help="The approval's name (`desk` shows it), or how it begins.")],
    /,
    *,
    reason: Annotated[str, Parameter(help="Why not; it is sealed with the order's personal data.")],
    person: PersonOption = "",
    role: RoleOption = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Say no: the order stays on hold until it is cancelled, or the approval is asked for once more."""
    from domain.approvals import Reject  # noqa: PLC0415

    who = person_of(person, role)
    settings = settings_of(data)
    key = order_of(settings, order)
    name = _approval_of(settings, key, approval)
    body = Reject(command_id_of(command_id), **_sealed(settings, key, {"reason": reason}), approval=name)
    return _act(settings, key, body, who, "reject", f"no to {name} of {order}", json=json)


def request_approval(
    order: OrderName,
    form: Annotated[
        str, Parameter(name="FORM", help="What must be approved: credit, craft, customs, or a word of yours.")
    ],
    /,
    *,
    of: Annotated[str, Parameter(help="Role that must approve; not needed to ask once more.")] = "",
    field: Annotated[tuple[str, ...], Parameter(help="A field to be filled in; may be given again.")] = (),
    document: Annotated[
        tuple[str, ...], Parameter(help="A kind of document that must be attached; may be given again.")
    ] = (),
    people: Annotated[
        int, Parameter(validator=validators.Number(gte=1, lte=5), help="How many different people must say yes.")
    ] = 1,
    due_hours: Annotated[
        float,
        Parameter(validator=validators.Number(gte=0, lte=24 * 366), help="After so long it goes to --escalate-to."),
    ] = 0,
    escalate_to: Annotated[str, Parameter(help="Role that may decide as well when it is due.")] = "",
    note: NoteOption = "",
    person: PersonOption = "",
    role: RoleOption = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Keep an order from shipping until somebody approves it; the same form again asks once more."""
    from domain.approvals import RequestApproval  # noqa: PLC0415
    from domain.time_units import HOUR_MS  # noqa: PLC0415

    who = person_of(person, role)
    wanted = {
        "form": form,
        "role": role_of(of, "--of") if of else "",
        "fields": field,
        "documents": document,
        "people": people,
        "due_within_ms": round(due_hours * HOUR_MS),
        "escalate_to": role_of(escalate_to, "--escalate-to") if escalate_to else "",
    }
    settings = settings_of(data)
    key = order_of(settings, order)
    body = RequestApproval(command_id_of(command_id), **_sealed(settings, key, {"note": note}), **wanted)  # type: ignore[arg-type]
    return _act(settings, key, body, who, "request-approval", f"{form} asked for {order}", json=json)


def attach(
    order: OrderName,
    file: Annotated[Path, Parameter(name="FILE", help="The document.")],
    /,
    *,
    kind: Annotated[str, Parameter(help="What it is, as forms name it: invoice, customs_declaration, drawing …")],
    person: PersonOption = "",
    role: RoleOption = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Attach a document to an order; its name and its bytes are sealed."""
    from domain.approvals import AttachDocument  # noqa: PLC0415
    from runners.cutting import INLINE_BYTES_MAX, STORED_BYTES_MAX  # noqa: PLC0415

    who = person_of(person, role)
    settings = settings_of(data)
    key = order_of(settings, order)
    raw = file.read_bytes()
    if not raw or len(raw) > STORED_BYTES_MAX - 100:  # what seals it takes some, too
        raise Failure(Exit.USAGE, f"{file.name} has {len(raw):,} bytes; a document has at least one and at most 32 MB")
    sealed, ref = _sealed_document(settings, key, raw, INLINE_BYTES_MAX)
    body = AttachDocument(
        command_id_of(command_id), **_sealed(settings, key, {"name": file.name}), kind=kind, raw=sealed, ref=ref
    )
    return _act(settings, key, body, who, "attach", f"{kind} attached to {order}", json=json)


def detach(
    order: OrderName,
    document: Annotated[str, Parameter(name="DOCUMENT", help="Its id, as `thread` shows it: invoice-1.")],
    /,
    *,
    note: NoteOption = "",
    person: PersonOption = "",
    role: RoleOption = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Take a document off an order; its bytes stay in the record."""
    from domain.approvals import DetachDocument  # noqa: PLC0415

    who = person_of(person, role)
    settings = settings_of(data)
    key = order_of(settings, order)
    body = DetachDocument(command_id_of(command_id), **_sealed(settings, key, {"note": note}), document=document)
    return _act(settings, key, body, who, "detach", f"{document} taken off {order}", json=json)


def comment(
    order: OrderName,
    text: Annotated[
        str, Parameter(name="TEXT", help="What to say; @finance, @财务 or @li.wei calls a role or person.")
    ],
    /,
    *,
    person: PersonOption = "",
    role: RoleOption = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Say something about an order. The text is sealed; whom it calls is told to them, and stands in clear."""
    from domain.talk import Comment, mentions_of  # noqa: PLC0415

    if not text.strip():
        raise Failure(Exit.USAGE, "a comment needs a text")
    who = person_of(person, role)
    called = mentions_of(text)
    settings = settings_of(data)
    key = order_of(settings, order)
    body = Comment(command_id_of(command_id), **_sealed(settings, key, {"text": text}), mentions=called)
    told = f" (calls {', '.join(called)})" if called else ""
    return _act(settings, key, body, who, "comment", f"comment on {order}{told}", json=json, mentions=called)


def mentions(
    *,
    read: Annotated[bool, Parameter(negative="", help="Mark what is shown as read.")] = False,
    person: PersonOption = "",
    role: RoleOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Where you or your role are called and nobody has read it yet; --read (needs a running `up`) marks it read."""
    from runners.commands.desk_page import mentions_page, unread_of  # noqa: PLC0415

    settings = settings_of(data)
    who = person_of(person, role) if read else _asking(person, role)
    rows = unread_of(settings, who)
    outcomes = _mark_as_read(settings, rows, who) if read and rows else []
    if json:
        print_json({"mentions": rows, "read": [reply.outcome for reply in outcomes]})
    else:
        show(mentions_page(rows))
        if not rows:
            say("nothing is unread")
    bad = [reply.reason for reply in outcomes if reply.outcome not in GOOD]
    if bad and not json:
        say(f"not marked as read: {bad[0]}")
    return Exit.REFUSED if bad else Exit.OK


def complain(
    order: OrderName,
    /,
    *,
    cause: Annotated[
        str, Parameter(help="gift_missing, late, wrong_item, missing_item, damaged, quality, price, attitude or other.")
    ],
    gift: Annotated[bool, Parameter(negative="", help="It is about a gift (gift_missing always is).")] = False,
    channel: ChannelOption = "",
    link: LinkOption = (),
    words: WordsOption = "",
    person: PersonOption = "",
    role: RoleOption = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Record that a customer complains of an order; it stays on the desk until it is closed."""
    from domain.care import Complain  # noqa: PLC0415

    who = person_of(person, role)
    settings = settings_of(data)
    key = order_of(settings, order)
    body = Complain(
        command_id_of(command_id),
        **_sealed(settings, key, {"words": words}),
        cause=cause,
        channel=channel or _channel_of(key),
        gift=gift,
        links=link,
    )
    return _act(settings, key, body, who, "complain", f"complaint about {cause} of {order}", json=json)


def close_complaint(
    order: OrderName,
    complaint: Annotated[str, Parameter(name="COMPLAINT", help="Its id, as `desk` shows it: complaint-1.")],
    /,
    *,
    outcome: Annotated[Literal["settled", "unfounded"], Parameter(help="How it ended.")] = "settled",
    note: NoteOption = "",
    person: PersonOption = "",
    role: RoleOption = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Close a complaint."""
    from domain.care import CloseComplaint  # noqa: PLC0415

    who = person_of(person, role)
    settings = settings_of(data)
    key = order_of(settings, order)
    words = _sealed(settings, key, {"note": note})
    body = CloseComplaint(command_id_of(command_id), **words, complaint=complaint, outcome=outcome)
    return _act(settings, key, body, who, "close-complaint", f"{complaint} of {order} closed", json=json)


def enquire(
    order: OrderName,
    topic: Annotated[
        str,
        Parameter(
            name="TOPIC",
            help="logistics, shipping_time, after_sale, refund, invoice, address, gift, product, price or other.",
        ),
    ],
    /,
    *,
    self_service: Annotated[
        bool, Parameter(negative="", help="The customer looked it up by himself: for programs that serve customers.")
    ] = False,
    channel: ChannelOption = "",
    link: LinkOption = (),
    words: WordsOption = "",
    person: PersonOption = "",
    role: RoleOption = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Record that a customer wanted to know something; the same topic within a day counts as a repeat."""
    from domain.care import Enquire  # noqa: PLC0415
    from domain.envelope import By  # noqa: PLC0415

    settings = settings_of(data)
    key = order_of(settings, order)
    came = channel or _channel_of(key)
    who = By("channel", came) if self_service else person_of(person, role)
    sealed = _sealed(settings, key, {"words": words})
    body = Enquire(command_id_of(command_id), **sealed, topic=topic, channel=came, links=link)
    return _act(settings, key, body, who, "enquire", f"enquiry about {topic} of {order}", json=json)


# --- who acts, and what was written


def person_of(person: str, role: str) -> "By":
    """Return who acts.

    Raises:
        Failure: it was not said who, or as what.
    """
    from domain.acts import ROLES  # noqa: PLC0415
    from domain.envelope import By  # noqa: PLC0415

    missing = [
        f"{option} (or {variable})"
        for option, variable, given in (
            ("--person", "ORDERSPINE_PERSON", person),
            ("--role", "ORDERSPINE_ROLE", role),
        )
        if not given.strip()
    ]
    if missing:
        raise Failure(
            Exit.USAGE,
            f"who acts, and as what? Give {' and '.join(missing)}; roles are "
            f"{', '.join(f'{name} {word}' for name, word in ROLES.items())}",
        )
    return By("person", person.strip(), role_of(role, "--role"))


def role_of(text: str, option: str) -> str:
    """Return the role of this name or Chinese word; a word that is none of the usual ones is taken, and remarked on.

    Raises:
        Failure: it is no single word.
    """
    from domain.acts import ROLES, UnknownRole, known_role  # noqa: PLC0415

    wanted = text.strip()
    for name, word in ROLES.items():
        if wanted.lower() == name or wanted == word:
            return name
    usual = ", ".join(f"{name} {word}" for name, word in ROLES.items())
    try:
        known_role(wanted)
    except UnknownRole:
        raise Failure(Exit.USAGE, f"{option} {text[:40]!r} is no role: one word, usually {usual}") from None
    say(f"{wanted} is none of the usual roles ({usual}); it is taken as it is")
    return wanted


def fields_of(pairs: tuple[str, ...]) -> dict[str, str]:
    """Read NAME=VALUE pairs.

    Raises:
        Failure: one of them is none, or a name comes twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        name = name.strip()
        if not sign or not name or not value.strip():
            raise Failure(Exit.USAGE, f"--field {pair[:80]!r}: write NAME=VALUE, for example limit=50000")
        if name in found:
            raise Failure(Exit.USAGE, f"--field {name} is given twice")
        found[name] = value
    return found


def _asking(person: str, role: str) -> "By":
    """Return whose mentions are meant: a person's, a role's, or everybody's where neither is said."""
    from domain.envelope import By  # noqa: PLC0415

    return By("person", person.strip(), role_of(role, "--role") if role.strip() else "")


def data_key_of(settings: "Settings", key: str) -> bytes:
    """Return the key that seals what is written about an order.

    Raises:
        Failure: the order is not known, or its key was destroyed.
    """
    from runners.bootstrap import existing_vault  # noqa: PLC0415

    vault = existing_vault(settings)
    if vault is not None:
        try:
            found = vault.keys([key], create=False).get(key)
        finally:
            vault.close()
        if found is not None:
            return found
    raise Failure(
        Exit.REFUSED,
        f"{key} has no key to seal what is written about it: no channel has sent such an order, or its personal data "
        "were erased",
    )


def _sealed(settings: "Settings", key: str, words: Mapping[str, str]) -> dict[str, Any]:
    """Return what an act carries of what was written."""
    from runners.words import seal_words  # noqa: PLC0415

    if not any(text.strip() for text in words.values()):
        return {}
    told, sealed = seal_words(data_key_of(settings, key), key, words)
    return {"told": told, "sealed": sealed}


def _sealed_document(settings: "Settings", key: str, raw: bytes, inline_max: int) -> tuple[bytes, str]:
    """Return (sealed bytes, "") or (nothing, where they were put aside)."""
    from adapters.storage.sealing import seal  # noqa: PLC0415
    from runners.bootstrap import open_spool, open_vault  # noqa: PLC0415

    sealed = seal(data_key_of(settings, key), key, raw)
    if len(sealed) <= inline_max:
        return sealed, ""
    vault = open_vault(settings)
    try:
        spool = open_spool(settings, vault)
        try:
            return b"", spool.put(sealed)
        finally:
            spool.close()
    finally:
        vault.close()


def _approval_of(settings: "Settings", key: str, text: str) -> str:
    """Return the open approval that begins with `text`; `text` itself where that is not clear."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    views = open_read_models(settings)
    try:
        names = [str(row["item"]) for row in views.desk(key=key, kind="approval")]
    finally:
        views.close()
    fitting = [name for name in names if name.startswith(text)]
    return fitting[0] if len(fitting) == 1 and text not in names else text


def _channel_of(key: str) -> str:
    from domain.ids import parts_of  # noqa: PLC0415

    return parts_of(key)[0]


def _mail(key: str, body: "Body", who: "By", verb: str) -> "Mail":
    from domain.mail import Mail  # noqa: PLC0415

    return Mail(key, body, time.time_ns() // 1_000_000, who, f"cli/{verb}")


def _act(
    settings: "Settings", key: str, body: "Body | Act", who: "By", verb: str, what: str, *, json: bool, **more: Any
) -> Exit:
    own: Any = body
    return act(settings, _mail(key, own, who, verb), what, json=json, command_id=own.command_id, **more)


def _mark_as_read(settings: "Settings", rows: list[dict[str, Any]], who: "By") -> list[Any]:
    """Mark mentions as read, up to the last one that was shown of each order."""
    from domain.talk import ReadMentions  # noqa: PLC0415

    last: dict[str, int] = {}
    for row in rows:
        last[row["key"]] = max(last.get(row["key"], 0), row["message"])
    mails = [_mail(key, ReadMentions(command_id_of(""), upto=upto), who, "mentions") for key, upto in last.items()]
    return send(settings, mails).replies
