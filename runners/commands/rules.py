"""`rules`: the rule book: show it, check a file, see what it would change, put it in force."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from runners.commands.acting import act, command_id_of, mail_of, order_of
from runners.commands.changes import changes_of, show_changes
from runners.commands.common import (
    DATA_DEFAULT,
    CommandIdOption,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    Rows,
    escape,
    print_json,
    print_text,
    say,
    settings_of,
    show,
    table,
    time_of,
)
from runners.naming import orders_named

if TYPE_CHECKING:
    from domain.rule_parts import Book
    from domain.rulebook import InForce
    from runners.settings import Settings

SHOWN_MAX = 200
"""Longest value of a rule that is shown in a table."""
ORDERS_SHOWN_MAX = 50

app = App(
    name="rules",
    help="The rule book: routes, promotions, risks, promises, approvals, notices. See docs/rules.md.",
    help_epilogue=(
        "Examples:\n"
        "  orderspine rules show > rules.toml\n"
        "  orderspine rules check rules.toml\n"
        "  orderspine rules diff rules.toml\n"
        "  orderspine rules try rules.toml --last 500\n"
        "  orderspine rules apply rules.toml --reason 'Double 11'"
    ),
)

FileArgument = Annotated[Path, Parameter(name="FILE", help="A rule book, TOML or JSON.")]


@app.command(name="show")
def show_(
    *,
    at: Annotated[str, Parameter(help="As it was then: a time, or a date (its end). Now where it is left out.")] = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """The document in force, for reading or for a file."""
    from domain.ids import RULEBOOK_KEY  # noqa: PLC0415

    settings = settings_of(data, must_exist=False)
    until = time_of("--at", at, settings.zone) if at else None
    in_force, _ = changes_of(settings, RULEBOOK_KEY, until)
    if json:
        print_json({"version": in_force.version, "digest": in_force.digest, "text": in_force.text})
        return Exit.OK
    say(f"# version {in_force.version}" + ("" if in_force.version else " (what ships: no rules)"))
    print_text(in_force.text if in_force.text.endswith("\n") else f"{in_force.text}\n")
    return Exit.OK


@app.command
def check(file: FileArgument, /, *, json: JsonOption = False) -> Exit:
    """Whether a file can be a rule book; if not, what is wrong in which line."""
    from collections import Counter  # noqa: PLC0415

    from domain.rule_table import rows_of  # noqa: PLC0415

    text = _to_apply(file)
    counts = Counter(kind for kind, _ in rows_of(text))
    if json:
        print_json({"file": str(file), "rules": counts})
    else:
        say(f"{file.name}: a good rule book: {', '.join(f'{n} {kind}' for kind, n in counts.items()) or 'no rules'}")
    return Exit.OK


@app.command
def apply(
    file: FileArgument,
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; it is recorded.")] = "",
    command_id: CommandIdOption = "",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Put a file in force; orders that come from then on are judged by it."""
    from domain.ids import RULEBOOK_KEY  # noqa: PLC0415
    from domain.rulebook import ChangeRules  # noqa: PLC0415

    settings = settings_of(data)
    text = _to_apply(file)
    if not reason.strip():
        raise Failure(Exit.USAGE, "say why with --reason: it is recorded with the change")
    mail = mail_of(RULEBOOK_KEY, ChangeRules(command_id_of(command_id), text, reason), "operations", "rules-apply")
    done = act(settings, mail, f"rules from {file.name}", json=json)
    if done is Exit.OK and not json:
        say("orders that come from now on are judged by it; what was ruled before stays as it was ruled")
    return done


@app.command
def diff(file: FileArgument, /, *, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """What a file changes in what is in force, rule by rule."""
    from runners.rules_trial import changes  # noqa: PLC0415

    settings = settings_of(data, must_exist=False)
    text, _ = _document(file)
    in_force, _ = _in_force(settings)
    found = changes(in_force.text, text)
    if json:
        print_json({"version": in_force.version, "changes": found})
        return Exit.OK
    made = table("rule", "what", "key", f"version {in_force.version}", file.name)
    for each in found:
        rows = each.fields.items() or [("", ("", ""))]
        for number, (key, (before, after)) in enumerate(rows):
            first = (f"{each.kind} {each.id}", each.what) if not number else ("", "")
            made.add_row(*map(escape, (*first, key, _short(before), _short(after))))
    if found:
        show(made)
    say(f"{len(found)} rule(s) differ from version {in_force.version}")
    return Exit.OK


@app.command(name="try")
def try_(
    file: FileArgument,
    /,
    *,
    order: Annotated[
        list[str] | None, Parameter(negative="", help="An order; may be given several times. Without, the last ones.")
    ] = None,
    last: Annotated[Rows, Parameter(help="How many of the last orders.")] = 200,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """What a file would say of orders in the log, beside what is in force; nothing is changed by it.

    The log does not tell what is wrong with an address: rules that ask for it see nothing there.
    """
    from runners.bootstrap import open_log  # noqa: PLC0415
    from runners.rules_trial import recent, sighting, try_rules  # noqa: PLC0415

    settings = settings_of(data)
    _, then = _document(file)
    in_force, now = _in_force(settings)
    wanted = [order_of(settings, each) for each in order or ()]
    with closing(open_log(settings, read_only=True)) as log:
        keys = wanted or list(recent(log, last))
        found = [(key, sighting(log, key)) for key in keys]
    for key, seen in found:
        if seen is None:
            raise Failure(Exit.REFUSED, f"no channel has told of the order {orders_named(key)}")
    trial = try_rules(now, then, [seen for _, seen in found if seen is not None])
    if json:
        print_json({"version": in_force.version, "trial": trial})
        return Exit.OK
    made = table("order", "part", f"version {in_force.version}", file.name)
    differing = [each for each in trial.verdicts if each.differs]
    for each in differing[:ORDERS_SHOWN_MAX]:
        for number, (part, (before, after)) in enumerate(each.differs.items()):
            made.add_row(*map(escape, ("" if number else orders_named(each.key), part, _short(before), _short(after))))
    counts = table("rule", f"orders, version {in_force.version}", f"orders, {file.name}", right=("orders",))
    for rule, (before_count, after_count) in trial.rules.items():
        counts.add_row(escape(rule), str(before_count), str(after_count))
    show(*([made] if differing else []), *([counts] if trial.rules else []))
    if len(differing) > ORDERS_SHOWN_MAX:
        say(f"{len(differing) - ORDERS_SHOWN_MAX} more orders differ; --json shows all")
    say(f"{trial.differing} of {trial.orders} order(s) would be ruled otherwise")
    return Exit.OK


@app.command
def history(*, data: DataOption = DATA_DEFAULT, json: JsonOption = False) -> Exit:
    """Which rule books were in force, since when, who changed them, why; refused changes too."""
    from domain.ids import RULEBOOK_KEY  # noqa: PLC0415

    settings = settings_of(data, must_exist=False)
    _, changes = changes_of(settings, RULEBOOK_KEY)
    return show_changes(changes, "there are no rules", json=json)


# --- what is in force, and files


def _in_force(settings: "Settings") -> "tuple[InForce, Book]":
    from domain.ids import RULEBOOK_KEY  # noqa: PLC0415
    from domain.rule_table import BadRules  # noqa: PLC0415

    in_force, _ = changes_of(settings, RULEBOOK_KEY)
    try:
        return in_force, in_force.book
    except BadRules as error:
        reason = f"this build cannot read the rule book in force: {error}; apply one that it can read"
        raise Failure(Exit.REFUSED, reason) from None


def _document(file: Path) -> "tuple[str, Book]":
    """Return a document that was checked, and its rules.

    Raises:
        Failure: it cannot be read, or cannot be a rule book.
    """
    from domain.rule_table import BadRules, read_rules  # noqa: PLC0415

    try:
        text = file.read_bytes().decode("utf-8-sig")
        return text, read_rules(text)
    except OSError as error:
        raise Failure(Exit.USAGE, f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Failure(Exit.REFUSED, f"{file.name}: not UTF-8 at byte {error.start:,}; save it as UTF-8") from error
    except BadRules as error:
        raise Failure(Exit.REFUSED, f"{file.name}: {error}") from error


def _to_apply(file: Path) -> str:
    """Return a document that may be put in force: an empty file would take away every rule without a word.

    Raises:
        Failure: as `_document`, or nothing stands in it.
    """
    text, _ = _document(file)
    if not text.strip():
        raise Failure(Exit.REFUSED, f"{file.name} is empty; a book without any rule is the line `format = 1`")
    return text


def _short(value: Any) -> str:
    import msgspec  # noqa: PLC0415

    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"
