"""The template of a till as data: from a mapping to what the reader takes, and from a file to a draft of it."""

import codecs
import re
import textwrap
from collections.abc import Mapping
from typing import Final, get_args

import msgspec

from adapters.channels.pos_columns import NAMES, Layout, Nature, Template, clean
from adapters.channels.pos_table import SEPARATORS, Guess
from domain.money import BadMoney, digits_of
from domain.till import BadTill, Till
from domain.timehub import zone_of

_MEANINGS: Final = [name for name in NAMES if not name.startswith("means:")]
_MEANS: Final = re.compile(r"means:.*\S.*")
_WORDS: Final[Mapping[str, Nature]] = {word: word for word in get_args(Nature)}


def templated(base: Template, till: Till) -> Template:
    """Return a template with what a mapping says of it.

    Raises:
        BadTill: which key means nothing, and what there is instead.
    """
    for name, meaning in till.columns.items():
        if meaning and meaning not in _MEANINGS and not _MEANS.fullmatch(meaning):
            raise BadTill(
                f"there is no meaning {meaning!r} for a column: use {', '.join(_MEANINGS)}, means:NAME for the amount "
                'paid by one means, or "" for a column that is only kept',
                *("columns", name),
            )
    for word, nature in till.words.items():
        if nature not in _WORDS:
            raise BadTill(f"a word cannot say {nature!r}: use {', '.join(_WORDS)}", "words", word)
    said = {name: value for name in _PLAIN if (value := getattr(till, name)) not in (None, "")}
    for name, check in (("zone", zone_of), ("currency", digits_of), ("encoding", _codec), ("separator", _separator)):
        try:
            if name in said:
                check(said[name])
        except (ValueError, BadMoney) as error:
            raise BadTill(str(error), name) from None
    return msgspec.structs.replace(
        base,
        columns={**base.columns, **{clean(name): meaning for name, meaning in till.columns.items()}},
        words={**base.words, **{clean(word): _WORDS[nature] for word, nature in till.words.items()}},
        **said,
    )


_PLAIN: Final = (
    *("receipt_numbers_unique", "sums_checked", "zone", "date_order", "fold", "currency"),
    *("encoding", "separator"),
)


def _codec(name: str) -> None:
    try:
        "".encode(name)  # a codec of texts, not one of other things
    except (LookupError, ValueError):
        raise ValueError(f"there is no encoding {name!r}: say utf-8, gb18030, utf-16, big5, cp1252 …") from None
    codecs.getincrementaldecoder(name)


def _separator(text: str) -> None:
    if len(text) != 1 or text in '"\r\n':
        raise ValueError(f"{text!r} cannot part cells: use one character, such as {' '.join(SEPARATORS[2:])} , or \\t")


def template_text(found: Guess, template: Template) -> str:
    """Return what a file seems to need as a `[template]`, with every column of it."""
    layout = Layout(found.header, template)
    taken = {place: meaning for meaning, place in layout.places.items()}
    columns: dict[str, str] = {}
    for place, text in enumerate(found.header):
        if clean(text):
            columns.setdefault(clean(text), taken.get(place, ""))
    lines = (
        ("receipt_numbers_unique", template.receipt_numbers_unique, "true: they never come again in a store"),
        ("sums_checked", template.sums_checked, "false: take what does not add up, and lines with missing numbers"),
        ("zone", template.zone, "of the till's clock"),
        ("currency", template.currency, ""),
        ("date_order", template.date_order or "dmy", "how 11/12/2026 is meant, or mdy; unsaid, it is refused"),
        (
            "fold",
            template.fold or "earlier",
            "or later: the hour that comes twice when clocks go back; unsaid, refused",
        ),
        ("encoding", found.encoding, "where files do not tell it themselves; this one is so"),
        ("separator", found.separator, "as well"),
    )
    unsaid = {name for name in ("date_order", "fold", "encoding", "separator") if not getattr(template, name)}
    words = [f"{_toml(word)} = {_toml(nature)}" for word, nature in template.words.items()]
    made = [
        "[template]",
        *(
            f"{'# ' if name in unsaid else ''}{name} = {_toml(value)}" + (f"  # {note}" if note else "")
            for name, value, note in lines
        ),
        "",
        '# Column of the file = what it means. "": not known, so it is kept and sealed. Meanings:',
        *(f"# {line}" for line in textwrap.wrap(", ".join([*_MEANINGS, "means:NAME (paid by one means)"]), 110)),
        "[template.columns]",
        *(f"{_toml(name)} = {_toml(meaning)}" for name, meaning in columns.items()),
        "",
        f"# Further words of kind, state and delivery columns = what they say: {', '.join(_WORDS)}.",
        "[template.words]",
        *(words or ['# "冲红" = "void"']),
    ]
    return "\n".join(made) + "\n"


def _toml(value: str | bool) -> str:
    """Write a value as TOML, which writes texts as JSON does but for one character."""
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007F")
