"""The conditions of rules: text such as `channel == "douyin" and any_line(sku in ("A-1", "A-2"))`, read and checked.

The text is parsed as a Python expression and never run as one: every part must be on the short list here. It becomes
closures over `Scope`. What can be known beforehand (an unknown name, money compared with text, a word that a field
never holds) is refused when it is read; what can be known only of an order never raises (`domain.condition_values`).
"""

import ast
import operator
import warnings
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from operator import attrgetter
from typing import Any, NamedTuple

from domain.condition_values import (
    LINE_FIELDS,
    ORDER_FIELDS,
    Kind,
    Run,
    Scope,
    among,
    amount_of,
    any_line,
    as_number,
    attribute,
    compared,
    count_of,
    every_line,
    fits,
    lowered,
    of_texts,
    reckoned,
    units_of,
    within,
)
from domain.money import MINOR_DIGITS, BadMoney, minor

TEXT_MAX = 2_000
"""Longest condition, in characters."""
DEPTH_MAX = 30
"""Most parts within each other."""


class BadCondition(ValueError):
    """A text that cannot be a condition: what is wrong, and where in it (lines and columns from 1)."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        """Keep all three."""
        super().__init__(f"line {line}, column {column}: {reason}")
        self.reason = reason
        self.line = line
        self.column = column


def read_condition(
    text: str, *, of_line: bool = False, tags: Collection[str] | None = None, used: set[str] | None = None
) -> Callable[[Scope], bool]:
    """Read a condition.

    Args:
        text: as people write it.
        of_line: it is asked of a line (`Scope.line`); names of lines then mean that one.
        tags: the tags that can be there; None = any.
        used: gathers the functions that it calls.

    Raises:
        BadCondition: with the reason, where it is, and what would be right.
    """
    if len(text) > TEXT_MAX:
        raise BadCondition(f"a condition has at most {TEXT_MAX:,} characters; give a part of it a tag", 1, 1)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise BadCondition("there is no condition: leave it out where a rule is always meant", 1, 1)
    reader = _Reader(text, of_line=of_line, tags=tags)
    run = reader.flag(reader.root, 0)
    if used is not None:
        used |= reader.used
    return run


class _Part(NamedTuple):
    """A part of a condition, checked."""

    kind: Kind
    run: Run
    const: Any = None
    """Its value, where it is written there (not for money)."""
    known: frozenset[str] = frozenset()
    sure: bool = False


_Maker = Callable[[Run], Run]
_OVER_LINES: Mapping[str, tuple[Kind, _Maker]] = {
    "any_line": ("flag", any_line),
    "every_line": ("flag", every_line),
    "units_of": ("number", units_of),
    "amount_of": ("money", amount_of),
    "count_of": ("number", count_of),
}
_OF_TEXTS: Mapping[str, Callable[[str, str], bool]] = {
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": operator.contains,
}
_FUNCTIONS = (*_OVER_LINES, *_OF_TEXTS, "matches", "lower", "number", "attr", "customer")
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_RECKONING: Mapping[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
}
_CALLED: Mapping[Kind, str] = {
    "text": "text",
    "number": "a number",
    "money": "money",
    "flag": "yes or no",
    "words": "several words",
    "any": "a value",
    "nothing": "None",
}
_OTHERWISE = {"true": "True", "false": "False", "none": "None", "null": "None", "AND": "and", "OR": "or", "NOT": "not"}
_LITERAL: Mapping[type, Kind] = {str: "text", int: "number", float: "number", bool: "flag", type(None): "nothing"}


class _Reader:
    """Reads one condition."""

    def __init__(self, text: str, *, of_line: bool, tags: Collection[str] | None) -> None:
        self._lines = text.split("\n")
        self._of_line = of_line
        self._tags = tags
        self.used: set[str] = set()
        self.root = self._parsed(text)

    def _parsed(self, text: str) -> ast.expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                root = ast.parse(f"({text}\n)", mode="eval").body
        except SyntaxError as error:
            line, column = error.lineno or 0, error.offset or 1
            if 1 <= line <= len(self._lines):
                column -= line == 1
            else:  # at our own closing parenthesis, or nowhere
                line, column = len(self._lines), len(self._lines[-1]) + 1
            for written, right in (("&&", "and"), ("||", "or"), ("!", "not")):
                if written in text.replace("!=", ""):
                    raise BadCondition(f"{error.msg}: write {right!r} for {written!r}", line, max(column, 1)) from None
            raise BadCondition(str(error.msg), line, max(column, 1)) from None
        except (ValueError, MemoryError, RecursionError) as error:
            raise BadCondition(f"this cannot be read: {error}", 1, 1) from None
        if (root.lineno, root.col_offset) == (1, 0):  # it begins with our own parenthesis
            if isinstance(root, ast.Tuple | ast.GeneratorExp):
                raise BadCondition("this is a list and no condition", 1, 1)
            raise BadCondition("its parentheses do not go together", 1, 1)
        return root

    def _fault(self, node: ast.AST, reason: str) -> BadCondition:
        line, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 1)
        before = ("(" + self._lines[0] if line == 1 else self._lines[line - 1]).encode()[:offset]
        return BadCondition(reason, line, max(len(before.decode(errors="ignore")) + (line != 1), 1))

    # --- parts

    def flag(self, node: ast.expr, depth: int) -> Run:
        """Return a part that must be yes or no."""
        part = self._part(node, depth)
        if part.kind != "flag":
            told = _CALLED[part.kind]
            raise self._fault(node, f"this is {told} and not yes or no: compare it, for example with == or in")
        return part.run

    def _part(self, node: ast.expr, depth: int) -> _Part:
        if depth > DEPTH_MAX:
            raise self._fault(node, f"more than {DEPTH_MAX} parts within each other: give some of it a tag")
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name():
                return self._name(node)
            case ast.BoolOp():
                return self._together(node, depth + 1)
            case ast.UnaryOp():
                return self._unary(node, depth + 1)
            case ast.Compare():
                return self._comparison(node, depth + 1)
            case ast.BinOp():
                return self._reckoning(node, depth + 1)
            case ast.Call():
                return self._call(node, depth + 1)
            case ast.Attribute():
                raise self._fault(node, f'names have no dots here: write {node.attr!r} alone, or attr("{node.attr}")')
            case ast.Subscript():
                raise self._fault(node, 'there are no brackets here: write attr("name") for a custom attribute')
            case ast.Tuple() | ast.List() | ast.Set():
                raise self._fault(node, 'a list stands behind \'in\' only: sku in ("A-1", "A-2")')
        raise self._fault(node, "this has no place in a condition: use comparisons, and, or, not, and the functions")

    def _constant(self, node: ast.Constant) -> _Part:
        value = node.value
        kind = _LITERAL.get(type(value))
        if kind is None:
            raise self._fault(node, "write texts in quotes, numbers, True, False or None")
        return _Part(kind, lambda _: value, value, sure=value is not None)

    def _name(self, node: ast.Name) -> _Part:
        name = node.id
        found = LINE_FIELDS.get(name) if self._of_line else None
        found = found or ORDER_FIELDS.get(name)
        if found is not None:
            return _Part(found.kind, found.get, None, found.known, found.sure)
        if name in LINE_FIELDS:
            raise self._fault(node, f"{name!r} is of a line: ask for it inside any_line(…) or units_of(…)")
        if name in _OTHERWISE:
            raise self._fault(node, f"there is no {name!r}: write {_OTHERWISE[name]}")
        if name in _FUNCTIONS:
            raise self._fault(node, f"{name} is a function: write {name}(…)")
        names = [*ORDER_FIELDS, *(LINE_FIELDS if self._of_line else ())]
        raise self._fault(node, f"there is no {name!r}: {_meant(name, names)}; a text stands in quotes")

    def _together(self, node: ast.BoolOp, depth: int) -> _Part:
        runs = [self.flag(value, depth) for value in node.values]
        if len(runs) == 2:  # noqa: PLR2004  the usual case, without a loop
            one, two = runs
            if isinstance(node.op, ast.And):
                return _Part("flag", lambda scope: one(scope) and two(scope), sure=True)
            return _Part("flag", lambda scope: one(scope) or two(scope), sure=True)
        if isinstance(node.op, ast.And):
            return _Part("flag", lambda scope: all(run(scope) for run in runs), sure=True)
        return _Part("flag", lambda scope: any(run(scope) for run in runs), sure=True)

    def _unary(self, node: ast.UnaryOp, depth: int) -> _Part:
        if isinstance(node.op, ast.Not):
            run = self.flag(node.operand, depth)
            return _Part("flag", lambda scope: not run(scope), sure=True)
        part = self._part(node.operand, depth)
        if not isinstance(node.op, ast.USub) or part.kind not in ("number", "money", "any"):
            raise self._fault(node, "only a number or money can have a sign, and only the sign -")
        if type(part.const) in (int, float):
            value = -part.const
            return _Part("number", lambda _: value, value, sure=True)
        return part._replace(run=reckoned(operator.sub, lambda _: 0, part.run), sure=False)

    # --- comparing

    def _comparison(self, node: ast.Compare, depth: int) -> _Part:
        runs = []
        left_node, left = node.left, self._part(node.left, depth)
        for sign, right_node in zip(node.ops, node.comparators, strict=True):
            if isinstance(sign, ast.In | ast.NotIn):
                if len(node.ops) > 1:
                    raise self._fault(node, "'in' cannot be one of several comparisons: join them with 'and'")
                return _Part("flag", self._membership(left, left_node, sign, right_node, depth), sure=True)
            if type(sign) not in _COMPARISONS:
                raise self._fault(right_node, "write == or != for 'is' and 'is not'")
            right = self._part(right_node, depth)
            runs.append(self._pair(left, sign, right, left_node, right_node))
            left_node, left = right_node, right
        if len(runs) == 1:
            return _Part("flag", runs[0], sure=True)
        return _Part("flag", lambda scope: all(run(scope) for run in runs), sure=True)

    def _pair(self, left: _Part, sign: ast.cmpop, right: _Part, at: ast.expr, right_node: ast.expr) -> Run:
        compare = _COMPARISONS[type(sign)]
        kinds = (left.kind, right.kind)
        equality = isinstance(sign, ast.Eq | ast.NotEq)
        if "nothing" in kinds:
            if not equality:
                raise self._fault(right_node, "None has no order: write == None (missing) or != None (there)")
            run, missing = left.run if right.kind == "nothing" else right.run, isinstance(sign, ast.Eq)
            return lambda scope: (run(scope) is None) is missing
        if "words" in kinds:
            raise self._fault(at, 'these are several words: ask with in, for example "urgent" in tags')
        if "any" not in kinds and left.kind != right.kind:
            money = ': write money as CNY(199) or CNY("199.50")' if "money" in kinds else ""
            raise self._fault(right_node, f"{_CALLED[left.kind]} cannot be compared with {_CALLED[right.kind]}{money}")
        if "flag" in kinds and not equality:
            raise self._fault(at, "yes and no have no order: use == or !=")
        self._check_known(left, right.const, right_node)
        self._check_known(right, left.const, at)
        if left.sure and right.sure and "any" not in kinds:
            one, two = left.run, right.run
            if right.const is not None:
                value = right.const
                return lambda scope: compare(one(scope), value)
            return lambda scope: compare(one(scope), two(scope))
        return compared(compare, left.run, right.run, kinds)

    def _check_known(self, part: _Part, word: Any, at: ast.expr) -> None:
        """Refuse a word that a field never holds."""
        if part.known and type(word) is str and word not in part.known:
            raise self._fault(at, f"it is never {word!r}: {_meant(word, sorted(part.known))}")

    def _membership(self, left: _Part, left_node: ast.expr, sign: ast.cmpop, node: ast.expr, depth: int) -> Run:
        wanted = isinstance(sign, ast.In)
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            values = [self._literal(each, depth) for each in node.elts]
            if left.kind not in ("text", "number", "any"):
                raise self._fault(left_node, f"{_CALLED[left.kind]} cannot be looked for in a list; use comparisons")
            for each, value in zip(node.elts, values, strict=True):
                if left.kind not in ("any", value.kind):
                    raise self._fault(each, f"{_CALLED[left.kind]} is never {_CALLED[value.kind]}")
                self._check_known(left, value.const, each)
            words = frozenset(value.const for value in values)
            if left.sure and left.kind != "any":
                one = left.run
                return lambda scope: (one(scope) in words) is wanted
            return among(left.run, words, wanted=wanted)
        right = self._part(node, depth)
        if type(right.const) is str:
            raise self._fault(node, f"a list of one is written ({right.const!r},)")
        if right.kind not in ("text", "words", "any"):
            reason = "'in' needs a list, a text, tags, flaws or holds behind it"
            raise self._fault(node, f"{reason}, and this is {_CALLED[right.kind]}")
        if left.kind not in (("text", "number", "any") if right.kind == "any" else ("text", "any")):
            raise self._fault(left_node, f"{_CALLED[left.kind]} cannot be in {_CALLED[right.kind]}")
        if right.kind == "words":
            self._check_word(node, right, left.const, left_node)
            if left.const is not None:
                word, whole = left.const, right.run
                return lambda scope: (word in whole(scope)) is wanted
        return within(left.run, right.run, wanted=wanted)

    def _check_word(self, node: ast.expr, right: _Part, word: Any, at: ast.expr) -> None:
        self._check_known(right, word, at)
        of_tags = isinstance(node, ast.Name) and node.id == "tags" and type(word) is str
        if of_tags and self._tags is not None and word not in self._tags:
            raise self._fault(at, f"no earlier [[tag]] gives {word!r}: {_meant(word, sorted(self._tags))}")

    def _literal(self, node: ast.expr, depth: int) -> _Part:
        part = self._part(node, depth)
        if part.kind not in ("text", "number") or part.const is None:
            raise self._fault(node, "a list holds texts and numbers only")
        return part

    # --- reckoning

    def _reckoning(self, node: ast.BinOp, depth: int) -> _Part:
        if type(node.op) not in _RECKONING:
            raise self._fault(node, "only + - and * can be reckoned with; for a share write payable * 0.5")
        sign, reckon = _RECKONING[type(node.op)]
        left, right = self._part(node.left, depth), self._part(node.right, depth)
        for part, at in ((left, node.left), (right, node.right)):
            if part.kind not in ("number", "money", "any"):
                raise self._fault(at, f"{_CALLED[part.kind]} cannot be reckoned with")
        kinds = {left.kind, right.kind}
        if sign == "*" and left.kind == right.kind == "money":
            raise self._fault(node, "money times money means nothing")
        if sign != "*" and kinds == {"number", "money"}:
            raise self._fault(node, f"money {sign} a number means nothing: write money as CNY(199)")
        kind: Kind = "money" if "money" in kinds else "any" if "any" in kinds else "number"
        return _Part(kind, reckoned(reckon, left.run, right.run))

    # --- functions

    def _call(self, node: ast.Call, depth: int) -> _Part:
        if not isinstance(node.func, ast.Name):
            named = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            hint = f'write {named}(name, "…")' if named in _OF_TEXTS else f"use one of {', '.join(_FUNCTIONS)}"
            raise self._fault(node, f"functions stand alone here: {hint}")
        name = node.func.id
        self.used.add(name)
        if node.keywords or any(isinstance(each, ast.Starred) for each in node.args):
            raise self._fault(node, f"{name}(…) takes plain values only, without = and *")
        if name in MINOR_DIGITS:
            return self._money(node, name)
        if name in _OVER_LINES:
            return self._over_lines(node, name, depth)
        match name:
            case "attr":
                of: Callable[[Any], Any] = attrgetter("line.attributes" if self._of_line else "snapshot.attributes")
                return _Part("any", attribute(of, self._quoted(node, name)))
            case "customer":
                return _Part("any", attribute(attrgetter("facts.customer"), self._quoted(node, name)))
            case "lower":
                (text,) = self._texts(node, name, 1, depth)
                return _Part("text", lowered(text.run))
            case "number":
                (text,) = self._texts(node, name, 1, depth)
                return _Part("number", as_number(text.run))
            case "matches":
                text, pattern = self._texts(node, name, 2, depth)
                if pattern.const is None:
                    raise self._fault(node.args[1], 'the pattern stands here in quotes: matches(sku, "CAMP-*")')
                fit = fits(pattern.const)
                return _Part("flag", of_texts(lambda one, _: fit(one), text.run, pattern.run), sure=True)
            case _ if name in _OF_TEXTS:
                one, two = self._texts(node, name, 2, depth)
                return _Part("flag", of_texts(_OF_TEXTS[name], one.run, two.run), sure=True)
        raise self._fault(node, f"there is no function {name!r}: {_meant(name, [*_FUNCTIONS, 'CNY'])}")

    def _texts(self, node: ast.Call, name: str, count: int, depth: int) -> list[_Part]:
        if len(node.args) != count:
            raise self._fault(node, f"{name}(…) takes {count} value{'s' if count > 1 else ''} and has {len(node.args)}")
        parts = [self._part(each, depth) for each in node.args]
        for part, at in zip(parts, node.args, strict=True):
            if part.kind not in ("text", "any"):
                raise self._fault(at, f"{name}(…) takes text, and this is {_CALLED[part.kind]}")
        return parts

    def _quoted(self, node: ast.Call, name: str) -> str:
        match node.args:
            case [ast.Constant(value=str(text))] if text.strip():
                return text
        raise self._fault(node, f'{name}(…) takes one name in quotes: {name}("grade")')

    def _money(self, node: ast.Call, currency: str) -> _Part:
        match node.args:
            case [ast.Constant(value=str() | int() | float() as said)] if type(said) is not bool:
                pass
            case _:
                raise self._fault(node, f'{currency}(…) takes one amount: {currency}(199) or {currency}("199.50")')
        try:
            amount = minor(said, currency)
        except BadMoney as error:
            raise self._fault(node, str(error)) from None
        return _Part("money", lambda scope: amount if scope.currency == currency else None)

    def _over_lines(self, node: ast.Call, name: str, depth: int) -> _Part:
        if self._of_line:
            raise self._fault(node, f"this is asked of one line already: write the condition without {name}(…)")
        if len(node.args) != 1:
            raise self._fault(node, f'{name}(…) takes one condition of a line: {name}(sku == "A-1")')
        kind, make = _OVER_LINES[name]
        self._of_line = True
        holds = self.flag(node.args[0], depth)
        self._of_line = False
        return _Part(kind, make(holds), sure=True)


def _meant(name: str, names: Collection[str]) -> str:
    close = get_close_matches(name, names, 1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names) or 'none'}"
