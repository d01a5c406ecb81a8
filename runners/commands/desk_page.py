"""`desk`, `thread`, `document`: what waits for people, what was said about orders. They work without a running `up`."""

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from runners.commands.acting import order_of
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
    table,
    write_new,
)
from runners.commands.fulfil import OrderName

if TYPE_CHECKING:
    from rich.console import RenderableType

    from domain.envelope import By
    from runners.settings import Settings

Kind = Literal["approval", "mention", "interception", "complaint"]
KINDS = {
    "approval": "审批 approval",
    "mention": "提醒 mention",
    "interception": "拦截 interception",
    "complaint": "投诉 complaint",
}
ERASED = "(erased)"
"""Stands for what was written where its key was destroyed."""


def desk(
    *,
    role: Annotated[str, Parameter(help="Only what waits for this role.")] = "",
    person: Annotated[str, Parameter(help="Only what waits for this person; with --role, for either.")] = "",
    kind: Annotated[Kind | None, Parameter(help="Only one sort of work.")] = None,
    limit: Annotated[Rows, Parameter(help="Most rows shown, the most urgent first.")] = 50,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """What waits for people: what is due first comes first, then what has waited longest."""
    from domain.acts import person_id  # noqa: PLC0415
    from domain.envelope import By  # noqa: PLC0415
    from runners.bootstrap import open_read_models  # noqa: PLC0415
    from runners.commands.people import role_of  # noqa: PLC0415

    settings = settings_of(data)
    wanted = role_of(role, "--role") if role else None
    who = person_id(By("person", person)) if person else None
    with closing(open_read_models(settings)) as views:
        rows = views.desk(role=wanted, person=who, kind=kind, limit=limit)
    if json:
        print_json(rows)
        return Exit.OK
    made = table("order", "kind", "item", "what", "for", "due", "waits")
    now_ms = time.time_ns() // 1_000_000
    for row in rows:
        state = "" if row["state"] == "open" else f" ({row['state']})"
        made.add_row(
            escape(_name_of(row["key"])),
            KINDS[row["kind"]],
            escape(row["item"]) + state,
            escape(row["what"]),
            escape(row["role"] or row["person"]),
            _span(row["due_ms"] - now_ms) if row["due_ms"] else "",
            _span(now_ms - row["since_ms"]),
        )
    show(made)
    more = " (--limit shows more)" if len(rows) == limit else ""
    say(f"{len(rows):,} {'thing waits' if len(rows) == 1 else 'things wait'}{more}")
    return Exit.OK


def thread(order: OrderName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """What people did and said about one order, with what was written opened for this look only."""
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    settings = settings_of(data)
    key = order_of(settings, order)
    with closing(open_read_models(settings)) as views:
        rows, counts = views.thread(key), views.desked(key)
    read = words_of(settings, key, [row.pop("sealed") for row in rows])
    shown = [{**row, "words": words} for row, words in zip(rows, read, strict=True)]
    if json:
        print_json({"order": key, "counts": counts, "thread": shown})
        return Exit.OK
    show(_thread_page(settings, shown))
    if counts:
        say(f"{counts['messages']:,} message(s), {counts['rounds']:,} round(s) of communication")
    return Exit.OK


def document(
    order: OrderName,
    name: Annotated[str, Parameter(name="DOCUMENT", help="Its id, as `thread` shows it: invoice-1.")],
    /,
    *,
    to: Annotated[Path, Parameter(help="File to write it into; it must not exist.")],
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Write a document that is attached to an order into a file."""
    from adapters.storage.sealing import SealBroken, open_sealed  # noqa: PLC0415
    from runners.bootstrap import open_log, open_read_models  # noqa: PLC0415
    from runners.commands.people import data_key_of  # noqa: PLC0415

    settings = settings_of(data)
    key = order_of(settings, order)
    with closing(open_read_models(settings)) as views:
        facts = [row["facts"] for row in views.thread(key) if row["tag"] == "order.document_attached"]
    found = next((each for each in facts if each["document"] == name), None)
    if found is None:
        known = ", ".join(each["document"] for each in facts) or "none"
        raise Failure(Exit.REFUSED, f"no document {name!r} was ever attached to {key}; known are {known}")
    digest = bytes.fromhex(found["payload"])
    with closing(open_log(settings, read_only=True)) as log:
        payload = log.payloads([digest]).get(digest)
    if payload is None:
        raise Failure(Exit.REFUSED, f"the bytes of {name} are not in the log: `orderspine audit verify` tells more")
    try:
        raw = open_sealed(data_key_of(settings, key), key, payload.sealed)
    except SealBroken as error:
        raise Failure(Exit.REFUSED, f"{error}: `orderspine audit verify` shows what else was changed") from error
    write_new(to, raw)
    if json:
        print_json({"document": name, "kind": found["kind"], "bytes": len(raw), "file": str(to)})
    else:
        show(f"{escape(name)}: {len(raw):,} bytes written to {escape(str(to))}")
    return Exit.OK


def unread_of(settings: "Settings", who: "By") -> list[dict[str, Any]]:
    """Return the unread mentions of a person and a role, each with its message opened; all where neither is named."""
    from domain.acts import person_id  # noqa: PLC0415
    from runners.bootstrap import open_read_models  # noqa: PLC0415

    with closing(open_read_models(settings)) as views:
        found = views.desk(role=who.role or None, person=person_id(who) or None, kind="mention")
        threads = {key: views.thread(key) for key in {row["key"] for row in found}}
    said = {
        (key, row["facts"]["message"]): row
        for key, rows in threads.items()
        for row in rows
        if row["tag"] == "order.commented"
    }
    shown = []
    for row in found:
        number = int(row["item"].partition("/")[0])
        message = said.get((row["key"], number))
        (words,) = words_of(settings, row["key"], [message["sealed"] if message else None])
        shown.append(
            {
                "key": row["key"],
                "message": number,
                "for": row["role"] or row["person"],
                "from": row["what"],
                "since_ms": row["since_ms"],
                "text": words.get("text", ""),
            }
        )
    return shown


def words_of(settings: "Settings", key: str, sealed: list[bytes | None]) -> list[dict[str, str]]:
    """Return what was written, by name, of each of an order's events; `ERASED` where its key is gone.

    Raises:
        Failure: stored bytes were changed.
    """
    from adapters.storage.sealing import SealBroken  # noqa: PLC0415
    from runners.bootstrap import existing_vault  # noqa: PLC0415
    from runners.words import open_words  # noqa: PLC0415

    if not any(sealed):
        return [{} for _ in sealed]
    vault = existing_vault(settings)
    data_key = None
    if vault is not None:
        try:
            data_key = vault.keys([key], create=False).get(key)
        finally:
            vault.close()
    try:
        return [
            {} if not each else {"text": ERASED} if data_key is None else open_words(data_key, key, each)
            for each in sealed
        ]
    except SealBroken as error:
        raise Failure(Exit.REFUSED, f"{error}: `orderspine audit verify` shows what else was changed") from error


def mentions_page(rows: list[dict[str, Any]]) -> "RenderableType":
    """Return unread mentions as a table."""
    made = table("order", "#", "for", "from", "waits", "text", right=("#",))
    now_ms = time.time_ns() // 1_000_000
    for row in rows:
        waits = _span(now_ms - row["since_ms"])
        made.add_row(
            escape(_name_of(row["key"])),
            str(row["message"]),
            escape(row["for"]),
            escape(row["from"]),
            waits,
            escape(row["text"]),
        )
    return made


def _thread_page(settings: "Settings", rows: list[dict[str, Any]]) -> "RenderableType":
    from datetime import datetime  # noqa: PLC0415

    from domain.labels import label_of  # noqa: PLC0415
    from domain.timehub import zone_of  # noqa: PLC0415

    zone = zone_of(settings.zone)
    made = table("when", "who", "role", "what", "round", "written", right=("round",))
    for row in rows:
        at = datetime.fromtimestamp(row["at"] / 1000, zone).isoformat(" ", "seconds")
        facts = row["facts"]
        about = next((facts[name] for name in ("approval", "document", "complaint", "topic") if name in facts), "")
        about += f" #{facts['attempt']}" if "attempt" in facts else ""
        written = [text if name == "text" else f"{name}: {text}" for name, text in row["words"].items()]
        made.add_row(
            at[:19],
            escape(row["who"]),
            escape(row["role"]),
            escape(f"{label_of(row['tag'])} {about}".strip()),
            str(row["round"] or ""),
            escape("; ".join(written)),
        )
    return made


def _name_of(key: str) -> str:
    from domain.ids import parts_of  # noqa: PLC0415

    return ":".join(parts_of(key))


def _span(ms: int) -> str:
    """Return a span in a few letters; one that is over begins with a minus."""
    minutes = abs(ms) // 60_000
    sign = "-" if ms < 0 else ""
    if minutes < 60:  # noqa: PLR2004
        return f"{sign}{minutes} min"
    if minutes < 48 * 60:
        return f"{sign}{minutes // 60} h"
    return f"{sign}{minutes // 1440} d"
