"""`api-token`: who may use the HTTP API. The data directory keeps digests only; a token is shown once, when made."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import App, Parameter

from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    escape,
    moment_said,
    print_json,
    say,
    settings_of,
    show,
    table,
)

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

app = App(
    name="api-token",
    help="Who may use the HTTP API: add, list, remove. A running gateway notices within a second.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine api-token add erp --rights push,read\n"
        "  orderspine api-token list\n"
        "  orderspine api-token remove erp"
    ),
)

TokenName = Annotated[str, Parameter(name="NAME", help="Whose token: letters, digits, - and _.")]


@app.command
def add(
    name: TokenName,
    /,
    *,
    rights: Annotated[
        str, Parameter(help="What it may do, with commas: push (hand orders in), read (look at orders).")
    ] = "push,read",
    replace: Annotated[bool, Parameter(negative="", help="End the token of that name, and make a new one.")] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Make a token and show it, once: nobody can show it again."""
    from adapters.web.tokens import RIGHTS, add_token, read_tokens  # noqa: PLC0415

    if not _NAME.fullmatch(name):
        raise Failure(Exit.USAGE, f"{name[:80]!r}: a name has 1 to 64 letters, digits, - and _")
    named = [right.strip() for right in rights.split(",") if right.strip()]
    wanted = tuple(right for right in RIGHTS if right in named)
    if not named or set(named) - set(RIGHTS):
        raise Failure(Exit.USAGE, f"--rights {rights}: name one or more of {', '.join(RIGHTS)}, with commas")
    file = _file(data)
    known = [each.name for each in _usable(lambda: read_tokens(file))]
    if name in known and not replace:
        raise Failure(
            Exit.REFUSED,
            f"there is a token {name} already; --replace ends it and makes a new one",
        )
    token = _usable(lambda: add_token(file, name, wanted))
    if json:
        print_json({"name": name, "rights": wanted, "token": token})
        return Exit.OK
    say(f"Token {name} may {' and '.join(wanted)}. Keep it now, it is not shown again:")
    show(token)
    say("Use it as the header `Authorization: Bearer TOKEN`.")
    return Exit.OK


@app.command(name="list")
def list_(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Name the tokens there are, and what each may do."""
    from adapters.web.tokens import read_tokens  # noqa: PLC0415
    from runners.bootstrap import API_TOKENS_FILE  # noqa: PLC0415

    settings = settings_of(data)
    tokens = _usable(lambda: read_tokens(settings.path / API_TOKENS_FILE))
    if json:
        print_json([{"name": each.name, "rights": each.rights, "created": each.created} for each in tokens])
        return Exit.OK
    made = table("name", "may", "made at")
    for each in tokens:
        made.add_row(
            escape(each.name), escape(", ".join(each.rights)), escape(moment_said(each.created, settings.zone))
        )
    show(made)
    return Exit.OK


@app.command
def remove(name: TokenName, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """End a token: whoever uses it is refused from now on."""
    from adapters.web.tokens import remove_token  # noqa: PLC0415

    file = _file(data)
    if not _usable(lambda: remove_token(file, name)):
        raise Failure(Exit.REFUSED, f"there is no token {name}; `orderspine api-token list` names them")
    if json:
        print_json({"name": name, "removed": True})
    else:
        show(f"token {escape(name)} is not accepted any more")
    return Exit.OK


def _usable(act: Callable[[], T]) -> T:
    """Do something with the file of tokens; what is wrong with it becomes the verb's end."""
    from adapters.web.tokens import BadTokenFile  # noqa: PLC0415

    try:
        return act()
    except BadTokenFile as error:
        raise Failure(Exit.DATA, str(error)) from error


def _file(data: Path) -> Path:
    from runners.bootstrap import API_TOKENS_FILE  # noqa: PLC0415

    return settings_of(data).path / API_TOKENS_FILE
