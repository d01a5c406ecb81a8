"""Documents that people edit: what is wrong is told with its line, whatever is wrong with it."""

import msgspec
import pytest

from domain.documents import BadDocument, Places, decoded, read_document


class _Inner(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class _Outer(msgspec.Struct, forbid_unknown_fields=True):
    row: list[_Inner] = []
    size: int = 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{\n 'a': 1}", "line 2: not JSON: Expecting property name"),
        ('{"b": 0, "a": 1, "a": 2}', "the name 'a' is there twice"),
        ('{"a": ' + "[" * 100_000, "not JSON: nested too deeply"),
        ('{"a": ' + "9" * 5_000 + "}", "not JSON: Exceeds the limit"),
        ("a = 1\nb =", "line 2: not TOML: Invalid value"),
        ("a = " + "[" * 100_000, "not TOML: nested too deeply"),
        ("\n" + "a." * 50_000 + "b = 1", "line 2: not TOML as it is read here: a key of more than 32 parts"),
        ("x = {" + '"\\"" . ' * 50_000 + "b = 1}", "line 1: not TOML as it is read here: a key of more than"),
        ("[" + "'a'." * 50_000 + "b]", "line 1: not TOML as it is read here: a key of more than"),
        ("[[row]]\nname = 'a'\n[[row]]\n[ " + " " * 90_000 + "x", "line 4: not TOML"),
        ('"' + "x" * 90_000 + '" = 1', "line 1: there is no 'xxx"),
        ("a = " + "9" * 5_000, "not TOML: Exceeds the limit"),
        ("row = 3", "line 1: Expected `array`, got `int` of the thing"),
        ("[[row]]\nname = 'a'\n[[row]]\nnam = 'b'\n", "line 4: there is no 'nam' in a thing here"),
        ("[[row]]\nname = 'a'\n[[row]]\n", "line 3: 'name' is missing"),
        ('{"row": [{"name": "a"},\n {"name": 5}]}', "line 2: Expected `str`, got `int` of the thing"),
        ('{"row": [1]}', "line 1: Expected `object`, got `int` of the thing"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(BadDocument) as caught:
        read_document(text, _Outer, "thing", lambda _, name: "" if name else "of the thing")
    assert str(caught.value).replace(": of the thing", " of the thing").startswith(told)


def test_places_are_those_of_keys_and_of_what_is_around_them() -> None:
    text = 'size = 1\n[[row]]\n"name" = "a"\n[[row]]\n[row.more.deep]\nx = 1\n[a.b.c.d.e.f]\ny = 1\n'
    places = Places(text, decoded(text))
    assert places.of("row", 0, "name") == 3
    assert (places.exactly("row", 1, "name"), places.of("row", 1, "name")) == (0, 4)
    assert places.of("row", 1, "more", "deep", "x") == 6
    assert (places.of("row"), places.of("nothing"), places.of()) == (2, 0, 0)
    assert places.of("a", "b", "c", "d", "e", "f", "y") == 0, "too deep to be remembered"


def test_the_lines_of_a_long_text_are_those_of_the_document() -> None:
    text = 'a = """\none\ntwo"""\nb = """one\ntwo"""\nc = "one"\n'
    places = Places(text, decoded(text))
    assert [places.inside(2, key) for key in ("a", "b")] == [3, 5]
    assert places.inside(1, "c") == 6
    as_json = '{"a":\n "one\\ntwo"}'
    assert Places(as_json, decoded(as_json)).inside(2, "a") == 1


def test_brackets_in_a_remark_make_lines_unknown_and_not_wrong() -> None:
    text = '# """\n[[row]]\nname = "a"\n# """\n[[row]]\nname = "b"\n'
    places = Places(text, decoded(text))
    assert places.of("row", 1, "name") == 0
