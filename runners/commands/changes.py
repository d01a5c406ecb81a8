"""Documents that commands put in force, a channel's mapping and the rule book: which ones were, and since when."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

from runners.commands.common import Exit, escape, print_json, say, show, table

if TYPE_CHECKING:
    from runners.settings import Settings


def changes_of(settings: "Settings", key: str, until_ms: int | None = None) -> tuple[Any, list[dict[str, Any]]]:
    """Return what is in force by the log (or was then), and the changes up to it; what ships where there is no log."""
    from datetime import datetime  # noqa: PLC0415

    from domain.catalogue import decode_event  # noqa: PLC0415
    from domain.cell import DECIDERS  # noqa: PLC0415
    from domain.envelope import decode_envelope  # noqa: PLC0415
    from domain.ids import kind_of  # noqa: PLC0415
    from domain.timehub import zone_of  # noqa: PLC0415
    from runners.bootstrap import LOG_FILE, open_log  # noqa: PLC0415

    decider, zone = DECIDERS[kind_of(key)], zone_of(settings.zone)
    state, changes = decider.initial, list[dict[str, Any]]()
    if not settings.postgres and not (settings.path / LOG_FILE).exists():
        return state.in_force, changes
    with closing(open_log(settings, read_only=True)) as log:
        events = log.select(key)
    for event in events:
        envelope = decode_envelope(event.envelope)
        if until_ms is not None and envelope.at > until_ms:
            break
        facts = decode_event(event.tag, event.data)
        state = decider.evolve(state, facts)
        at = datetime.fromtimestamp(envelope.at / 1000, zone).isoformat(timespec="seconds")
        by = f"{envelope.by.kind} {envelope.by.id}".strip()
        told = {name: getattr(facts, name) for name in ("version", "reason", "digest", "text") if hasattr(facts, name)}
        changes.append({"position": event.position, "at": at, "by": by, "tag": event.tag, **told})
    return state.in_force, changes


def show_changes(changes: list[dict[str, Any]], never: str, *, json: bool) -> Exit:
    """Show changes; `never` says what is in force where there are none."""
    if json:
        print_json(changes)
        return Exit.OK
    made = table("version", "when", "who", "why", "position", right=("version", "position"))
    for each in changes:
        version = str(each["version"]) if "version" in each else "refused"
        made.add_row(version, each["at"], escape(each["by"]), escape(each["reason"]), str(each["position"]))
    show(made)
    if not changes:
        say(f"never changed: {never}")
    return Exit.OK
