"""Documents that people edit, TOML or the same as JSON: read into their shape, each fault told with its line."""

import json
import re
import tomllib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
Where = tuple[str | int, ...]
"""Path of a key: names of tables, places in lists (from 0), the key's own name."""
KEY_PARTS_MAX = 32
"""Most parts of a dotted key."""
REASON_MAX = 1_000
"""Longest reason, in characters: it may quote the document, and is stored."""


class BadDocument(ValueError):
    """A document that is not what it should be: what is wrong, and in which line (0 = it cannot be told)."""

    def __init__(self, reason: str, line: int = 0) -> None:
        """Keep both; the text joins them."""
        reason = reason if len(reason) <= REASON_MAX else f"{reason[:REASON_MAX]}…"
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.reason = reason
        self.line = line


class Places:
    """In which line of a text what stands; told by a scan of it, so 0 where it is written unusually."""

    def __init__(self, text: str, document: Any) -> None:
        """Scan a text; `document` is what was read from it."""
        self._text = text.splitlines()
        self._toml = not _is_json(text)
        found = _scan_toml(text) if self._toml else _scan_json(text)
        counted: dict[Where, int] = {}
        for where in found:
            if isinstance(where[-1], int):
                counted[where[:-1]] = max(counted.get(where[:-1], 0), where[-1] + 1)
        strange = {where for where, count in counted.items() if _length(document, where) != count}
        self._lines = {
            where: line
            for where, line in found.items()
            if not any(where[:upto] in strange for upto in range(1, len(where) + 1))
        }

    def exactly(self, *where: str | int) -> int:
        """Return the line of a key; 0 where it is not there or cannot be told."""
        return self._lines.get(where, 0)

    def of(self, *where: str | int) -> int:
        """Return the line of a key, or else of the nearest table around it that is known."""
        while where:
            if where in self._lines:
                return self._lines[where]
            where = where[:-1]
        return 0

    def inside(self, line: int, *where: str | int) -> int:
        """Return where in the document a line (from 1) of a key's text is, which may have several."""
        first = self.exactly(*where)
        if not first or not self._toml:
            return self.of(*where)
        # TOML leaves out a line end that stands right behind the opening quotes.
        opened = self._text[first - 1].rstrip().endswith(('= """', "= '''", '="""', "='''"))
        return first + line - 1 + opened


def read_document(
    text: str, kind: type[T], what: str, advice: Callable[[Where, str], str] = lambda _where, _name: ""
) -> tuple[T, Places]:
    """Read a text into a shape.

    Args:
        text: TOML, or JSON if it begins with a brace.
        kind: the shape.
        what: what the document is called, for people.
        advice: what would be right, by the path of what is wrong, and the name of an unknown or missing key ("" = the
            value is of another type); "" = nothing is known.

    Raises:
        BadDocument: it is neither TOML nor JSON, or has keys or values that the shape has not.
    """
    raw = decoded(text)
    places = Places(text, raw)
    try:
        return msgspec.convert(raw, kind), places
    except msgspec.ValidationError as error:
        raise _unfit(str(error), places, what, advice) from None


def decoded(text: str) -> Any:
    """Read TOML or JSON.

    Raises:
        BadDocument: it is neither.
    """
    if _is_json(text):
        try:
            return json.loads(text, object_pairs_hook=_once)
        except json.JSONDecodeError as error:
            raise BadDocument(f"not JSON: {error.msg}", error.lineno) from None
        except RecursionError:
            raise BadDocument("not JSON: nested too deeply") from None
        except ValueError as error:
            if isinstance(error, BadDocument):
                raise
            raise BadDocument(f"not JSON: {error}") from None
    if (long := _LONG_KEY.search(text)) is not None:  # reading one costs the square of its parts
        line = text.count("\n", 0, long.start()) + 1
        raise BadDocument(f"not TOML as it is read here: a key of more than {KEY_PARTS_MAX} parts", line)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _AT_LINE.search(str(error))
        line = int(match[1]) if match else text.count("\n") + 1
        raise BadDocument(f"not TOML: {_AT_LINE.sub('', str(error)).strip()}", line) from None
    except RecursionError:
        raise BadDocument("not TOML: nested too deeply") from None
    except ValueError as error:  # a number or date that looks like one and is none
        raise BadDocument(f"not TOML: {error}") from None


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        name = next(name for name, _ in pairs if sum(other == name for other, _ in pairs) > 1)
        raise BadDocument(f"the name {name!r} is there twice")
    return members


_LONG_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    rf"{{{KEY_PARTS_MAX}}}"
)


# --- what does not fit

_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_AT_KEY = re.compile(r" - at `\$(.*)`$")
_PART = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_NAMED = re.compile(r"(unknown|required) field `([^`]+)`")


def _unfit(reason: str, places: Places, what: str, advice: Callable[[Where, str], str]) -> BadDocument:
    """Return what a document that has other keys or values than its shape is told."""
    match = _AT_KEY.search(reason)
    where: Where = ()
    if match is not None:
        reason = reason[: match.start()].replace(" | null", "")
        where = tuple(int(number) if number.isdigit() else name for name, number in _PART.findall(match[1]))
    named = _NAMED.search(reason)
    if named is not None:
        strange, name = named[1] == "unknown", named[2]
        reason = f"there is no {name!r} in a {what} here" if strange else f"{name!r} is missing"
        right = advice(where, name)
        where = (*where, name) if strange else where
    else:
        right = advice(where, "")
    line = places.of(*where)
    shown = ".".join(map(str, where)) or "the whole"
    told = f"{reason}: {right}" if right else reason
    return BadDocument(told if line else f"{told} ({shown})", line)


def _length(document: Any, where: Where) -> int:
    for part in where:
        if isinstance(part, int):
            document = document[part] if isinstance(document, list) and part < len(document) else None
        else:
            document = document.get(part) if isinstance(document, dict) else None
    return len(document) if isinstance(document, list) else -1


# --- where things stand

_KEY = re.compile(r"\s*(?:\"([^\"]+)\"|'([^']+)'|([A-Za-z0-9_-]+))\s*=(?!=)")
_LONG = re.compile(r'"""|\'\'\'')
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')
_DEEPEST = 5
"""Longest path that a place is remembered for."""


def header_of(line: str) -> str:
    """Return the name of the table that a line of TOML begins; "" = it begins none."""
    found = _header(line)
    return "" if found is None else found[1].split(".")[0].strip().strip("\"'")


def _header(line: str) -> tuple[str, str] | None:
    """Return the brackets and the name of a line that begins a table. No pattern: blanks would cost their square."""
    line = line.strip()
    brackets = "[[" if line.startswith("[[") else "["
    end = line.find("]")
    name = line[len(brackets) : end].strip()
    rest = line[end:].lstrip("]").lstrip()
    if line[:1] != "[" or end < 0 or not name or "[" in name or rest[:1] not in ("", "#"):
        return None
    return brackets, name


def _scan_toml(text: str) -> dict[Where, int]:
    found: dict[Where, int] = {}
    table: Where | None = ()
    counts: dict[tuple[str, ...], int] = {}
    inside = ""
    for number, line in enumerate(text.splitlines(), 1):
        before = inside
        for mark in _LONG.findall(line):  # texts of several lines
            inside = mark if not inside else ("" if inside == mark else inside)
        if before:
            continue
        if (header := _header(line)) is not None:
            brackets, title = header
            names = tuple(name.strip().strip("\"'") for name in title.split("."))
            if brackets == "[[" and len(names) <= _DEEPEST:
                counts[names] = counts.get(names, 0) + 1
            table = _table(names, counts) if len(names) <= _DEEPEST else None
            if table is not None:
                if isinstance(table[-1], int):
                    found.setdefault(table[:-1], number)  # the list as a whole
                found.setdefault(table, number)
        elif table is not None and (key := _KEY.match(line)) is not None:
            found.setdefault((*table, key[1] or key[2] or key[3]), number)
    return found


def _table(names: tuple[str, ...], counts: dict[tuple[str, ...], int]) -> Where:
    table: Where = ()
    for place, name in enumerate(names, 1):
        count = counts.get(names[:place])
        table = (*table, name) if count is None else (*table, name, count - 1)
    return table


def _scan_json(text: str) -> dict[Where, int]:
    """Scan JSON that was read without an error already."""
    found: dict[Where, int] = {}
    around: list[list[Any]] = []  # each object's or list's kind, and where in it the scan is
    number, counted = 1, 0
    for match in _JSON_TOKEN.finditer(text):
        piece = match[0]
        number, counted = number + text.count("\n", counted, match.start()), match.start()
        if piece in "]}":
            around.pop()
        elif piece == ",":
            around[-1][1] = around[-1][1] + 1 if around[-1][0] == "[" else None
        elif piece != ":":
            if around and around[-1][1] is None:
                around[-1][1] = json.loads(piece)
            if around and len(around) <= _DEEPEST:
                found.setdefault(tuple(key for _, key in around), number)
            if piece in "[{":
                around.append([piece, 0 if piece == "[" else None])
    return found
