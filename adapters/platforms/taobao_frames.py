"""Frames of Taobao's message socket: a small binary form, little endian, as public clients of it speak.

u8 protocol, u8 kind, then headers until u16 0:
  u16 1  a named value: name, u8 form, value     u16 2  status code, u32     u16 3  status phrase, text
  u16 4  flag, u32                               u16 5  token, text
text is u32 length and UTF-8.
"""

import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

PROTOCOL: Final = 2
CONNECT: Final = 0
CONNECTED: Final = 1
SEND: Final = 2
ANSWER: Final = 3

_END, _NAMED, _STATUS, _PHRASE, _FLAG, _TOKEN = range(6)
_VOID, _TEXT, _U8, _U16, _U32, _U64, _DATE, _BYTES = range(8)
_FORMS: Final = {_U8: "<B", _U16: "<H", _U32: "<I", _U64: "<Q", _DATE: "<Q"}

Value = str | int | bytes | None


class BadFrame(ValueError):
    """Bytes that are no frame."""


class TmcFrame(NamedTuple):
    """A frame."""

    kind: int
    values: Mapping[str, Value] = {}
    """The named values; whole numbers and dates (ms) are numbers."""
    token: str = ""
    flag: int | None = None
    status: int = 0
    phrase: str = ""


def write(frame: TmcFrame) -> bytes:
    """Return the bytes of a frame. Numbers travel as u8 where they fit, else as u64."""
    out = bytearray((PROTOCOL, frame.kind))
    if frame.status:
        out += struct.pack("<HI", _STATUS, frame.status)
    if frame.phrase:
        out += struct.pack("<H", _PHRASE) + _text(frame.phrase)
    if frame.flag is not None:
        out += struct.pack("<HI", _FLAG, frame.flag)
    if frame.token:
        out += struct.pack("<H", _TOKEN) + _text(frame.token)
    for name, value in frame.values.items():
        out += struct.pack("<H", _NAMED) + _text(name) + _value(value)
    return bytes(out + struct.pack("<H", _END))


def read(raw: bytes) -> TmcFrame:
    """Read a frame.

    Raises:
        BadFrame: the bytes are none, or of another protocol.
    """
    try:
        return _Reader(raw).frame()
    except (struct.error, UnicodeDecodeError) as error:
        raise BadFrame(f"not a frame of the message socket: {error}") from None


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<I", len(raw)) + raw


def _value(value: Value) -> bytes:
    if value is None:
        return bytes((_VOID,))
    if isinstance(value, str):
        return bytes((_TEXT,)) + _text(value)
    if isinstance(value, bytes):
        return bytes((_BYTES,)) + struct.pack("<I", len(value)) + value
    return struct.pack("<BB", _U8, value) if 0 <= value < 1 << 8 else struct.pack("<BQ", _U64, value)


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def frame(self) -> TmcFrame:
        protocol, kind = self._number("<B"), self._number("<B")
        if protocol != PROTOCOL:
            raise BadFrame(f"a frame of protocol {protocol}; {PROTOCOL} is known")
        frame = TmcFrame(kind)
        values: dict[str, Value] = {}
        while (header := self._number("<H")) != _END:
            if header == _NAMED:
                name = self._text()
                values[name] = self._value()
            elif header == _STATUS:
                frame = frame._replace(status=self._number("<I"))
            elif header == _PHRASE:
                frame = frame._replace(phrase=self._text())
            elif header == _FLAG:
                frame = frame._replace(flag=self._number("<I"))
            elif header == _TOKEN:
                frame = frame._replace(token=self._text())
            else:
                # Its length cannot be known, so neither can what follows.
                raise BadFrame(f"a frame with header {header}, which is not known")
        return frame._replace(values=values)

    def _value(self) -> Value:
        form = self._number("<B")
        if form == _VOID:
            return None
        if form in _FORMS:
            return self._number(_FORMS[form])
        if form == _BYTES:
            return self._bytes()
        if form == _TEXT:
            return self._text()
        raise BadFrame(f"a value of form {form}, which is not known")

    def _number(self, form: str) -> int:
        (number,) = struct.unpack_from(form, self._raw, self._at)
        self._at += struct.calcsize(form)
        return int(number)

    def _text(self) -> str:
        return self._bytes().decode()

    def _bytes(self) -> bytes:
        length = self._number("<I")
        if self._at + length > len(self._raw):
            raise BadFrame("a frame that ends in the middle")
        found = self._raw[self._at : self._at + length]
        self._at += length
        return found
