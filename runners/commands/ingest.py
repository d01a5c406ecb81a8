"""`ingest`: take in files, say what became of each order after its commit."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self

from cyclopts import Parameter

from runners.commands.common import (
    DATA_DEFAULT,
    DataOption,
    Exit,
    Failure,
    JsonOption,
    console,
    escape,
    outcome_word,
    print_json,
    settings_of,
    show,
    table,
)

if TYPE_CHECKING:
    from domain.mail import AsideReport, ChannelPayload, Mail, Reply
    from domain.ports import Channel
    from runners.cutting import Cut, Cutter
    from runners.handed_in import Document
    from runners.result_file import Answered, ResultFile
    from runners.settings import Settings

BATCH_MESSAGES_MAX = 500
BATCH_BYTES_MAX = 4 << 20
BATCHES_MAX = 4
"""Batches under way at once."""
REASONS_MAX = 1_000
"""Different reasons that are told apart."""
REASONS_SHOWN_MAX = 20
NAMES_SHOWN_MAX = 5
PLACES_MAX = 3
BAD = ("refused", "quarantined", "unmatched")


def ingest(
    *paths: Annotated[Path, Parameter(help="Files or folders: JSON, JSONL (one document a line), CSV.")],
    channel: Annotated[
        str, Parameter(help="Whose documents these are; told by their looks where it is left out.")
    ] = "",
    shop: Annotated[str, Parameter(help="The shop, where the documents themselves do not name one.")] = "",
    results: Annotated[
        Path | None,
        Parameter(
            help="Write a CSV here that says of every source row which order it is of and what became of it. The file "
            "must not be there yet; it is put there at the end, after Ctrl-C with what was answered until then."
        ),
    ] = None,
    data: DataOption = DATA_DEFAULT,
    json: JsonOption = False,
) -> Exit:
    """Take in orders from files: says accepted only after the commit; doing it twice changes nothing."""
    from runners.commands.mapping import cutting_channels  # noqa: PLC0415
    from runners.handed_in import files_under, name_of  # noqa: PLC0415

    if not paths:
        raise Failure(Exit.USAGE, "name the files or folders to take in, for example `orderspine ingest orders.csv`")
    settings = settings_of(data)
    known = cutting_channels(settings)
    if channel and channel not in known:
        raise Failure(Exit.USAGE, f"there is no channel {channel!r}; known are {', '.join(sorted(known))}")
    try:
        found = files_under(paths)
    except FileNotFoundError as error:
        raise Failure(Exit.USAGE, str(error)) from None
    tally = Tally(files=len(found.taken), skipped=[name_of(file.name) for file in found.passed])
    began = time.monotonic()
    # What was answered before a Ctrl-C is told all the same.
    with _results(results) as result_file, contextlib.suppress(KeyboardInterrupt):
        tally.results = result_file
        for file, why in found.unread:
            tally.add_unread(file, why)
        asyncio.run(_take_in(settings, found.taken, known, channel, shop, tally, quiet=json))
        tally.whole = True
    tally.seconds = time.monotonic() - began
    if json:
        print_json(tally.document())
    else:
        _show(tally)
    if not tally.whole:
        return Exit.INTERRUPTED
    return Exit.REFUSED if tally.bad or tally.unread else Exit.OK


@contextlib.contextmanager
def _results(file: Path | None) -> "Iterator[ResultFile | None]":
    """Begin the result file, before anything is sent.

    Raises:
        Failure: it is there already, or cannot be written.
    """
    from runners.result_file import ResultFile  # noqa: PLC0415

    if file is None:
        yield None
        return
    try:
        begun = ResultFile(file)
    except FileExistsError:
        raise Failure(Exit.USAGE, f"{file} is there already: name another file with --results") from None
    except OSError as error:
        raise Failure(Exit.USAGE, f"{file} cannot be written: {error.strerror or error}") from None
    with begun:
        yield begun


class Batch(NamedTuple):
    """Some messages that are sent at once."""

    cuts: "list[tuple[Path, Cut]]"
    """Each with the file that it is from."""
    size: int
    """Bytes of the files that they stand for."""


class Tally:
    """What became of it all."""

    def __init__(self, *, files: int = 0, skipped: Sequence[str] = ()) -> None:
        """Begin at nothing."""
        self.files = files
        self.skipped = list(skipped)
        self.documents = 0
        self.empty: list[str] = []
        """Files without a single document."""
        self.unread: list[tuple[str, str]] = []
        """(file, why) of those that could not be read to their end; what was read before is taken in."""
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """(channel, outcome)."""
        self.reasons: Counter[tuple[str, str, str]] = Counter()
        """(channel, outcome, reason)."""
        self.places: dict[tuple[str, str, str], list[str]] = {}
        self.whole = False
        """Whether it came to its end."""
        self.seconds = 0.0
        self.position = 0
        self.results: ResultFile | None = None

    @property
    def bad(self) -> int:
        """How many were refused or quarantined."""
        return sum(count for (_, outcome), count in self.outcomes.items() if outcome in BAD)

    def add_batch(self, number: int, cuts: "Sequence[tuple[Path, Cut]]", replies: "Sequence[Reply]") -> None:
        """Count the answers to a batch, and write them down where that is wanted."""
        for (_, cut), reply in zip(cuts, replies, strict=True):
            self.add(cut.mail, reply)
        if self.results is not None:
            told = zip(cuts, replies, strict=True)
            self.results.add(number, [_answered(file, cut, reply) for (file, cut), reply in told])

    def add_unread(self, file: Path, reason: str) -> None:
        """Note a file that could not be read to its end, or a folder that could not be looked into."""
        from runners.handed_in import name_of  # noqa: PLC0415
        from runners.result_file import Answered  # noqa: PLC0415

        self.unread.append((name_of(file.name), reason))
        if self.results is not None:
            self.results.add_last(
                Answered(name_of(file), (), "", "未读完 not read to its end", f"{reason}; take it in again")
            )

    def add(self, mail: "Mail", reply: "Reply") -> None:
        """Count one answer."""
        body: ChannelPayload | AsideReport = mail.body  # type: ignore[assignment]  # ingest mails nothing else
        self.outcomes[body.channel, reply.outcome] += 1
        reason = reply.reason or getattr(body, "reason", "")
        if not reason:
            return
        key = (body.channel, reply.outcome, reason)
        if key not in self.reasons and len(self.reasons) >= REASONS_MAX:
            key = (body.channel, reply.outcome, "(further reasons)")
        self.reasons[key] += 1
        places = self.places.setdefault(key, [])
        if len(places) < PLACES_MAX:
            places.append(mail.source_tag)

    def document(self) -> dict[str, Any]:
        """Return it for machines."""
        by_channel: dict[str, dict[str, int]] = {}
        for (channel, outcome), count in sorted(self.outcomes.items()):
            by_channel.setdefault(channel, {})[outcome] = count
        totals: Counter[str] = Counter()
        for (_, outcome), count in self.outcomes.items():
            totals[outcome] += count
        return {
            "whole": self.whole,
            "files": self.files,
            "skipped_files": self.skipped,
            "empty_files": self.empty,
            "unread_files": [{"file": name, "reason": reason} for name, reason in self.unread],
            "documents": self.documents,
            "messages": sum(self.outcomes.values()),
            "outcomes": dict(sorted(totals.items())),
            "channels": by_channel,
            "reasons": [
                {
                    "channel": channel,
                    "outcome": outcome,
                    "reason": reason,
                    "count": count,
                    "places": self.places[channel, outcome, reason],
                }
                for (channel, outcome, reason), count in self.reasons.most_common()
            ],
            "seconds": round(self.seconds, 3),
            "position": self.position,
        }


def _answered(file: Path, cut: "Cut", reply: "Reply") -> "Answered":
    from domain.mail import ChannelPayload  # noqa: PLC0415
    from runners.handed_in import name_of  # noqa: PLC0415
    from runners.result_file import Answered  # noqa: PLC0415

    body: ChannelPayload | AsideReport = cut.mail.body  # type: ignore[assignment]  # ingest mails nothing else
    key = cut.mail.to.removeprefix("order-") if isinstance(body, ChannelPayload) else _named(body)
    return Answered(
        name_of(file), cut.rows, key, outcome_word(reply.outcome), reply.reason or getattr(body, "reason", "")
    )


def _named(body: "AsideReport") -> str:
    """Return the order that something names without being its message."""
    from domain.ids import BadId, order_key  # noqa: PLC0415

    try:
        return order_key(body.channel, body.shop, body.order_no).removeprefix("order-") if body.order_no else ""
    except BadId:
        return ""


async def _take_in(
    settings: "Settings",
    files: Sequence[Path],
    known: "Mapping[str, Channel]",
    channel: str,
    shop: str,
    tally: Tally,
    *,
    quiet: bool,
) -> None:
    from runners.bootstrap import open_spool, open_vault  # noqa: PLC0415
    from runners.cutting import Cutter  # noqa: PLC0415
    from runners.post import Postman  # noqa: PLC0415

    size = 0
    for file in files:
        with contextlib.suppress(OSError):  # it is gone since it was listed, and is said to be when it is its turn
            size += file.stat().st_size
    async with Postman(settings, name="orderspine-ingest") as postman:
        with (
            contextlib.closing(open_vault(settings)) as vault,
            contextlib.closing(open_spool(settings, vault)) as spool,
        ):
            cutter = Cutter(known, spool, channel=channel, shop=shop)
            with _Progress(size, quiet=quiet) as progress:
                await _send_all(postman.send, batches(files, cutter, tally, _now_ms), tally, progress.advance)
        tally.position = postman.position


async def _send_all(
    send: Callable[[Sequence["Mail"]], Any],
    source: Iterator[Batch],
    tally: Tally,
    advance: Callable[[int], None],
) -> None:
    """Send batches, some at once; count each answer."""
    slots = asyncio.Semaphore(BATCHES_MAX)

    async def deliver(number: int, batch: Batch) -> None:
        try:
            tally.add_batch(number, batch.cuts, await send([cut.mail for _, cut in batch.cuts]))
            advance(batch.size)
        finally:
            slots.release()

    async with asyncio.TaskGroup() as group:
        for number, batch in enumerate(source):
            await slots.acquire()
            group.create_task(deliver(number, batch))
            await asyncio.sleep(0)  # cutting is work for the processor: let answers in between


def batches(files: Sequence[Path], cutter: "Cutter", tally: Tally, now_ms: Callable[[], int]) -> Iterator[Batch]:
    """Return the mail of files in batches of bounded size."""
    from runners.cutting import Cut, rows_of  # noqa: PLC0415

    cuts: list[tuple[Path, Cut]] = []
    size = read = 0
    for file, document in _documents(files, tally):
        tally.documents += 1
        read += document.size
        now = now_ms()
        found = (
            cutter.cut_rows(document.raw, document.source, now)
            if document.raw is not None
            else iter(
                (Cut(cutter.too_large(document.size, document.digest, document.source, now), rows_of(document.source)),)
            )
        )
        for cut in found:
            cuts.append((file, cut))
            size += len(cut.mail.body.raw)  # type: ignore[union-attr]  # both bodies that are cut carry bytes
            if len(cuts) >= BATCH_MESSAGES_MAX or size >= BATCH_BYTES_MAX:
                yield Batch(cuts, read)
                cuts, size, read = [], 0, 0
    if cuts or read:
        yield Batch(cuts, read)


def _documents(files: Sequence[Path], tally: Tally) -> "Iterator[tuple[Path, Document]]":
    """Return the documents of files; one that cannot be read stops none of the others."""
    from runners.handed_in import documents_of, name_of  # noqa: PLC0415

    for file in files:
        before = tally.documents
        try:
            for document in documents_of(file):
                yield file, document
        except OSError as error:
            tally.add_unread(file, error.strerror or str(error))
        else:
            if tally.documents == before:
                tally.empty.append(name_of(file.name))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class _Progress:
    """A progress bar on a terminal's stderr, nothing elsewhere."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        from rich.progress import Progress  # noqa: PLC0415

        err = console(stderr=True)
        self._bar = Progress(console=err, transient=True, disable=quiet or not err.is_terminal)
        self._task = self._bar.add_task("taking in", total=total or 1)

    def advance(self, size: int) -> None:
        """So many bytes are done."""
        self._bar.advance(self._task, size)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _show(tally: Tally) -> None:
    made = table("channel", "outcome", "count", title="What became of it", right=("count",))
    for (channel, outcome), count in sorted(tally.outcomes.items()):
        made.add_row(escape(channel), outcome_word(outcome), f"{count:,}")
    rate = sum(tally.outcomes.values()) / tally.seconds if tally.seconds else 0.0
    show(made, f"{tally.files:,} files, {tally.documents:,} documents, {tally.seconds:.1f} s ({rate:,.0f} messages/s)")
    if not tally.whole:
        show("interrupted: this is what was answered; take it in again for the rest (what is known changes nothing)")
    if tally.skipped:
        show(f"passed over, being no JSON, JSONL or CSV files: {_names(tally.skipped)}")
    if tally.empty:
        show(f"nothing stands in: {_names(tally.empty)}")
    for name, reason in tally.unread[:REASONS_SHOWN_MAX]:
        show(f"NOT read to its end: {escape(name)} ({escape(reason)}); take it in again")
    if not tally.reasons:
        return
    why = table("outcome", "count", "reason", "first places", title="Why", right=("count",))
    first = sorted(tally.reasons.most_common(), key=lambda pair: pair[0][1] not in BAD)
    for (channel, outcome, reason), count in first[:REASONS_SHOWN_MAX]:
        places = ", ".join(tally.places[channel, outcome, reason])
        why.add_row(outcome_word(outcome), f"{count:,}", escape(reason), escape(places))
    show(why)
    if len(first) > REASONS_SHOWN_MAX:
        show(f"and {len(first) - REASONS_SHOWN_MAX:,} further reasons (--json tells all of them)")
    outcomes = {outcome for _, outcome in tally.outcomes}
    if "quarantined" in outcomes:
        show("quarantined: `orderspine quarantine list` shows them, `orderspine quarantine resend` tries again")
    if "refused" in outcomes:
        show("refused: correct it at its source and take it in again; the bytes are kept with the reason")


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN_MAX:,} more" if len(names) > NAMES_SHOWN_MAX else ""
    return escape(", ".join(names[:NAMES_SHOWN_MAX])) + more
