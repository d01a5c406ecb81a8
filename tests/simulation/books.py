"""Small rule books, put together from clauses, and what clauses mean, told once more without the rules' engine."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from domain.canonical import Line

MINUTE_MS = 60_000
KIT = "SET"
PARTS = (("DRILL", 1), ("BIT", 2))
GLOVES, BAG = "GLOVES", "BAG"
KEPT = 2
"""Units of DRILL that all but one channel leave on each shelf."""
FORMS = {"craft": 1, "credit": 2}
"""Form → how many people must agree."""

_WAREHOUSES = {code: f'[[warehouse]]\ncode = "{code}"\n' for code in "ABC"}
CLAUSES = {
    "gloves": f'[[promotion]]\nid = "gloves"\nover = 4\ngift = {{ sku = "{GLOVES}", units = 1 }}\n',
    "bag": f'[[promotion]]\nid = "bag"\nwhen = "units >= 3"\nover = 3\n'
    f'gift = {{ sku = "{BAG}", units = 1, warehouse = "B" }}\n',
    "bits": '[[promotion]]\nid = "bits"\nbuy = \'sku == "BIT"\'\nevery = 2\ngift = { units = 1 }\n',
    "kit": f'[[kit]]\nid = "kit"\nsku = "{KIT}"\nparts = {{ DRILL = 1, BIT = 2 }}\n',
    "engraving": '[[route]]\nid = "engraving"\nlines = "attr(\\"engraving\\") == True"\nwarehouses = ["C"]\n'
    'area = "craft"\nprocessing = true\n',
    "rush": '[[route]]\nid = "rush"\nwhen = \'attr("service") == "rush"\'\nwarehouses = ["A", "B"]\n'
    'priority = "urgent"\nsplit = "never"\n',
    "units": '[[route]]\nid = "units"\nwarehouses = ["B", "A"]\nsplit = "units"\n',
    "promise": '[[promise]]\nid = "promise"\nship_within = "3h"\n',
    "craft": '[[approve]]\nid = "craft"\nwhen = "any_line(attr(\\"engraving\\") == True)"\nform = "craft"\n'
    'role = "workshop"\nfields = ["text_checked"]\n',
    "credit": '[[approve]]\nid = "credit"\nwhen = \'attr("terms") == "credit"\'\nform = "credit"\nrole = "finance"\n'
    'people = 2\ndue_within = "1h"\nescalate_to = "head"\n',
    "many": '[[intercept]]\nid = "many"\nwhen = "units > 7"\nreason = "large_quantity"\nevidence = "{units} units"\n'
    'advice = "ask whether it is meant"\nrole = "service"\n',
    "owing": '[[intercept]]\nid = "owing"\nwhen = \'attr("terms") == "credit" and customer("credit_left") < CNY(0)\'\n'
    'reason = "over_credit"\nevidence = "{payable}"\nadvice = "have the buyer pay"\nrole = "finance"\n',
    "again": '[[duplicate]]\nid = "again"\nwhen = \'channel == "generic"\'\nwithin = "30m"\n',
    "keep": f'[[protect]]\nid = "keep"\nwhen = \'channel != "douyin"\'\nskus = ["DRILL"]\nkeep = {KEPT}\n',
    "lots": '[[lots]]\nid = "lots"\nwhen = \'attr("country") == "DE"\'\n',
    "shrug": '[[act]]\nid = "shrug"\neffect = "wms_create"\nthen = "give_up"\n',
}
"""Clause → its text. They are written in this order, for routes the first that fits counts."""


_NEEDS = {"bag": {"B"}, "engraving": {"C"}, "rush": {"A", "B"}, "units": {"A", "B"}}
"""Clause → warehouses that it names."""


class Clauses(NamedTuple):
    """What a book says."""

    warehouses: tuple[str, ...] = ("A",)
    names: frozenset[str] = frozenset()


NONE = Clauses()


def written(chance: Random) -> str:
    """Return a book with some of the clauses; now and then none at all."""
    if chance.random() < 0.1:
        return ""
    codes = chance.choice(("ABC", "ABC", "BAC", "CBA", "BA", "A"))
    likely = chance.choice((0.4, 0.8))
    names = [name for name in CLAUSES if chance.random() < likely and _NEEDS.get(name, set()) <= set(codes)]
    text = "".join(_WAREHOUSES[code] for code in codes) + "".join(CLAUSES[name] for name in names)
    return f'format = 1\nnote = "{"+".join(codes)} {"+".join(names)}"\n{text}'


def refused(chance: Random) -> str:
    """Return a book that nobody can read."""
    return f'format = 1\nnote = "{chance.randrange(1000)}"\n[[route]]\nwarehouses = ["A"]\n'


def read(text: str) -> Clauses:
    """Return what a book says, by its note."""
    if not text:
        return NONE
    codes, _, names = text.splitlines()[1].partition('"')[2].rstrip('"').partition(" ")
    return Clauses(tuple(codes.split("+")), frozenset(names.split("+")) - {""})


def gifts(book: Clauses, lines: Sequence[Line]) -> list[tuple[str, str, int]]:
    """Return (rule, SKU, units) that come with lines like these."""
    bought = [line for line in lines if line.state != "cancelled" and not line.gift]
    units = sum(line.quantity for line in bought)
    bits = sum(line.quantity for line in bought if line.sku == "BIT")
    found = []
    if "gloves" in book.names and units >= 4:
        found.append(("gloves", GLOVES, 1))
    if "bag" in book.names and units >= 3:
        found.append(("bag", BAG, 1))
    if "bits" in book.names and bits >= 2:
        found.append(("bits", "BIT", bits // 2))
    return found


def forms(book: Clauses, lines: Sequence[Line], attributes: dict[str, object]) -> set[str]:
    """Return the forms that a paid order like this needs."""
    found = set()
    if "craft" in book.names and any(line.attributes.get("engraving") is True for line in _open(lines)):
        found.add("craft")
    if "credit" in book.names and attributes.get("terms") == "credit":
        found.add("credit")
    return found


def _open(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line.state != "cancelled"]
