"""`channels map`: what a channel's fields become: show it, try it on a payload, put another document in force."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from runners.commands.acting import act, command_id_of, mail_of
from runners.commands.changes import changes_of, show_changes
from runners.commands.common import (
    DATA_DEFAULT,
    CommandIdOption,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    print_json,
    print_text,
    say,
    settings_of,
    show,
    table,
)

if TYPE_CHECKING:
    from domain.mapping import InForce
    from domain.ports import Channel, Sliced
    from runners.mapping_trial import Became, Trial
    from runners.settings import Settings

MARKS = {
    "mapped": "映射 mapped",
    "read": "读取 read",
    "attribute": "属性 attribute",
    "sealed": "密封 sealed",
    "left": "·",
    "unknown": "?",
}
SHOWN_MAX = 60
ORDERS_MAX = 20
"""Most orders of a file that are tried."""


def map_(
    channel: Annotated[str, Parameter(name="CHANNEL", help="Name of the channel, for example taobao.")],
    /,
    *,
    show_: Annotated[
        bool, Parameter(name="--show", negative="", help="Show the document in force; so without any option.")
    ] = False,
    shipped: Annotated[bool, Parameter(negative="", help="Show the document that ships with the channel.")] = False,
    history: Annotated[
        bool, Parameter(negative="", help="Show which documents were in force, since when, why.")
    ] = False,
    try_: Annotated[
        Path | None, Parameter(name="--try", help="A payload: show what each of its fields becomes.")
    ] = None,
    mapping: Annotated[
        Path | None, Parameter(name="--with", help="With --try: a document to be tried beside the one in force.")
    ] = None,
    template: Annotated[
        Path | None,
        Parameter(help="A till's file: print the document in force with the template that the file seems to need."),
    ] = None,
    apply: Annotated[Path | None, Parameter(name="--apply", help="A document: put it in force.")] = None,
    reason: Annotated[str, Parameter(help="With --apply: why; it is recorded.")] = "",
    shop: Annotated[str, Parameter(help="With --try: whose the payload is, where it does not say.")] = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """What a channel's fields become: the document in force (TOML), or one of the options; only --apply needs `up`."""
    settings = settings_of(data, must_exist=apply is not None)
    it = channel_of(settings, channel)
    if sum((show_, shipped, history, try_ is not None, template is not None, apply is not None)) > 1:
        raise Failure(Exit.USAGE, "one of --show, --shipped, --history, --try, --template and --apply at a time")
    if mapping is not None and try_ is None:
        raise Failure(Exit.USAGE, "--with goes with --try; --apply puts a document in force")
    if apply is not None:
        return _apply(settings, it, apply, reason, command_id, json=json)
    if try_ is not None:
        return _try(settings, it, try_, mapping, shop, json=json)
    if template is not None:
        return _draft(settings, it, template, json=json)
    if history:
        from domain.ids import mapping_key  # noqa: PLC0415

        _, changes = changes_of(settings, mapping_key(channel))
        return show_changes(changes, "the document that ships with the channel is in force", json=json)
    return _show(settings, channel, shipped=shipped, json=json)


def channel_of(settings: "Settings", name: str) -> "Channel":
    """Return the channel of a name.

    Raises:
        Failure: there is none.
    """
    from runners.bootstrap import channels  # noqa: PLC0415

    known = channels(settings)
    if name not in known:
        raise Failure(Exit.USAGE, f"there is no channel {name!r}; known are {', '.join(sorted(known))}")
    return known[name]


# --- what is in force


def _text(channel: str, in_force: "InForce") -> str:
    from adapters.channels.mappings import shipped  # noqa: PLC0415

    return in_force.text if in_force.version else shipped(channel)


def _show(settings: "Settings", channel: str, *, shipped: bool, json: bool) -> Exit:
    from domain.mapping import SHIPPED  # noqa: PLC0415
    from runners import templates  # noqa: PLC0415

    in_force = SHIPPED if shipped else templates.in_force(settings, channel)
    text = _text(channel, in_force)
    if json:
        print_json({"channel": channel, "version": in_force.version, "digest": in_force.digest, "text": text})
        return Exit.OK
    say(f"# {channel}: version {in_force.version}" + ("" if in_force.version else " (ships with the channel)"))
    print_text(text if text.endswith("\n") else f"{text}\n")
    return Exit.OK


# --- another document


def _document(channel: "Channel", file: Path) -> tuple[str, tuple[str, ...]]:
    """Return a document that was checked, and which of its sources the channel declares to be nobody's.

    Raises:
        Failure: it cannot be read, or cannot be a mapping.
    """
    from domain.mapping_table import (  # noqa: PLC0415
        AS_THE_PLATFORM,
        PAID_AS_THE_PLATFORM,
        BadMapping,
        read_mapping,
        sources_of,
    )
    from domain.ports import Captures, Declares, KeepsTime  # noqa: PLC0415
    from runners.reading import templated  # noqa: PLC0415

    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise Failure(Exit.USAGE, f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Failure(Exit.REFUSED, f"{file.name}: not UTF-8 at byte {error.start:,}") from error
    try:
        declared = channel.harmless if isinstance(channel, Declares) else frozenset()
        harmless = tuple(path for path in sources_of(text) if path in declared)
        made = read_mapping(text, harmless)
        templated(channel, made, text)
    except BadMapping as error:
        raise Failure(Exit.REFUSED, f"{file.name}: {error}") from error
    if not isinstance(channel, KeepsTime) and {made.times, *made.shops.values()} != {AS_THE_PLATFORM}:
        raise Failure(Exit.REFUSED, f"{file.name}: how {channel.name} writes times cannot be set by a mapping")
    if not isinstance(channel, Captures) and {made.payment, *made.payments.values()} != {PAID_AS_THE_PLATFORM}:
        reason = f"when an order of {channel.name} is paid says the platform; it cannot be set by a mapping"
        raise Failure(Exit.REFUSED, f"{file.name}: {reason}")
    return text, harmless


def _apply(settings: "Settings", channel: "Channel", file: Path, reason: str, command_id: str, *, json: bool) -> Exit:
    from domain.ids import mapping_key  # noqa: PLC0415
    from domain.mapping import ChangeMapping  # noqa: PLC0415

    text, harmless = _document(channel, file)
    if not reason.strip():
        raise Failure(Exit.USAGE, "say why with --reason: it is recorded with the change")
    body = ChangeMapping(command_id_of(command_id), text, reason, harmless)
    mail = mail_of(mapping_key(channel.name), body, "operations", "channels-map")
    done = act(settings, mail, f"mapping of {channel.name} from {file.name}", json=json, channel=channel.name)
    if done is Exit.OK and not json:
        say("orders that come from now on are read by it; what is quarantined, when it is resent")
    return done


# --- templates


def cutting_channels(settings: "Settings") -> "dict[str, Channel]":
    """Return the channels as they cut files now: by the templates of the mappings in force.

    Raises:
        Failure: this build cannot read one of them.
    """
    from domain.mapping_table import BadMapping  # noqa: PLC0415
    from runners.bootstrap import channels  # noqa: PLC0415
    from runners.templates import cutting  # noqa: PLC0415

    known = channels(settings)
    for name, channel in known.items():
        try:
            known[name] = cutting(settings, channel)
        except BadMapping as error:
            reason = f"this build cannot read the mapping of {name} in force: {error}; apply one that it can read"
            raise Failure(Exit.REFUSED, reason) from None
    return known


def _draft(settings: "Settings", channel: "Channel", file: Path, *, json: bool) -> Exit:
    """Print a document to be saved and corrected: the one in force, and the template that a file seems to need."""
    from domain.mapping_table import BadMapping, without_template  # noqa: PLC0415
    from domain.ports import Templated  # noqa: PLC0415
    from domain.till import BadTill  # noqa: PLC0415
    from runners import templates  # noqa: PLC0415
    from runners.reading import table_of, templated  # noqa: PLC0415

    in_force = templates.in_force(settings, channel.name)
    try:
        channel = templated(channel, table_of(channel.name, in_force))
        if not isinstance(channel, Templated):
            raise Failure(Exit.USAGE, f"{channel.name} reads no tables: it has no template")
        draft = channel.template_of(file.read_bytes())
    except OSError as error:
        raise Failure(Exit.USAGE, f"{file} cannot be read: {error.strerror}") from None
    except (BadTill, BadMapping) as error:
        raise Failure(Exit.REFUSED, f"{file.name}: {error}") from None
    text = (
        f"{without_template(_text(channel.name, in_force))}\n# How the till of {file.name} writes its files.\n{draft}"
    )
    if json:
        print_json({"channel": channel.name, "version": in_force.version, "text": text})
    else:
        print_text(text)
    return Exit.OK


# --- trying


def _try(settings: "Settings", channel: "Channel", file: Path, mapping: Path | None, shop: str, *, json: bool) -> Exit:
    import msgspec  # noqa: PLC0415

    from domain.mapping import InForce  # noqa: PLC0415
    from runners import templates  # noqa: PLC0415
    from runners.mapping_trial import try_payload  # noqa: PLC0415
    from runners.reading import table_of, templated  # noqa: PLC0415

    candidate = InForce(-1, "candidate", _document(channel, mapping)[0]) if mapping is not None else None
    in_force = templates.in_force(settings, channel.name)
    # A table is cut by what is tried: before, there may have been no receipts in it to be seen at all.
    pieces, asides = _pieces(templated(channel, table_of(channel.name, candidate or in_force)), file, shop)
    trials = [try_payload(channel, piece, settings.zone, in_force, candidate) for piece in pieces[:ORDERS_MAX]]
    if json:
        orders = [msgspec.to_builtins(trial) for trial in trials]
        print_json({"channel": channel.name, "version": in_force.version, "orders": orders, "aside": asides})
    else:
        for trial in trials:
            _show_trial(trial, in_force.version, candidate=candidate is not None)
        for reason in asides:
            say(f"no order: {reason}")
        if len(pieces) > ORDERS_MAX:
            say(f"{len(pieces) - ORDERS_MAX} more orders are in the file")
    failed = any(trial.then_error if candidate is not None else trial.now_error for trial in trials)
    return Exit.REFUSED if failed or not trials else Exit.OK


def _pieces(channel: "Channel", file: Path, shop: str) -> "tuple[list[Sliced], list[str]]":
    from domain.ports import Sliced  # noqa: PLC0415

    try:
        raw = file.read_bytes()
    except OSError as error:
        raise Failure(Exit.USAGE, f"{file} cannot be read: {error.strerror}") from error
    parts = channel.identify(raw, shop or "shop")
    pieces = [part for part in parts if isinstance(part, Sliced)]
    return pieces, [part.reason for part in parts if not isinstance(part, Sliced)]


def _show_trial(trial: "Trial", version: int, *, candidate: bool) -> None:
    from runners.mapping_trial import changed  # noqa: PLC0415

    columns = ["source", "value", f"now (version {version})", "how"]
    columns += ["with the candidate, where it differs", "how"] if candidate else []
    made = table(*columns, title=escape(f"{trial.shop}:{trial.order_no}"))
    for row in trial.rows:
        cells = [row.source or "(default)", _short(row.value), *_shown(row.now)]
        if candidate:
            cells += _shown(row.then) if row.then is not None and changed(row) else ("", "")
        made.add_row(*map(escape, cells))
    show(made)
    say("· nothing depends on it here: a default, a repetition; (nothing): a default that is not kept by itself")
    shown = {became.mark if not became.target else "" for row in trial.rows for became in (row.now, row.then) if became}
    if "read" in shown:
        say("read, place not told: any other value alone is refused, or what it moves cannot be told apart")
    if "unknown" in shown:
        say("? not looked at: too many fields, or no JSON")
    for what, error in (("as things are", trial.now_error), ("with the candidate", trial.then_error)):
        if error:
            say(f"{what} it would be quarantined: {error}")


def _shown(became: "Became") -> tuple[str, str]:
    target = became.target + (f" (line {became.line})" if became.line else "")
    if not became.target:
        return "(place not told)" if became.mark == "read" else "", MARKS[became.mark]
    value = "(nothing)" if became.value is None else _short(became.value)
    return f"{target} = {value}", MARKS[became.mark]


def _short(value: Any) -> str:
    import msgspec  # noqa: PLC0415

    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"
