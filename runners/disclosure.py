"""Everything that is held of a person as one document: for himself, as JSON, or as HTML that any browser shows."""

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import msgspec

from domain.catalogue import decode_event
from domain.cell import DECIDERS
from domain.decider import fold
from domain.ids import BUYERS_KEY, PRIVACY_KEY, trail_key
from domain.trail import Trail
from runners.history import history
from runners.person import payloads_of

if TYPE_CHECKING:
    from adapters.storage.scan import Scan
    from adapters.storage.vault import DestroyingVault
    from domain.buyers import Buyers
    from runners.person import Person
    from runners.replay import ReplayLog

_PAGE = """<!doctype html><html lang="zh"><meta charset="utf-8"><title>{title}</title>
<style>body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}
pre{white-space:pre-wrap;background:#f4f4f4;padding:.7em}summary{cursor:pointer;font-weight:bold}</style>
<h1>{title}</h1>
"""


def held(log: "ReplayLog", scan: "Scan", vault: "DestroyingVault", person: "Person", zone: str) -> dict[str, Any]:
    """Return everything that is held of a person, opened; `orders` by key, each with its events and raw bytes."""
    raw: dict[str, list[Any]] = {}
    wanted = {*person.orders, *person.asides}
    for stream, found in payloads_of(scan, vault, wanted.__contains__):
        raw.setdefault(stream, []).append(_readable(found))
    orders = {
        key: {
            "events": [
                {"at": each.at, "what": each.label, "facts": each.facts, "personal": each.personal}
                for each in history(log, key, zone, vault=vault)
            ],
            "received_or_attached": raw.get(key, []),
        }
        for key in person.orders
    }
    buyers: Buyers = _state(log, BUYERS_KEY)
    return {
        "orders": orders,
        "agreed": {name: buyers.known[name] for name in person.buyers if name in buyers.known},
        "ordered_of_late": {name: _trail(log, name).recent for name in person.buyers},
        "other_bytes": {name: raw.get(name, []) for name in person.asides},
        "requests": [
            msgspec.json.decode(event.data)
            for event in log.select(PRIVACY_KEY)
            if {*person.orders, *person.buyers, *person.asides} & {*_named(event.data)}
        ],
    }


def as_json(document: Mapping[str, Any]) -> bytes:
    """Return the document as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(document, enc_hook=dict), indent=1) + b"\n"


def as_html(document: Mapping[str, Any], title: str) -> bytes:
    """Return the document as one HTML page without anything from elsewhere."""
    parts = [(f"订单 order {key}", part) for key, part in document["orders"].items()]
    parts += [(name, part) for name, part in document.items() if name != "orders" and part]
    head = _PAGE.replace("{title}", escape(title))
    shown = [
        f"<details open><summary>{escape(name)}</summary><pre>{escape(as_json(part).decode())}</pre></details>\n"
        for name, part in parts
    ]
    return f"{head}{''.join(shown)}</html>\n".encode()


def _readable(raw: bytes) -> Any:
    """Return bytes as JSON, as text, or in base64."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.MsgspecError:
        pass
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(raw).decode()}


class _Named(msgspec.Struct):
    orders: tuple[str, ...] = ()
    buyers: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()


def _named(data: bytes) -> tuple[str, ...]:
    named = msgspec.json.decode(data, type=_Named)
    return (*named.orders, *named.buyers, *named.asides)


def _trail(log: "ReplayLog", buyer: str) -> Trail:
    trail: Trail = _state(log, trail_key(buyer))
    return trail


def _state(log: "ReplayLog", stream: str) -> Any:
    decider = DECIDERS[stream.partition("-")[0]]
    return fold(decider, [decode_event(each.tag, each.data) for each in log.select(stream)])
