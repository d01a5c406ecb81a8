"""`backup` and `restore`: a consistent copy while everything runs, the keys apart, and the way back."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from runners.audited import checkpoints_of
from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    directory_named,
    print_json,
    quiet_log,
    say,
    settings_of,
)


def backup(
    target: Annotated[
        Path, Parameter(name="PLACE", help="A new directory, or a new file where the name ends in .tar.")
    ],
    /,
    *,
    keys: Annotated[
        Path | None, Parameter(help="File for the keys; `PLACE.keys` if left out. Keep it elsewhere.")
    ] = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Copy the log while it runs, and the keys into a file of their own.

    Read models and feeds are not in it: they are made again from the log.
    """
    from runners.backup import BackupError, NoPlace, make_backup  # noqa: PLC0415

    settings = settings_of(data)
    if not target.name:
        raise Failure(
            Exit.USAGE, f"{target} is no place for a backup: name a new directory, or a new file ending in .tar"
        )
    keys = keys or target.with_name(target.name + ".keys")
    try:
        manifest = make_backup(settings, target, keys)
    except NoPlace as error:
        raise Failure(Exit.USAGE, str(error)) from error
    except OSError as error:
        raise Failure(Exit.USAGE, f"{target} cannot be written: {error.strerror or error}") from error
    except BackupError as error:
        raise Failure(Exit.REFUSED, str(error)) from error
    if json:
        print_json({"backup": str(target), "keys": str(keys) if manifest.keys else None, "manifest": manifest})
        return Exit.OK
    size = sum(file.bytes for file in manifest.files.values())
    say(f"{target}: {manifest.head:,} events, {size / 1e6:,.1f} MB, root {manifest.root}")
    if manifest.keys is not None:
        say(
            f"{keys}: the keys. Move it to another place than the backup: together they tell all personal data, and "
            "without it the backup's personal data stays closed"
        )
    return Exit.OK


def restore(
    place: Annotated[Path, Parameter(name="BACKUP", help="What `orderspine backup` made.")],
    /,
    *,
    data: Annotated[
        Path, Parameter(converter=directory_named, help="Data directory to make; must not be there, or be empty.")
    ],
    keys: Annotated[Path | None, Parameter(help="The file of keys; without it personal data shows as missing.")] = None,
    checkpoints: Annotated[
        Path | None, Parameter(help="Folder of signed checkpoints; `<data>.checkpoints` if left out.")
    ] = None,
    erasures: Annotated[
        Path | None,
        Parameter(help="The register of who was forgotten; `erasures-<cell>.jsonl` in the checkpoints if left out."),
    ] = None,
    json: JsonOption = False,
) -> Exit:
    """Bring a backup back into a new data directory, as a new generation of the log."""
    from domain.ports import LogDamaged  # noqa: PLC0415
    from runners.backup import BackupError, NoPlace  # noqa: PLC0415
    from runners.backup import restore as bring_back  # noqa: PLC0415
    from runners.settings import Settings  # noqa: PLC0415

    quiet_log()
    folder = checkpoints or checkpoints_of(Settings(str(data)))
    if erasures is not None and not erasures.is_file():
        raise Failure(Exit.USAGE, f"{erasures} is no register of erasures")
    try:
        restored = bring_back(place, data, keys, folder, erasures)
    except NoPlace as error:
        raise Failure(Exit.USAGE, str(error)) from error
    except (BackupError, LogDamaged) as error:
        raise Failure(Exit.REFUSED, str(error)) from error
    if json:
        print_json(restored)
        return Exit.OK
    manifest = restored.manifest
    say(f"{data}: {manifest.head:,} events, as the manifest says; log generation {restored.generation}")
    say(f"checkpoint: {restored.checkpoint}")
    for note in restored.notes:
        say(f"note: {note}")
    say(
        "read models, feeds and documents are built anew from the log on the next `orderspine up`; what came in after "
        "the backup comes back by asking the channels again (ingest it again: what is known changes nothing)"
    )
    return Exit.OK
