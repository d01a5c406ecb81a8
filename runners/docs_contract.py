"""The published contract: `python -m runners.docs_contract` says whether it holds; `--write` takes what was added.

It compares the types of today with every version that was ever released (`runners/released_contract.json`) and writes
that file and docs/asyncapi.yaml. A change that would break who reads by a released version is refused: it needs a new
version, and the old one stays readable (see docs/contract.md).
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from domain.catalogue import TYPES, UPCASTS
from runners import contract_shapes
from runners.contract import RELEASED, Contract, Schema, named, released, tag_of
from runners.contract_changes import breaks
from runners.lock import build_version

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "asyncapi.yaml"
_FORMAT: Final = "application/schema+json;version=2020-12"
NOTHING: Final = Contract({}, {})

_ABOUT: Final = """\
What an OrderSpine cell publishes over NATS.

Events come in the order of the log, without gaps, as CloudEvents 1.0 in binary mode; where to go on after a break is
asked of the stream. Documents in key-value buckets are the latest state, each with the position it shows. Nothing in
either is personal. Times are UTC milliseconds and money is in minor units unless a field says otherwise. Readers ignore
fields and take values of enumerations that they do not know: both may be added. Whatever else changes comes as a new
version, under a new tag.
"""
_MEANINGS: Final[Mapping[str, str]] = {
    "cell": "Name of the cell; `main` unless it was set.",
    "scope": "First part of the stream's key, encoded: the channel of an order, the code of a warehouse.",
    "type": "The event's tag behind its first dot.",
    "key": "The document's key, encoded as one token; `_checkpoint` is the marker of how far the documents go.",
}


def breaches(
    before: Contract,
    now: Contract,
    tags: Mapping[str, Any] = TYPES,
    upcasts: Mapping[str, tuple[str, Any]] = UPCASTS,
) -> list[str]:
    """Return how today's contract breaks the released one, a sentence each; none if it holds.

    Args:
        before: every version that was released.
        now: what the types of today are.
        tags: the events of today.
        upcasts: how old events are read.
    """
    found = []
    for address, names in before.feeds.items():
        if address not in now.feeds:
            found.append(f"feed {address}: it is gone")
        elif gone := sorted(set(names) - set(now.feeds[address])):
            found.append(f"feed {address}: {', '.join(gone)} no longer comes there")
    events = {named(tag)[0] for tag in tags}
    readable = {named(tag) for tag in [*tags, *(tag for tag in upcasts if _end(tag, upcasts) in tags)]}
    for name, versions in before.shapes.items():
        if name not in now.shapes:
            found.append(f"{name}: it is gone; a released name stays, and what replaces it is a new version of it")
            continue
        newest = now.newest(name)
        if newest < before.newest(name):
            found.append(f"{name}: version {before.newest(name)} was released, and now it is {newest}")
        for version, schema in versions.items():
            if name in events and (name, int(version)) not in readable:
                found.append(f"{name} version {version}: events of it can no longer be read; add it to UPCASTS")
            after = now.shapes[name].get(version)
            if after is not None:
                advice = f"; raise it to version {newest + 1} and leave this one as it was"
                found += [f"{name} version {version}: {what}{advice}" for what in breaks(schema, after)]
    return found


def _end(tag: str, upcasts: Mapping[str, tuple[str, Any]]) -> str:
    """Return what an old event is read as in the end; itself where that leads in a circle."""
    seen = set()
    while tag in upcasts and tag not in seen:
        seen.add(tag)
        tag = upcasts[tag][0]
    return tag


def merged(before: Contract, now: Contract) -> Contract:
    """Return the contract to release: today's, and the versions of the past that today has no more."""
    names = sorted({*before.shapes, *now.shapes})
    shapes = {name: {**before.shapes.get(name, {}), **now.shapes.get(name, {})} for name in names}
    ordered = {name: dict(sorted(versions.items(), key=lambda each: int(each[0]))) for name, versions in shapes.items()}
    return Contract(now.feeds, ordered)


def stored(contract: Contract) -> bytes:
    """Return the bytes of the file: a line for each version, so that a change of it can be read."""
    lines = [
        f"  {_json(name)}: {{\n" + ",\n".join(f"   {_json(v)}: {_json(s)}" for v, s in versions.items()) + "\n  }"
        for name, versions in contract.shapes.items()
    ]
    feeds = [f"  {_json(address)}: {_json(names)}" for address, names in contract.feeds.items()]
    text = '{\n "feeds": {\n' + ",\n".join(feeds) + '\n },\n "shapes": {\n' + ",\n".join(lines) + "\n }\n}\n"
    return text.encode()


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def asyncapi(contract: Contract, version: str) -> dict[str, Any]:
    """Return the contract as an AsyncAPI 3.0 document; of each shape the newest version."""
    shapes = {name: contract.shapes[name][str(contract.newest(name))] for name in contract.shapes}
    schemas: dict[str, Schema] = {}
    for name, shape in shapes.items():
        schemas |= _components(name, shape)
    channels, operations = {}, {}
    for address, names in contract.feeds.items():
        own = _id_of(address)
        channels[own] = _channel(address, names, contract)
        channel = f"#/channels/{own}"
        operations[f"send-{own}"] = {
            "action": "send",
            "channel": {"$ref": channel},
            "summary": f"OrderSpine publishes to `{address}`.",
            "messages": [{"$ref": f"{channel}/messages/{name}"} for name in names],
        }
    messages = {name: _message(name, shapes[name], contract) for names in contract.feeds.values() for name in names}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "OrderSpine feeds",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "cell": {
                "host": "127.0.0.1:{port}",
                "protocol": "nats",
                "description": "Its broker: NATS with JetStream; `broker.json` in the data directory says where.",
                "variables": {"port": {"description": "Port of the embedded broker.", "default": "4222"}},
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": dict(sorted(schemas.items()))},
    }


def _channel(address: str, names: list[str], contract: Contract) -> dict[str, Any]:
    parameters: dict[str, dict[str, Any]] = {
        word: {"description": text} for word, text in _MEANINGS.items() if f"{{{word}}}" in address
    }
    if "type" in parameters:
        parameters["type"]["enum"] = [tag_of(name, contract.newest(name)).partition(".")[2] for name in names]
        title = f"Events of `{address.split('.')[2]}` streams, in the stream EVENTS_<cell>"
    elif address.startswith("changes."):
        title = "Documents, as they change; nothing is kept"
    else:
        title = "Documents, the latest of each key"
    return {
        "address": address,
        "title": title,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "parameters": parameters,
    }


def _message(name: str, shape: Schema, contract: Contract) -> dict[str, Any]:
    version = contract.newest(name)
    message: dict[str, Any] = {"name": tag_of(name, version) if "." in name else name}
    if "." in name:
        message["headers"] = {"$ref": "#/components/schemas/event-headers"}
    return {
        **message,
        "title": shape["title"],
        "summary": shape.get("description", ""),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "x-version": version,
    }


def _components(name: str, shape: Schema) -> dict[str, Schema]:
    """Return a shape and its parts as components; a part that several shapes have is named for the shape it is in."""
    plain = msgspec.json.encode({word: value for word, value in shape.items() if not word.startswith("$")})
    parts = {part: msgspec.json.encode(schema) for part, schema in shape.get("$defs", {}).items()}
    made = {name: plain, **{f"{name}.{part}": schema for part, schema in parts.items()}}
    return {
        own: {
            "schemaFormat": _FORMAT,
            "schema": _moved(msgspec.json.decode(schema), f"#/components/schemas/{name}."),
        }
        for own, schema in made.items()
    }


def _moved(schema: Any, lead: str) -> Any:
    if isinstance(schema, list):
        return [_moved(each, lead) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        word: f"{lead}{value.rpartition('/')[2]}/schema"
        if word == "$ref" and isinstance(value, str)
        else _moved(value, lead)
        for word, value in schema.items()
    }


def _id_of(address: str) -> str:
    """Return the name of a channel: the words of its address that say what it is."""
    if address.startswith("$KV."):
        return address.split(".")[1].removeprefix("{cell}_") + "-documents"
    lead, _, kind, *_ = address.split(".")
    return f"{kind}-{lead}"


def page(contract: Contract) -> str:
    """Return the AsyncAPI document, as YAML."""
    head = "# Written by `make docs` from the types; change those, not this file.\n"
    return head + msgspec.yaml.encode(asyncapi(contract, build_version())).decode()


def main(arguments: list[str]) -> int:
    """Check, and with `--write` write; 1 where the contract is broken or the files are not current."""
    before = released() if RELEASED.exists() else NOTHING
    now = contract_shapes.contract()
    found = breaches(before, now)
    if found:
        sys.stderr.write("the published contract would be broken:\n" + "".join(f"- {each}\n" for each in found))
        return 1
    fresh = merged(before, now)
    files = {RELEASED: stored(fresh), PAGE: page(fresh).encode()}
    if arguments == ["--write"]:
        for file, text in files.items():
            file.write_bytes(text)
        return 0
    old = [file.name for file, text in files.items() if not file.exists() or file.read_bytes() != text]
    if old:
        sys.stderr.write(f"not current: {', '.join(old)}; run `make docs` and commit what it writes\n")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
