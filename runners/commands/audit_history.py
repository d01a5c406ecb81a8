"""`audit history`: the life of one actor, in a terminal, as JSON, or as one HTML page."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from runners.commands.audit_travel import VerboseOption, stream_of
from runners.commands.common import (
    DATA_DEFAULT,
    NOT_NEGATIVE,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    check_new,
    console,
    escape,
    print_json,
    say,
    settings_of,
    state_word,
    write_new,
)
from runners.naming import orders_named

if TYPE_CHECKING:
    from rich.tree import Tree

    from runners.life import Life, Node, Turn

_TEXT_MAX = 60
_LONG_MAX = 2_000


def history(
    key: Annotated[
        str, Parameter(name="KEY", help="Full key, channel:shop:number, or an order's number where it is unique.")
    ],
    /,
    *,
    reveal: Annotated[
        bool, Parameter(negative="", help="Open the personal blocks too, as far as their keys are there.")
    ] = False,
    payloads: Annotated[
        bool, Parameter(negative="", help="With --reveal: show what came in, byte for byte, beside what it led to.")
    ] = False,
    last: Annotated[int, Parameter(help="Only the latest so many events; 0 = all.", validator=NOT_NEGATIVE)] = 0,
    html: Annotated[
        Path | None, Parameter(help="Write one HTML page, complete in itself, instead; a new file.")
    ] = None,
    verbose: VerboseOption = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Every event of one order (or warehouse, intake): who, what, when, why, by which rule, and what came of it."""
    from runners.bootstrap import existing_vault, open_log  # noqa: PLC0415
    from runners.life import life  # noqa: PLC0415
    from runners.moments import Counting  # noqa: PLC0415

    if payloads and not reveal:
        raise Failure(Exit.USAGE, "what came in holds personal data: give --reveal with --payloads")
    if html is not None:
        check_new(html)
    settings = settings_of(data)
    stream = stream_of(settings, key)
    with ExitStack() as stack:
        log = Counting(stack.enter_context(closing(open_log(settings, read_only=True))))
        vault = existing_vault(settings) if reveal else None
        if vault is not None:
            stack.callback(vault.close)
        elif reveal:
            say("there are no keys here: personal blocks stay closed")
        lived = life(log, stream, settings.zone, vault=vault, payloads=payloads, last=last)
        read = log.rows
        if json:
            print_json({"stream": stream, "events": lived.entries, "turns": lived.turns, "events_read": read})
    if html is not None:
        _write(html, lived, settings.zone, revealed=reveal and vault is not None)
        say(f"{html}: {lived.events:,} events" + ("; personal data are in it" if reveal and vault is not None else ""))
    elif not json:
        out = console()
        state = f" · {state_word(lived.state)}" if lived.state else ""
        out.print(f"[bold]{escape(orders_named(stream))}[/bold]{state}")
        for turn in lived.turns:
            out.print(_turn(turn, stream))
    if verbose:
        say(f"{read:,} events were read")
    return Exit.OK


def _write(file: Path, lived: "Life", zone: str, *, revealed: bool) -> None:
    from datetime import datetime  # noqa: PLC0415

    from domain.timehub import zone_of  # noqa: PLC0415
    from runners.life_page import page  # noqa: PLC0415

    made_at = datetime.now(zone_of(zone)).isoformat(timespec="seconds")
    write_new(file, page(lived, zone=zone, made_at=made_at, revealed=revealed).encode())


def _turn(turn: "Turn", stream: str) -> "Tree":
    from rich.tree import Tree  # noqa: PLC0415

    by = turn.by
    who = by.kind + (f" {by.id}" if by.id else "") + (f" ({by.role})" if by.role else "")
    seen = f" (seen {turn.observed_at})" if turn.observed_at != turn.at else ""
    rules = f", rules {turn.rules}" if turn.rules else ""
    source = f", source {escape(turn.source_tag)}" if turn.source_tag else ""
    talk = f", conversation {escape(turn.correlation)}" if turn.correlation != turn.message else ""
    made = Tree(
        f"{turn.at}{seen} · {escape(who)}{rules}\n[dim]because of {escape(turn.message)}{talk}{source}[/dim]",
        guide_style="dim",
    )
    for node in turn.caused:
        _hang(made, node, stream)
    return made


def _hang(tree: "Tree", node: "Node", stream: str) -> None:
    own = node.stream == stream
    name = f"[bold]{node.version}[/bold]" if own else escape(f"{orders_named(node.stream)}@{node.version}")
    lines = [f"{name} {escape(node.label)} [dim]{node.tag} · position {node.position}[/dim]"]
    if node.answered:
        lines.append(f"[dim]answers {', '.join(map(str, node.answered))}[/dim]")
    if not own:
        lines.append(f"[dim]{escape(orders_named(_plain(node.facts, 200)))}[/dim]")
    lines += [
        f"{escape(field)}: {escape(_plain(before))} → {escape(_plain(after))}"
        for field, (before, after) in node.changes.items()
    ]
    for rule in node.rules:
        lines.append(f"rule {escape(rule.id)}, version {rule.version}:")
        lines += [f"[dim]  {escape(line)}[/dim]" for line in rule.text.splitlines()]
    if node.digest:
        lines.append(f"[dim]raw bytes {node.digest}[/dim]")
    if node.payload is not None:
        lines += [f"  {escape(line)}" for line in node.payload.splitlines()]
    if node.personal is not None:
        lines.append(f"personal: {escape(_plain(node.personal, _LONG_MAX))}")
    for each in node.answers:
        lines.append(f"[dim]later: {each.version} {escape(each.label)} {each.at}[/dim]")
    hung = tree.add("\n".join(lines))
    for caused in node.caused:
        _hang(hung, caused, stream)


def _plain(value: Any, most: int = _TEXT_MAX) -> str:
    import msgspec  # noqa: PLC0415

    if value is None:
        return "—"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= most else text[: most - 1] + "…"
