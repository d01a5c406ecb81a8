"""What a simulated warehouse writes and signs: Qimen's signature, answers, confirmations, reports of stock."""

from collections.abc import Iterable, Mapping
from hashlib import md5
from typing import Any, Final
from xml.etree import ElementTree as ET

from adapters.simulators.exchange import Reply

XML: Final = "text/xml;charset=utf-8"


def signature(secret: str, params: Mapping[str, str], body: bytes) -> str:
    """Return Qimen's signature: MD5 over secret, sorted names and values, body, secret; upper-case hex."""
    joined = "".join(f"{name}{params[name]}" for name in sorted(params) if name != "sign")
    return md5((secret + joined).encode() + body + secret.encode(), usedforsecurity=False).hexdigest().upper()


def response(flag: str, code: str, message: str) -> ET.Element:
    """Return an answer."""
    root = ET.Element("response")
    fill(root, {"flag": flag, "code": code, "message": message})
    return root


def reply(root: ET.Element, outcome: str = "ok") -> Reply:
    """Return an answer as it travels."""
    return Reply(written(root), 200, {"content-type": XML}, outcome)


def confirmation(
    head: Mapping[str, str], planned: Mapping[str, int], packed: Mapping[str, int], tracking: str
) -> bytes:
    """Return `deliveryorder.confirm` of one package."""
    root = ET.Element("request")
    fill(ET.SubElement(root, "deliveryOrder"), head)
    package = ET.SubElement(ET.SubElement(root, "packages"), "package")
    fill(package, {"logisticsCode": "SF" if tracking else "", "expressCode": tracking})
    items, lines = ET.SubElement(package, "items"), ET.SubElement(root, "orderLines")
    for number, (sku, units) in enumerate(packed.items(), 1):
        fill(ET.SubElement(items, "item"), {"itemCode": sku, "quantity": units})
        line = {"orderLineNo": number, "itemCode": sku, "planQty": planned.get(sku, 0), "actualQty": units}
        fill(ET.SubElement(lines, "orderLine"), line)
    return written(root)


def changes(items: Iterable[Mapping[str, Any]]) -> bytes:
    """Return `stockchange.report`."""
    root = ET.Element("request")
    inside = ET.SubElement(root, "items")
    for item in items:
        fill(ET.SubElement(inside, "item"), item)
    return written(root)


def fill(element: ET.Element, texts: Mapping[str, Any]) -> None:
    """Give an element elements of these names and texts."""
    for name, value in texts.items():
        ET.SubElement(element, name).text = str(value)


def written(root: ET.Element) -> bytes:
    """Return a document."""
    made: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return made


def text(element: ET.Element, path: str) -> str:
    """Return the text at a path, "" where there is none."""
    return (element.findtext(path) or "").strip()
