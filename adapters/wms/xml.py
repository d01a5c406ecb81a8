"""Qimen's XML bodies: written plainly, read without document types, entities or anything from outside.

Bodies are UTF-8 whatever their declaration says; one in another encoding is no XML then, and is refused.
"""

from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Iterable

Element = ET.Element

BYTES_MAX: Final = 8 << 20
DEPTH_MAX: Final = 16
ELEMENTS_MAX: Final = 100_000


class BadXml(ValueError):
    """It is no XML as warehouses send it: what is wrong with it, never what it says."""


def read(raw: bytes) -> Element:
    """Return the root.

    Raises:
        BadXml: it is not well-formed, not UTF-8, has a document type or entities of its own, or is too big.
    """
    if len(raw) > BYTES_MAX:
        raise BadXml(f"larger than {BYTES_MAX >> 20} MB")
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise BadXml(f"not UTF-8 at byte {error.start:,}") from None
    reader = _Reader()
    # The encoding is given, so that none that the document names is looked for.
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    for handler in ("StartDoctypeDeclHandler", "EntityDeclHandler", "ExternalEntityRefHandler"):
        setattr(parser, handler, _refuse)
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        raise BadXml(f"not well-formed: line {error.lineno}, column {error.offset}") from None
    return reader.root()


def write(root: Element) -> bytes:
    """Return the document."""
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True, short_empty_elements=False)
    return written


def node(tag: str, *inside: Element | None, **texts: object) -> Element:
    """Return an element with these texts in elements of their names, then `inside`; None and "" are left out."""
    made = Element(tag)
    for name, value in texts.items():
        if value is not None and value != "":
            ET.SubElement(made, name).text = _allowed(str(value))
    made.extend(each for each in inside if each is not None)
    return made


def listed(tag: str, inside: "Iterable[Element]") -> Element:
    """Return an element of elements."""
    made = Element(tag)
    made.extend(inside)
    return made


def text(element: Element | None, path: str) -> str:
    """Return the text at a path below an element, without blanks around it; "" where there is none."""
    return (element.findtext(path) or "").strip() if element is not None else ""


def _allowed(value: str) -> str:
    """Return a text without the control characters that no XML may hold."""
    return "".join(each if each >= " " or each in "\t\n\r" else " " for each in value if not _forbidden(each))


def _forbidden(each: str) -> bool:
    return "\ud800" <= each <= "\udfff" or each in "\ufffe\uffff"


class _Reader:
    def __init__(self) -> None:
        self._builder = ET.TreeBuilder()
        self._depth = self._count = 0

    def root(self) -> Element:
        return self._builder.close()

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._count += 1
        if self._depth > DEPTH_MAX or self._count > ELEMENTS_MAX:
            raise BadXml("too many elements, or too deep")
        self._builder.start(name, attributes)

    def text(self, text: str) -> None:
        self._builder.data(text)

    def end(self, name: str) -> None:
        self._depth -= 1
        self._builder.end(name)


def _refuse(*_: object) -> None:
    raise BadXml("document types and entities are refused")
