"""`audit what-if`: recorded history run again with other rules; nothing is changed by it."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from runners.commands.audit_travel import ClockOption, VerboseOption, opened, window_of
from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    Rows,
    escape,
    print_json,
    say,
    settings_of,
    show,
    state_word,
    table,
)
from runners.naming import orders_named

if TYPE_CHECKING:
    from runners.what_if import Told, WhatIf

_TEXT_MAX = 120


def what_if(
    *,
    rules: Annotated[
        Path | None,
        Parameter(help="A rule book, TOML or JSON. Without: as recorded, which must lead to what was recorded."),
    ] = None,
    from_: Annotated[
        str, Parameter(name="--from", help="A time (a date: its beginning), or a position as `@1200`.")
    ] = "@0",
    to: Annotated[str, Parameter(help="A time (a date: its end), or a position; the end of the log if left out.")] = "",
    limit: Annotated[Rows, Parameter(help="Most orders shown; --json shows all.")] = 50,
    clock: ClockOption = "at",
    verbose: VerboseOption = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Which orders would have gone another way with other rules, and what the key figures would have been (如果).

    The recorded mail is run through the real cell, in memory, as things stood at --from. What the outside would have
    answered to what it never was asked is said to be unknown. Nothing is written.
    """
    import msgspec  # noqa: PLC0415

    from domain.rule_table import BadRules  # noqa: PLC0415
    from runners.bootstrap import channels, existing_vault  # noqa: PLC0415
    from runners.preparing import Preparer  # noqa: PLC0415
    from runners.what_if import what_if as run_again  # noqa: PLC0415

    settings = settings_of(data)
    text = None if rules is None else _text(rules)
    with ExitStack() as stack:
        log, _ = stack.enter_context(opened(settings))
        after, upto = window_of(log, settings, from_, to, clock)
        vault = existing_vault(settings)
        preparer = None
        if vault is None:
            say("there are no keys here: rules see nothing wrong with any address")
        else:
            stack.callback(vault.close)
            preparer = Preparer(channels(settings), vault.digest_key(), zone=settings.zone)
        try:
            found = run_again(log, text, after, upto, vault=vault, preparer=preparer)
        except BadRules as error:
            raise Failure(Exit.REFUSED, f"{rules.name if rules else 'the rules in force'}: {error}") from error
        read = log.rows
    if json:
        print_json({**msgspec.to_builtins(found), "events_read": read})
    else:
        _show(found, limit)
        if verbose:
            say(f"{read:,} events were read; {found.rebuilt:,} messages run again, {found.taken:,} taken as recorded")
    return Exit.REFUSED if rules is None and found.otherwise else Exit.OK


def _text(file: Path) -> str:
    """Return a rule book that was checked.

    Raises:
        Failure: it cannot be read, or cannot be a rule book.
    """
    from domain.rule_table import BadRules, read_rules  # noqa: PLC0415

    try:
        text = file.read_bytes().decode("utf-8-sig")
        read_rules(text)
    except OSError as error:
        raise Failure(Exit.USAGE, f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Failure(Exit.REFUSED, f"{file.name}: not UTF-8 at byte {error.start:,}; save it as UTF-8") from error
    except BadRules as error:
        raise Failure(Exit.REFUSED, f"{file.name}: {error}") from error
    return text


def _show(found: "WhatIf", limit: int) -> None:
    made = table("order", "position", "recorded", "instead", "rules", "state → instead")
    for each in found.otherwise[:limit]:
        states = f"{state_word(each.state)} → {state_word(each.state_instead)}"
        if each.unknown:
            states += f", then unknown 未知: {each.unknown}"
        made.add_row(
            escape(orders_named(each.key)),
            str(each.position),
            escape(orders_named(_told(each.recorded))),
            escape(orders_named(_told(each.instead))),
            escape(", ".join(each.rules) or "—"),
            escape(states),
        )
    figures = table("figure", "recorded", "instead", right=("recorded", "instead"))
    one, two = (found.figures[side] for side in ("recorded", "instead"))
    for name in one.__struct_fields__:
        was, now = getattr(one, name), getattr(two, name)
        if isinstance(was, dict):
            for part in sorted({*was, *now}):
                figures.add_row(escape(f"{name}: {part}"), str(was.get(part, 0)), str(now.get(part, 0)))
        else:
            figures.add_row(name, _figure(was), _figure(now))
    show(*([made] if found.otherwise else []), figures)
    if len(found.otherwise) > limit:
        say(f"{len(found.otherwise) - limit:,} more orders (--limit, --json)")
    if found.guessed:
        say(f"{found.guessed:,} views cannot be opened any more: rules saw nothing wrong with their addresses")
    say(
        f"{found.messages:,} messages: {len(found.otherwise):,} order(s) would have gone another way; "
        f"of {found.unknown:,} of them it cannot be known how it would have ended"
    )


def _told(told: "Told | None") -> str:
    import msgspec  # noqa: PLC0415

    if told is None:
        return "—"
    text = f"{told.label} {msgspec.json.encode(told.facts).decode()}"
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"


def _figure(value: float | None) -> str:
    return "—" if value is None else f"{value:,}"
