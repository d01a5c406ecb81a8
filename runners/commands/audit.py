"""`audit`: the history of an order, its state at any time, and the proof that nothing was changed."""

import sys
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter, validators

from runners.audited import SIGNING_KEY_FILE, checkpoints_of, scan_of
from runners.commands import audit_history, audit_travel, audit_what_if
from runners.commands.common import (
    DATA_DEFAULT,
    NOT_NEGATIVE,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    check_new,
    escape,
    print_json,
    progress_bar,
    say,
    settings_of,
    show,
    table,
    time_of,
    write_new,
)
from runners.naming import orders_named

if TYPE_CHECKING:
    from adapters.storage.checkpoints import Checkpoint, CheckpointFolder, Signer
    from runners.audit import Verified, Witness
    from runners.settings import Settings

SHOWN_MAX = 20
"""Most problems shown to people; --json has more."""
JOBS_MAX = 1_024
"""Most processes that may be asked for: more than any machine has cores for."""
_TEXT_MAX = 60

app = App(
    name="audit",
    help="History, state at a time, verification, replay. 审计",
    help_epilogue=(
        "Examples:\n"
        "  orderspine audit history 2231958349\n"
        "  orderspine audit state taobao:flagship:2231958349 --at '2026-02-09 22:03:00'\n"
        "  orderspine audit verify --checkpoints /mnt/elsewhere/checkpoints\n"
        "  orderspine audit replay"
    ),
)

KeyArgument = Annotated[
    str, Parameter(name="KEY", help="Full key, channel:shop:number, or an order's number where it is unique.")
]


@app.command
def state(
    key: KeyArgument,
    /,
    *,
    at: Annotated[
        str | None,
        Parameter(help="A time: `2026-02-09 22:03:00`, ISO 8601, or a date for the end of that day; merchant's zone."),
    ] = None,
    position: Annotated[int | None, Parameter(help="A position in the log instead.", validator=NOT_NEGATIVE)] = None,
    clock: Annotated[
        Literal["at", "observed_at"],
        Parameter(help="Which time counts: when it was recorded, or when the edge saw it (historic runs)."),
    ] = "at",
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """The state of one order (or warehouse, intake) as it was."""
    from runners.bootstrap import open_log  # noqa: PLC0415
    from runners.history import state_at  # noqa: PLC0415
    from runners.moments import Counting  # noqa: PLC0415

    if at is not None and position is not None:
        raise Failure(Exit.USAGE, "give --at or --position, not both")
    settings = settings_of(data)
    time_ms = None if at is None else time_of("--at", at, settings.zone)
    stream = audit_travel.stream_of(settings, key)
    with closing(open_log(settings, read_only=True)) as log:
        counting = Counting(log)
        found = state_at(counting, stream, settings.zone, position=position, time_ms=time_ms, clock=clock)
    if json:
        import msgspec  # noqa: PLC0415

        print_json({**msgspec.to_builtins(found), "events_read": counting.rows})
        return Exit.OK
    shown = table(
        "field",
        "value",
        title=f"{orders_named(stream)} at version {found.version}, position {found.position} {found.at}",
    )
    for field, value in found.state.items():
        if value not in ("", None, [], {}):
            shown.add_row(field, escape(_plain(value, 2_000)))
    show(shown)
    if not found.version:
        say("nothing had happened yet")
    return Exit.OK


@app.command
def verify(
    *,
    checkpoints: Annotated[
        Path | None, Parameter(help="Folder of signed checkpoints; `<data>.checkpoints` if left out.")
    ] = None,
    open_: Annotated[
        bool, Parameter(name="--open", negative="", help="Also open every sealed block whose key is there.")
    ] = False,
    full: Annotated[
        bool,
        Parameter(
            negative="",
            help="Also check the database's indexes against its tables, and the map of every checkpoint (slow).",
        ),
    ] = False,
    write: Annotated[
        bool, Parameter(name="--checkpoint", help="Write a new signed checkpoint where nothing is wrong.")
    ] = True,
    jobs: Annotated[
        int, Parameter(help="Processes; 0 = one for each core.", validator=validators.Number(gte=0, lte=JOBS_MAX))
    ] = 0,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Prove that every event is the one that was committed, in its place, and that none is missing.

    Copies of the checkpoints kept where nobody who can write here can write are what makes the proof hold against
    somebody with all rights on this machine.
    """
    import os  # noqa: PLC0415

    from adapters.storage.scan import Unreadable  # noqa: PLC0415
    from runners.audit import verify as verify_log  # noqa: PLC0415
    from runners.bootstrap import existing_vault  # noqa: PLC0415

    settings = settings_of(data)
    folder = _folder(settings, checkpoints)
    with ExitStack() as stack:
        vault = existing_vault(settings)
        if vault is not None:
            stack.callback(vault.close)
        witnesses, notes = _witnesses(settings)
        progress = stack.enter_context(progress_bar("verifying", json=json))
        try:
            found = verify_log(
                scan_of(settings),
                settings.cell,
                folder=folder,
                signer=_signer(settings) if write else None,
                vault=vault,
                open_blocks=open_,
                full=full,
                witnesses=witnesses,
                jobs=jobs or os.cpu_count() or 1,
                progress=progress,
            )
        except (Unreadable, FileNotFoundError) as error:
            raise Failure(Exit.DATA, f"the log cannot be read: {error}; restore it from a backup") from error
    found.notes += notes
    if json:
        import msgspec  # noqa: PLC0415

        print_json({"ok": found.ok, **msgspec.to_builtins(found)})
    else:
        _show_verified(found, folder.path)
    return Exit.OK if found.ok else Exit.REFUSED


@app.command
def replay(
    *,
    states_only: Annotated[bool, Parameter(negative="", help="Leave the read models out.")] = False,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Fold everything again from the log alone, and compare it with what is stored and shown, row by row."""
    from runners.bootstrap import READ_MODELS_FILE, open_log, open_read_models  # noqa: PLC0415
    from runners.replay import replay_read_models, replay_states  # noqa: PLC0415

    settings = settings_of(data)
    document: dict[str, Any] = {}
    with closing(open_log(settings, read_only=True)) as log:
        with progress_bar("folding states", json=json) as progress:
            states = replay_states(log, progress)
        document["states"] = states
        wrong = list(states.problems)
        models = None
        if not states_only:
            with TemporaryDirectory(prefix="orderspine-replay-") as scratch, ExitStack() as stack:
                progress = stack.enter_context(progress_bar("building read models", json=json))
                file = None if settings.postgres else settings.path / READ_MODELS_FILE
                live = None
                if settings.postgres:
                    live = open_read_models(settings)
                    stack.callback(live.close)
                elif file is not None and not file.exists():
                    file = None
                    say("there are no read models here yet; they are only built")
                else:  # asked once, so that damage to them is told from damage to the log
                    with closing(open_read_models(settings)) as views:
                        views.positions()
                models = replay_read_models(log, Path(scratch), live, live_file=file, progress=progress, hurry=True)
            document["read_models"] = models
            wrong += models.differences
    if json:
        print_json({"ok": not wrong, **document})
        return Exit.REFUSED if wrong else Exit.OK
    say(
        f"states: {states.events:,} events of {sum(states.streams.values()):,} actors folded, "
        f"{states.events_per_s:,} events/s; {states.snapshots} stored snapshot(s) compared"
    )
    if models is not None:
        rows = ", ".join(f"{count:,} {name}" for name, count in models.rows.items())
        say(f"read models: {models.events:,} events, {models.events_per_s:,} events/s; compared {rows or 'nothing'}")
        for note in models.notes:
            say(f"note: {note}")
    _show_wrong(wrong, states.more + (models.more if models else 0))
    if not wrong:
        show("[green]✓[/green] what is stored and shown is what the log says 一致")
    return Exit.REFUSED if wrong else Exit.OK


app.command(audit_history.history)
app.command(audit_travel.as_of, name="as-of")
app.command(audit_travel.diff)
app.command(audit_travel.snapshot)
app.command(audit_what_if.what_if)


@app.command
def export(
    key: KeyArgument,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="New file to write; stdout if left out.")] = None,
    reveal: Annotated[
        bool,
        Parameter(negative="", help="Add the order's key and everything it opens: the file then tells personal data."),
    ] = False,
    older: Annotated[
        tuple[Path, ...],
        Parameter(help="A checkpoint that an auditor holds: show that the log grew out of it. May be given again."),
    ] = (),
    absent: Annotated[
        bool,
        Parameter(
            negative="", help="Prove that there is no such order: KEY is its full key, or with channel and shop."
        ),
    ] = False,
    checkpoints: Annotated[
        Path | None, Parameter(help="Folder of signed checkpoints; `<data>.checkpoints` if left out.")
    ] = None,
    data: DataOption = DATA_DEFAULT,
) -> Exit:
    """Write the proof of one order as a file that anybody can check without us: `audit check` (导出证据).

    The log is sealed first, so that all of it is covered and that the file proves that nothing of the order is missing;
    the length of the log does not matter.
    """
    import msgspec  # noqa: PLC0415

    from adapters.storage.checkpoints import Checkpoint  # noqa: PLC0415
    from adapters.storage.scan import Unreadable  # noqa: PLC0415
    from adapters.storage.thinning import note_anchors  # noqa: PLC0415
    from runners.bootstrap import existing_vault, open_log  # noqa: PLC0415
    from runners.history import absent_stream  # noqa: PLC0415
    from runners.order_proof import NotProvable, prove  # noqa: PLC0415
    from runners.sealer import Sealing, SealRefused  # noqa: PLC0415

    settings = settings_of(data)
    if out is not None:
        check_new(out)
        if not out.parent.is_dir():
            raise Failure(Exit.USAGE, f"--out {out}: there is no directory {out.parent}")
    stream = audit_travel.stream_of(settings, key, absent_stream if absent else None)
    folder = _folder(settings, checkpoints)
    signer = _signer(settings) if folder.writable else None  # whoever may only read shows what is sealed already
    with ExitStack() as stack:
        vault = existing_vault(settings) if reveal else None
        if vault is not None:
            stack.callback(vault.close)
        try:
            sealing = None if signer is None else Sealing(scan_of(settings), settings.cell, folder, signer)
            if sealing is not None:
                sealing.seal()
            log = stack.enter_context(closing(open_log(settings, read_only=True)))
            asked = [_checkpoint(path) for path in older]
            document, cost = prove(log, stream, cell=settings.cell, folder=folder, asked=asked, vault=vault)
            if sealing is not None and not cost.complete:
                sealing.renew_map()
                document, cost = prove(log, stream, cell=settings.cell, folder=folder, asked=asked, vault=vault)
        except (NotProvable, SealRefused, Unreadable) as error:
            raise Failure(Exit.REFUSED, f"{error}; `orderspine audit verify` says more") from error
    if out is None:
        print_json(document)
    else:
        write_new(out, msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    with suppress(OSError):  # an auditor who may only read leaves no trace
        note_anchors(folder.path, [msgspec.convert(document["checkpoint"], Checkpoint), *asked])
    say(
        f"{orders_named(stream)}: {cost.events} event(s), {cost.payloads} raw message(s), "
        f"{len(document['older'])} older checkpoints"
        + (f"; {cost.uncovered} event(s) are not sealed yet" if cost.uncovered else "")
    )
    if cost.complete:
        say(f"complete to position {document['checkpoint']['position']:,}, proven by the map of stream ends")
    else:
        say("that it has no further event is not proved: the newest checkpoint has no map of stream ends here")
    say(
        f"read were {cost.events} rows of the log, {cost.leaves:,} leaves and nodes of the tree beside it, and "
        f"{cost.map_rows:,} rows of the map"
    )
    if reveal:
        say("the file holds the order's key and personal data in plain text" if vault else "there are no keys here")
    return Exit.OK


@app.command
def check(
    file: Annotated[Path, Parameter(help="What `audit export` wrote.")],
    /,
    *,
    checkpoint: Annotated[
        tuple[Path, ...], Parameter(help="An older checkpoint, from elsewhere. May be given again.")
    ] = (),
    key: Annotated[tuple[Path, ...], Parameter(help="A public key (PEM), from elsewhere. May be given again.")] = (),
) -> Exit:
    """Check an order's proof, as `python -m runners.verify_export` does anywhere else (核验证据).

    Exit code 0: what it says is proved, 1: refuted, 2: nothing can be said.
    """
    from runners.verify_export import report  # noqa: PLC0415

    code, text = report(file, list(checkpoint), list(key))
    sys.stdout.write(text)
    return Exit(code)


# --- parts


def _checkpoint(path: Path) -> "Checkpoint":
    import msgspec  # noqa: PLC0415

    from adapters.storage.checkpoints import Checkpoint  # noqa: PLC0415

    try:
        return msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except (OSError, msgspec.DecodeError) as error:
        raise Failure(Exit.USAGE, f"{path} is no checkpoint: {error}") from error


def _folder(settings: "Settings", named: Path | None) -> "CheckpointFolder":
    """Return the folder of checkpoints that is meant.

    Raises:
        Failure: the one that is named is not there.
    """
    from adapters.storage.checkpoints import CheckpointFolder  # noqa: PLC0415

    if named is not None and not named.is_dir():
        raise Failure(
            Exit.USAGE,
            f"--checkpoints: there is no folder {named}. Where the proof is to begin anew in it, make it first",
        )
    return CheckpointFolder(named or checkpoints_of(settings))


def _signer(settings: "Settings") -> "Signer | None":
    """Return the signing key; an auditor who may not read it verifies without writing a checkpoint."""
    from adapters.storage.checkpoints import CheckpointError, Signer  # noqa: PLC0415

    try:
        return Signer.open(settings.path / SIGNING_KEY_FILE)
    except CheckpointError as error:
        raise Failure(Exit.DATA, str(error)) from error
    except PermissionError:
        say("the signing key may not be read by you: no checkpoint is written")
        return None


def _witnesses(settings: "Settings") -> "tuple[list[Witness], list[str]]":
    """Return how far the read models have seen the log, and what to note where they cannot say so."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from runners.audit import Witness  # noqa: PLC0415
    from runners.bootstrap import READ_MODELS_FILE, open_read_models  # noqa: PLC0415
    from runners.failures import words_of  # noqa: PLC0415

    if not settings.postgres and not (settings.path / READ_MODELS_FILE).exists():
        return [], []
    try:
        with closing(open_read_models(settings)) as models:
            positions = models.positions()
    except SQLAlchemyError as error:
        return [], [f"the read models are unreadable ({words_of(error)}) and were not used as a witness of the log"]
    return [Witness(f"read model {each['name']}", each["generation"], each["position"]) for each in positions], []


def _show_verified(found: "Verified", folder: Path) -> None:
    say(
        f"{found.head:,} events, {found.payloads:,} payloads, {found.checkpoints} earlier checkpoint(s), "
        f"{found.maps} map(s) of stream ends"
        + (f" ({found.maps_passed:,} passed over: --full)" if found.maps_passed else "")
        + f", {found.events_per_s:,} events/s"
        + (f"; {found.opened:,} sealed blocks opened" if found.opened else "")
        + (f"; {found.forgotten:,} without a key" if found.forgotten else "")
    )
    for note in found.notes:
        say(f"note: {note}")
    _show_wrong([f"{problem.kind}: {problem.text}" for problem in found.problems], found.more)
    if found.ok:
        show(f"[green]✓[/green] nothing was changed 未被篡改 · generation {found.generation} · root {found.root}")
        if found.written:
            say(f"checkpoint: {found.written}")
        if not found.checkpoints:
            say(f"this is the first checkpoint: keep a copy of {folder} where nobody who can write here can write")


def _show_wrong(wrong: list[str], more: int) -> None:
    for text in wrong[:SHOWN_MAX]:
        show(f"[red]✗[/red] {escape(text)}")
    left = len(wrong) - SHOWN_MAX + more
    if left > 0:
        show(f"[red]✗[/red] … and {left} more (--json)")


def _plain(value: Any, most: int = _TEXT_MAX) -> str:
    import msgspec  # noqa: PLC0415

    if value is None:
        return "—"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= most else text[: most - 1] + "…"
