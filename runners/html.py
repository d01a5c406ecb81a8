"""Small safe HTML: every text is escaped, and only what these functions made counts as markup."""

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_EMPTY = frozenset({"meta", "br"})


class Safe(str):
    """Markup that was made here: it is not escaped again."""

    __slots__ = ()


def text(value: object) -> Safe:
    """Return any text as markup; what could steer a reader's browser or the direction of his text is made visible."""
    shown = "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in str(value))
    return Safe(escape(shown, quote=True))


def tag(name: str, /, *children: "Safe | str | int | Iterable[Safe] | None", **attributes: str | None) -> Safe:
    """Return an element.

    Args:
        name: of the element.
        children: markup as it is, all other text escaped; None = nothing.
        attributes: by name; a trailing underscore is dropped (`class_`), None = it is left out.
    """
    told = "".join(f' {key.rstrip("_")}="{text(value)}"' for key, value in attributes.items() if value is not None)
    if name in _EMPTY:
        return Safe(f"<{name}{told}>")
    return Safe(f"<{name}{told}>{''.join(map(_child, children))}</{name}>")


def _child(child: "Safe | str | int | Iterable[Safe] | None") -> str:
    if child is None:
        return ""
    if isinstance(child, Safe):
        return child
    if isinstance(child, str | int):
        return text(child)
    return "".join(map(_child, child))
