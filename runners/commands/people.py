"""`approve`, `comment`, `complain` …: what people do on orders. Who acts is said by --person and --role."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from runners.commands.acting import GOOD, SENDING, OnOrder, Sending, command_id_of, mail_of, send
from runners.commands.common import (
    DATA_DEFAULT,
    NOT_NEGATIVE,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    not_blank,
    print_json,
    say,
    settings_of,
    show,
)
from runners.commands.fulfil import OrderName

if TYPE_CHECKING:
    from domain.envelope import By
    from runners.settings import Settings

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


@Parameter(name="*")
@dataclass(frozen=True)
class Who:
    """The options that say who acts, and as what."""

    person: Annotated[
        str,
        Parameter(name="--person", env_var="ORDERSPINE_PERSON", help="Who acts: the id that colleagues call you by."),
    ] = ""
    role: Annotated[
        str,
        Parameter(
            name="--role",
            env_var="ORDERSPINE_ROLE",
            help="As what: sales, warehouse, finance, service, operations, keeper, auditor, engineer, or its Chinese "
            "word.",
        ),
    ] = ""

    def acts(self) -> "By":
        """Return who acts.

        Raises:
            Failure: it was not said who, or as what.
        """
        from domain.acts import ROLES  # noqa: PLC0415

        told = {"--person (or ORDERSPINE_PERSON)": self.person, "--role (or ORDERSPINE_ROLE)": self.role}
        missing = [option for option, given in told.items() if not given.strip()]
        if missing:
            raise Failure(
                Exit.USAGE,
                f"who acts, and as what? Give {' and '.join(missing)}; roles are "
                f"{', '.join(f'{name} {word}' for name, word in ROLES.items())}",
            )
        return self.asks()

    def asks(self) -> "By":
        """Return whose mentions are meant: a person's, a role's, or everybody's where neither is said."""
        from domain.envelope import By  # noqa: PLC0415

        return By("person", self.person.strip(), role_of(self.role, "--role") if self.role.strip() else "")


WHO = Who()
"""As it is where nothing is said."""


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
    who: Who = WHO,
    sending: Sending = SENDING,
) -> Exit:
    """Say yes to an approval that an order waits for; what is filled in is sealed."""
    from domain.approvals import Approve  # noqa: PLC0415

    by = who.acts()
    words = {**fields_of(field), "note": note}
    on = sending.on(order)
    name = _approval_of(on, approval)
    body = Approve(on.own, **_sealed(on, words), approval=name, attempt=attempt)
    return on.send(body, by, "approve", f"{name} of {order}")


def reject(
    order: OrderName,
    approval: Annotated[str, Parameter(name="FORM", help="The approval's name (`desk` shows it), or how it begins.")],
    /,
    *,
    reason: Annotated[
        str, Parameter(validator=not_blank, help="Why not; it is sealed with the order's personal data.")
    ],
    who: Who = WHO,
    sending: Sending = SENDING,
) -> Exit:
    """Say no: the order stays on hold until it is cancelled, or the approval is asked for once more."""
    from domain.approvals import Reject  # noqa: PLC0415

    by = who.acts()
    on = sending.on(order)
    name = _approval_of(on, approval)
    body = Reject(on.own, **_sealed(on, {"reason": reason}), approval=name)
    return on.send(body, by, "reject", f"no to {name} of {order}")


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
    who: Who = WHO,
    sending: Sending = SENDING,
) -> Exit:
    """Keep an order from shipping until somebody approves it; the same form again asks once more."""
    from domain.approvals import RequestApproval  # noqa: PLC0415
    from domain.time_units import HOUR_MS  # noqa: PLC0415

    by = who.acts()
    wanted = {
        "form": form,
        "role": role_of(of, "--of") if of else "",
        "fields": field,
        "documents": document,
        "people": people,
        "due_within_ms": round(due_hours * HOUR_MS),
        "escalate_to": role_of(escalate_to, "--escalate-to") if escalate_to else "",
    }
    on = sending.on(order)
    body = RequestApproval(on.own, **_sealed(on, {"note": note}), **wanted)  # type: ignore[arg-type]
    return on.send(body, by, "request-approval", f"{form} asked for {order}")


def attach(
    order: OrderName,
    file: Annotated[Path, Parameter(name="FILE", help="The document.")],
    /,
    *,
    kind: Annotated[str, Parameter(help="What it is, as forms name it: invoice, customs_declaration, drawing …")],
    who: Who = WHO,
    sending: Sending = SENDING,
) -> Exit:
    """Attach a document to an order; its name and its bytes are sealed."""
    from domain.approvals import AttachDocument  # noqa: PLC0415
    from runners.cutting import INLINE_BYTES_MAX, STORED_BYTES_MAX  # noqa: PLC0415

    by = who.acts()
    on = sending.on(order)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise Failure(Exit.USAGE, f"{file} cannot be read: {error.strerror}") from error
    if not raw or len(raw) > STORED_BYTES_MAX - 100:  # what seals it takes some, too
        raise Failure(Exit.USAGE, f"{file.name} has {len(raw):,} bytes; a document has at least one and at most 32 MB")
    sealed, ref = _sealed_document(on, raw, INLINE_BYTES_MAX)
    body = AttachDocument(on.own, **_sealed(on, {"name": file.name}), kind=kind, raw=sealed, ref=ref)
    return on.send(body, by, "attach", f"{kind} attached to {order}")


def detach(
    order: OrderName,
    document: Annotated[str, Parameter(name="DOCUMENT", help="Its id, as `thread` shows it: invoice-1.")],
    /,
    *,
    note: NoteOption = "",
    who: Who = WHO,
    sending: Sending = SENDING,
) -> Exit:
    """Take a document off an order; its bytes stay in the record."""
    from domain.approvals import DetachDocument  # noqa: PLC0415

    by = who.acts()
    on = sending.on(order)
    body = DetachDocument(on.own, **_sealed(on, {"note": note}), document=document)
    return on.send(body, by, "detach", f"{document} taken off {order}")


def comment(
    order: OrderName,
    text: Annotated[
        str, Parameter(name="TEXT", help="What to say; @finance, @财务 or @li.wei calls a role or person.")
    ],
    /,
    *,
    who: Who = WHO,
    sending: Sending = SENDING,
) -> Exit:
    """Say something about an order. The text is sealed; whom it calls is told to them, and stands in clear."""
    from domain.talk import Comment, mentions_of  # noqa: PLC0415

    if not text.strip():
        raise Failure(Exit.USAGE, "a comment needs a text")
    by = who.acts()
    called = mentions_of(text)
    on = sending.on(order)
    body = Comment(on.own, **_sealed(on, {"text": text}), mentions=called)
    told = f" (calls {', '.join(called)})" if called else ""
    return on.send(body, by, "comment", f"comment on {order}{told}", mentions=called)


def mentions(
    *,
    read: Annotated[bool, Parameter(negative="", help="Mark what is shown as read.")] = False,
    who: Who = WHO,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Where you or your role are called and nobody has read it yet; --read (needs a running `up`) marks it read."""
    from runners.commands.desk_page import mentions_page, unread_of  # noqa: PLC0415

    settings = settings_of(data)
    by = who.acts() if read else who.asks()
    rows = unread_of(settings, by)
    outcomes = _mark_as_read(settings, rows, by) if read and rows else []
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
    who: Who = WHO,
    sending: Sending = SENDING,
) -> Exit:
    """Record that a customer complains of an order; it stays on the desk until it is closed."""
    from domain.care import Complain  # noqa: PLC0415

    by = who.acts()
    on = sending.on(order)
    body = Complain(
        on.own,
        **_sealed(on, {"words": words}),
        cause=cause,
        channel=channel or _channel_of(on.key),
        gift=gift,
        links=link,
    )
    return on.send(body, by, "complain", f"complaint about {cause} of {order}")


def close_complaint(
    order: OrderName,
    complaint: Annotated[str, Parameter(name="COMPLAINT", help="Its id, as `desk` shows it: complaint-1.")],
    /,
    *,
    outcome: Annotated[Literal["settled", "unfounded"], Parameter(help="How it ended.")] = "settled",
    note: NoteOption = "",
    who: Who = WHO,
    sending: Sending = SENDING,
) -> Exit:
    """Close a complaint."""
    from domain.care import CloseComplaint  # noqa: PLC0415

    by = who.acts()
    on = sending.on(order)
    words = _sealed(on, {"note": note})
    body = CloseComplaint(on.own, **words, complaint=complaint, outcome=outcome)
    return on.send(body, by, "close-complaint", f"{complaint} of {order} closed")


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
    who: Who = WHO,
    sending: Sending = SENDING,
) -> Exit:
    """Record that a customer wanted to know something; the same topic within a day counts as a repeat."""
    from domain.care import Enquire  # noqa: PLC0415
    from domain.envelope import By  # noqa: PLC0415

    on = sending.on(order)
    came = channel or _channel_of(on.key)
    by = By("channel", came) if self_service else who.acts()
    sealed = _sealed(on, {"words": words})
    body = Enquire(on.own, **sealed, topic=topic, channel=came, links=link)
    return on.send(body, by, "enquire", f"enquiry about {topic} of {order}")


# --- roles, and what was written


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


def _sealed(on: OnOrder, words: Mapping[str, str]) -> dict[str, Any]:
    """Return what an act carries of what was written."""
    from runners.words import seal_words  # noqa: PLC0415

    if not any(text.strip() for text in words.values()):
        return {}
    told, sealed = seal_words(data_key_of(on.settings, on.key), on.key, words)
    return {"told": told, "sealed": sealed}


def _sealed_document(on: OnOrder, raw: bytes, inline_max: int) -> tuple[bytes, str]:
    """Return (sealed bytes, "") or (nothing, where they were put aside)."""
    from adapters.storage.sealing import seal  # noqa: PLC0415
    from runners.bootstrap import open_spool, open_vault  # noqa: PLC0415

    sealed = seal(data_key_of(on.settings, on.key), on.key, raw)
    if len(sealed) <= inline_max:
        return sealed, ""
    with closing(open_vault(on.settings)) as vault, closing(open_spool(on.settings, vault)) as spool:
        return b"", spool.put(sealed)


def _approval_of(on: OnOrder, text: str) -> str:
    """Return the open approval that begins with `text`; `text` itself where that is not clear."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    with closing(open_read_models(on.settings)) as views:
        names = [str(row["item"]) for row in views.desk(key=on.key, kind="approval")]
    fitting = [name for name in names if name.startswith(text)]
    return fitting[0] if len(fitting) == 1 and text not in names else text


def _channel_of(key: str) -> str:
    from domain.ids import parts_of  # noqa: PLC0415

    return parts_of(key)[0]


def _mark_as_read(settings: "Settings", rows: list[dict[str, Any]], by: "By") -> list[Any]:
    """Mark mentions as read, up to the last one that was shown of each order."""
    from domain.talk import ReadMentions  # noqa: PLC0415

    last: dict[str, int] = {}
    for row in rows:
        last[row["key"]] = max(last.get(row["key"], 0), row["message"])
    mails = [mail_of(key, ReadMentions(command_id_of(""), upto=upto), by, "mentions") for key, upto in last.items()]
    return send(settings, mails).replies
