"""WeChat's XML: one element of elements, read without entities, document types or anything from outside."""

from typing import Any, Final
from xml.parsers import expat

_DEPTH_MAX: Final = 8
_ELEMENTS_MAX: Final = 2_000


class BadXml(ValueError):
    """It is no XML that WeChat sends."""


def read_xml(raw: bytes) -> dict[str, Any]:
    """Return the elements inside the root: text, or an object of elements; a list where a name comes repeatedly.

    Raises:
        BadXml: it is no well-formed XML, has a document type, entities of its own or attributes, or is too big.
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    for handler in ("StartDoctypeDeclHandler", "EntityDeclHandler", "ExternalEntityRefHandler"):
        setattr(parser, handler, _refuse)
    try:
        parser.Parse(raw, True)
    except (expat.ExpatError, LookupError) as error:
        raise BadXml(f"no well-formed XML: {type(error).__name__}") from None
    return reader.root


class _Reader:
    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self._open: list[tuple[str, dict[str, Any], list[str]]] = []
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if attributes:
            raise BadXml("an element has attributes")
        if len(self._open) >= _DEPTH_MAX or self._count > _ELEMENTS_MAX:
            raise BadXml("too many elements")
        self._open.append((name, {}, []))

    def text(self, text: str) -> None:
        if self._open:
            self._open[-1][2].append(text)

    def end(self, _name: str) -> None:
        name, inside, texts = self._open.pop()
        if not self._open:
            self.root = inside
            return
        around = self._open[-1][1]
        value: Any = inside or "".join(texts)
        if name not in around:
            around[name] = value
        elif isinstance(around[name], list):
            around[name].append(value)
        else:
            around[name] = [around[name], value]


def _refuse(*_: object) -> None:
    raise BadXml("document types and entities are refused")
