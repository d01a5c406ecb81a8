"""Work orders for the services that an order's channel sold with it."""

from typing import Any

import msgspec

from domain.canonical import Snapshot
from domain.ids import order_key
from domain.order.events import ServiceOpened
from domain.order.steps import Steps

SERVICE = "service_package"
"""The custom attribute, of an order or a line, that opens a work order."""
_SERVICE_IDS = ("oid", "id", "service_id", "code", "sku", "title", "name")
_SERVICE_NAMES = ("title", "name", "service_name")


def open_services(steps: Steps, snapshot: Snapshot) -> None:
    """Open a work order for each service that has none yet."""
    found = _services(snapshot.attributes[SERVICE], "", snapshot) if SERVICE in snapshot.attributes else []
    for line in snapshot.lines:
        if SERVICE in line.attributes:
            found += _services(line.attributes[SERVICE], line.id, snapshot)
    for identity, service, lines, details in found:
        known = steps.state.services
        if identity not in known:
            key = order_key(snapshot.channel, snapshot.shop, snapshot.order_no)
            steps.add(ServiceOpened(f"{key}/service-{len(known) + 1}", identity, service, lines, details))


def _services(package: Any, line: str, snapshot: Snapshot) -> list[tuple[str, str, tuple[str, ...], Any]]:
    """Return (identity, name, lines, details) of what a `service_package` says was bought."""
    found = []
    for each in package if isinstance(package, list) else [package]:
        if each in (None, "", 0, "0", False, [], {}):
            continue
        fields = each if isinstance(each, dict) else {}
        said = next((str(fields[name]) for name in _SERVICE_IDS if fields.get(name)), "")
        said = said or (str(each) if not isinstance(each, (dict, list)) else _canonical(each).decode())
        name = next((str(fields[name]) for name in _SERVICE_NAMES if fields.get(name)), said)
        named = {str(value) for value in fields.values() if not isinstance(value, (dict, list))}
        every = tuple(one.id for one in snapshot.lines)
        lines = (line,) if line else tuple(one for one in every if one in named) or every
        found.append((f"{line}:{said}"[:_IDENTITY_MAX], name[:_IDENTITY_MAX], lines, each))
    return found


_IDENTITY_MAX = 200
_canonical = msgspec.json.Encoder(order="deterministic").encode
