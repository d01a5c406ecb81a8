"""Forms: what a JSON object of a channel may hold, read at the speed of typed decoding, without losing the rest.

A form is a Struct of the fields that are read, plus a table of harmless fields with their defaults. A payload that
holds nothing else, each value of its type, is decoded in one go. Any other is taken apart field by field: what is not
in the form is kept as unknown under its path, and what has a wrong type is named.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from adapters.channels.json_fields import decode_object, keep, kind_of, path
from domain.canonical import TranslationError

Text = str | None
Id = int | str | None
"""Exact text in the end; a fraction is refused."""
Money = int | str | float | None
When = int | str | None
Scalar = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str | bool | None

NO_DEFAULT: Final = object()
"""In a table of harmless fields: kept whatever its value."""

S = TypeVar("S", bound=msgspec.Struct)

_ADVICE: Final = "send the platform's answer unchanged"
_SHOWN_MAX: Final = 60
_BLANKS: Final = b" \t\r\n"
_STEP: Final = re.compile(r"[.\[]")


class Filled(NamedTuple, Generic[S]):
    """A payload in its form."""

    value: S
    unknown: dict[str, dict[str, Any]]
    """Fields that are not in the form, by the path of the object they stand in ("" = the whole)."""


class Form(Generic[S]):
    """The form of one kind of object."""

    def __init__(
        self, read: type[S], harmless: Mapping[str, object] | None = None, **nested: "Form[Any] | Listed"
    ) -> None:
        """Make a form.

        Args:
            read: the fields that are read. All have the default None.
            harmless: fields that may be shown to anyone; one at its default says nothing and is left out.
            nested: the forms of the fields that hold objects or lists of them.
        """
        self.nested: dict[str, Form[Any] | Listed] = nested
        self.harmless: dict[str, object] = dict(harmless or {})
        inner = [(name, form.annotation(), None) for name, form in nested.items()]
        plain = [(name, Scalar, None) for name in self.harmless]
        self.struct: type[S] = msgspec.defstruct(  # type: ignore[assignment] # a subclass of `read`, see bases
            read.__name__, [*inner, *plain], bases=(read,), forbid_unknown_fields=True, gc=False, kw_only=True
        )
        self._kinds = {field.encode_name: field.type for field in msgspec.structs.fields(self.struct)}
        self._decoder: msgspec.json.Decoder[S] = msgspec.json.Decoder(self.struct, float_hook=Decimal)
        self._declared = [(name, type(default), default) for name, default in self.harmless.items()]
        if len(self._declared) == 1:
            # attrgetter gives no tuple for one name
            only = next(iter(self.harmless))
            self._values: Callable[[Any], tuple[Any, ...]] | None = lambda value: (getattr(value, only),)
        else:
            self._values = attrgetter(*self.harmless) if self.harmless else None
        self._count = len(self._kinds)

    def annotation(self) -> Any:
        """Return the type of a field that holds this form."""
        return self.struct | None

    def harmless_paths(self, where: str = "") -> frozenset[str]:
        """Return the paths of all harmless fields, each list as `[]`, as a mapping asks for them."""
        own = {path(where, name) for name in self.harmless}
        for name, form in self.nested.items():
            own |= form.harmless_paths(path(where, name))
        return frozenset(own)

    def fill(self, raw: bytes) -> Filled[S]:
        """Read a payload into the form.

        Raises:
            TranslationError: it is no JSON object, or a field has a wrong type.
        """
        try:
            value = self._decoder.decode(raw)
        except (ValueError, ArithmeticError, RecursionError):
            return self._fill_slowly(raw)
        return Filled(value, {})

    def refuse_repeated_names(self, raw: bytes) -> None:
        """Refuse JSON in which an object has two members of one name: decoders keep the last and say nothing.

        This is for the edge: it costs as much as reading. What is not JSON at all passes.

        Raises:
            TranslationError: with the name.
        """
        try:
            value = self._decoder.decode(raw)
        except (ValueError, ArithmeticError, RecursionError):
            _refuse_repeated_names(raw)
            return
        if raw.translate(None, _BLANKS).count(b'":') != self.members(value) or b"\\" in raw:
            _refuse_repeated_names(raw)

    def members(self, value: S) -> int:
        """Count the members of the objects that were read, nulls left out."""
        count = self._count - msgspec.structs.astuple(value).count(None)
        for name, form in self.nested.items():
            inner = getattr(value, name)
            if inner is not None:
                count += form.members(inner)
        return count

    def declared(self, value: S) -> dict[str, Any]:
        """Return the harmless fields that say something."""
        if self._values is None:
            return {}
        found: dict[str, Any] = {}
        values = self._values(value)
        if values.count(None) == len(values):
            return found
        for (name, kind, default), its in zip(self._declared, values, strict=True):
            if its is not None and (type(its) is not kind or its != default):
                found[name] = its
        return found

    def loosen(self, fields: dict[str, Any], where: str, unknown: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Return the fields of the form, as they can be converted; put the others into `unknown`."""
        fitting: dict[str, Any] = {}
        strange: dict[str, Any] = {}
        for name, value in fields.items():
            if name in self.nested:
                fitting[name] = self.nested[name].loosen_any(value, path(where, name), unknown)
            elif name not in self._kinds:
                strange[name] = keep(value, where)
            elif name in self.harmless:
                if isinstance(value, (dict, list, Decimal)) or (type(value) is int and not -(2**63) <= value < 2**63):
                    strange[name] = keep(value, where)
                else:
                    fitting[name] = value
            else:
                fitting[name] = _fitted(value, self._kinds[name])
        if strange:
            unknown[where] = strange
        return fitting

    def loosen_any(self, value: Any, where: str, unknown: dict[str, dict[str, Any]]) -> Any:
        """Loosen a field that should hold an object; `[]` and "" stand for none."""
        if type(value) is dict:
            return self.loosen(value, where, unknown)
        if value is None or value in ("", []):
            return None
        raise TranslationError(f"{kind_of(value)} where an object belongs", where)

    def _fill_slowly(self, raw: bytes) -> Filled[S]:
        fields = decode_object(raw)
        unknown: dict[str, dict[str, Any]] = {}
        fitting = self.loosen(fields, "", unknown)
        if "" in unknown:
            unknown[""] = self._apart(unknown[""])
        try:
            return Filled(msgspec.convert(fitting, self.struct), unknown)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$")
            raise TranslationError(reason, place.rstrip("`").removeprefix("."), _ADVICE) from None

    def _apart(self, unknown: dict[str, Any]) -> dict[str, Any]:
        """Put names in quotes that read like a path into a known field: under it stands what is unknown in there."""
        found: dict[str, Any] = {}
        for name, value in unknown.items():
            first = _STEP.split(name, maxsplit=1)[0]
            told = f'"{name}"' if first != name and first in self._kinds else name
            while told != name and told in unknown:
                told = f'"{told}"'
            found[told] = value
        return found


class Listed:
    """The form of a field that holds a list of objects, plain or in a wrapper of one member as Taobao writes it."""

    def __init__(self, item: Form[Any]) -> None:
        self.item = item

    def annotation(self) -> Any:
        """Return the type of such a field."""
        return list[self.item.struct] | None  # type: ignore[name-defined] # made at run time

    def harmless_paths(self, where: str) -> frozenset[str]:
        """Return the paths of the harmless fields of the elements."""
        return self.item.harmless_paths(f"{where}[]")

    def members(self, items: list[Any]) -> int:
        """Count the members of the objects in the list."""
        count = self.item.members
        return sum(map(count, items))

    def loosen_any(self, value: Any, where: str, unknown: dict[str, dict[str, Any]]) -> Any:
        """Loosen a field that should hold a list; one object alone counts as a list of one (data made from XML)."""
        if value is None or value == "":
            return None
        if type(value) is dict:
            value = [value] if value else []
        if type(value) is not list:
            raise TranslationError(f"{kind_of(value)} where a list belongs", where)
        found = []
        for place, item in enumerate(value):
            if type(item) is not dict:
                raise TranslationError(f"{kind_of(item)} where an object belongs", f"{where}[{place}]")
            found.append(self.item.loosen(item, f"{where}[{place}]", unknown))
        return found


def _fitted(value: Any, kind: Any) -> Any:
    """Bring a value of a field that is read nearer to its type, where nothing is lost by it."""
    if value == []:
        return None
    if type(value) is int and kind == Text:
        return str(value)
    if isinstance(value, Decimal) and kind is not Any:
        return str(value) if kind == Money else float(value)  # a float fits no id, time or text: its place is named
    return value


def _refuse_repeated_names(raw: bytes) -> None:
    def once(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) == len(pairs):
            return
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise TranslationError(f"the field {name[:_SHOWN_MAX]!r} is there twice", advice="send one of them")
            seen.add(name)

    with suppress(UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        json.loads(raw, object_pairs_hook=once, parse_int=str, parse_float=str)
