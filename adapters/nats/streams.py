"""The streams and buckets of a cell: made, described, purged and checked through JetStream's own API.

nats-py's stream configuration knows neither `first_seq` nor `allow_atomic`, so the requests are made here.
"""

import asyncio
import re
from datetime import datetime
from typing import Any

import msgspec
import nats.errors

from adapters.nats.connection import Connection, api
from adapters.nats.errors import ApiRefused, BrokerUnavailable

INCARNATION = "orderspine_incarnation"
"""Key in the stream's metadata: names this life of the mail."""
STREAM_NOT_FOUND = 10059
STREAM_NAME_IN_USE = 10058
INVALID_CONFIG = 10052
ASYNC = {"persist_mode": "async", "duplicate_window": 100_000_000}
"""Answered before it is synced (ADR-56 of nats.io): for streams of one replica without atomic batches. Set for ever.
Names of messages serve to chain them; they are never the same twice, so the server keeps them for its least time."""
MESSAGE_NOT_FOUND = "404"
OVERWRITTEN_MAX = 300
"""Each takes a sync of the server's. Where more go at once, its files of at most 8 MB soon go whole."""
OVERWRITTEN_AT_ONCE = 50
_CELL = re.compile(r"[A-Za-z0-9_-]{1,64}")


class MailInfo(msgspec.Struct, frozen=True):
    """What the broker says of a cell's mail."""

    incarnation: str
    """"" if somebody else made the stream."""
    first_seq: int
    """Sequence of the oldest message kept; last_seq + 1 in an empty stream."""
    last_seq: int
    """Sequence of the newest message ever stored in this life; first_seq - 1 before the first one."""
    messages: int
    bytes: int
    max_bytes: int


def mail_stream(cell: str) -> str:
    """Name of the stream of a cell's mail."""
    return f"MAIL_{_checked(cell)}"


def events_stream(cell: str) -> str:
    """Name of the stream with the public events of a cell."""
    return f"EVENTS_{_checked(cell)}"


def quarantine_stream(cell: str) -> str:
    """Name of the stream with copies of what nobody could handle."""
    return f"QUARANTINE_{_checked(cell)}"


def kv_stream(bucket: str) -> str:
    """Name of the stream below a key-value bucket."""
    return f"KV_{_checked(bucket)}"


async def ensure_mail(
    nc: Connection, cell: str, *, incarnation: str, first_seq: int, max_bytes: int, replicas: int = 1
) -> MailInfo:
    """Make the mail stream if there is none; return what is there.

    A stream that is there keeps its own incarnation and sequences (compare them); only its limits are brought up to
    date.
    Full means full: the stream refuses new mail and never drops old.
    """
    config = {
        "name": mail_stream(cell),
        "subjects": [f"mail.{cell}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_bytes": max_bytes,
        "num_replicas": replicas,
        "allow_direct": True,
        "allow_atomic": True,
    }
    first = {"first_seq": max(1, first_seq), "metadata": {INCARNATION: incarnation}}
    return _mail_info(await _ensure(nc, config, on_create=first))


async def recreate_mail(
    nc: Connection, cell: str, *, incarnation: str, first_seq: int, max_bytes: int, replicas: int = 1
) -> MailInfo:
    """Begin a new life of the mail: what the stream still holds is dropped, numbering goes on at `first_seq`."""
    try:
        await api(nc, f"STREAM.DELETE.{mail_stream(cell)}")
    except ApiRefused as refused:
        if refused.code != STREAM_NOT_FOUND:
            raise
    return await ensure_mail(
        nc, cell, incarnation=incarnation, first_seq=first_seq, max_bytes=max_bytes, replicas=replicas
    )


async def ensure_events(nc: Connection, cell: str, *, max_bytes: int, replicas: int = 1) -> None:
    """Make the stream of public events; when it is full the oldest go (the log replays them)."""
    await _ensure_derived(nc, _feed(events_stream(cell), f"events.{cell}.>", max_bytes, replicas))


async def ensure_quarantine(nc: Connection, cell: str, *, max_bytes: int, replicas: int = 1) -> None:
    """Make the stream with copies of quarantined messages; when it is full the oldest go."""
    config = _feed(quarantine_stream(cell), f"quarantine.{cell}.>", max_bytes, replicas)
    await _ensure(nc, config | {"allow_atomic": True})


async def ensure_kv(nc: Connection, bucket: str, *, max_bytes: int = -1, ttl_s: float = 0.0, replicas: int = 1) -> None:
    """Make a key-value bucket (latest value only) that takes atomic batches. `ttl_s` > 0 lets values expire."""
    await _ensure(nc, _bucket(bucket, max_bytes, ttl_s, replicas) | {"allow_atomic": True})


async def ensure_documents(
    nc: Connection, bucket: str, *, told_on: str, max_bytes: int = -1, replicas: int = 1
) -> None:
    """Make the bucket of a read model, whose documents are made from rows again wherever it ends.

    The server tells each change on `<told_on>.<key>` as well.
    """
    republish = {"src": f"$KV.{bucket}.>", "dest": f"{told_on}.>"}
    await _ensure_derived(nc, _bucket(bucket, max_bytes, 0.0, replicas) | {"republish": republish})


class HowStored(msgspec.Struct, frozen=True):
    """How a stream stores, where it ends, and whether it is whole."""

    derived: bool
    """It answers before it has synced; it takes plain messages only."""
    last_seq: int
    messages: int
    """How many it holds."""
    missing: int
    """How many messages are gone from between the first and the last one."""


async def how_stored(nc: Connection, stream: str) -> HowStored | None:
    """Describe a stream as who publishes to it must know it; None if there is no such stream."""
    answer = await _stream_info(nc, stream)
    if answer is None:
        return None
    state = answer["state"]
    missing = state["last_seq"] + 1 - state["first_seq"] - state["messages"] if state["messages"] else 0
    return HowStored(_is_async(answer), state["last_seq"], state["messages"], missing)


def _is_async(answer: dict[str, Any]) -> bool:
    return bool(answer["config"].get("persist_mode") == ASYNC["persist_mode"])


def _bucket(bucket: str, max_bytes: int, ttl_s: float, replicas: int) -> dict[str, Any]:
    age_ns = round(ttl_s * 1e9)
    return {
        "name": kv_stream(bucket),
        "subjects": [f"$KV.{bucket}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_bytes": max_bytes,
        "max_msgs_per_subject": 1,
        "max_age": age_ns,
        "duplicate_window": min(age_ns, 120_000_000_000) or 120_000_000_000,
        "num_replicas": replicas,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": True,
    }


async def mail_info(nc: Connection, cell: str) -> MailInfo | None:
    """Describe the mail stream; None if the broker has none (never made, or wiped)."""
    answer = await _stream_info(nc, mail_stream(cell))
    return None if answer is None else _mail_info(answer)


async def last_seq(nc: Connection, stream: str) -> int | None:
    """Return the last sequence of any stream; None if there is no such stream."""
    answer = await _stream_info(nc, stream)
    return None if answer is None else int(answer["state"]["last_seq"])


async def _overwrite(nc: Connection, cell: str, seq: int) -> bool:
    """Have the server write chance over a message and delete it; False where it is gone already."""
    try:
        await api(nc, f"STREAM.MSG.DELETE.{mail_stream(cell)}", {"seq": seq, "no_erase": False})
    except ApiRefused:
        return False
    return True


async def purge_mail(nc: Connection, cell: str, upto: int) -> int:
    """Drop the messages up to and including `upto`; return how many that were. Later sequences stay as they are.

    A purge alone leaves the bytes in the server's file for as long as a later message shares it. Where they are few,
    they are overwritten first; where they are many, that file is soon full and goes whole.
    """
    if upto < 1:
        return 0
    info = await mail_info(nc, cell)
    overwritten = 0
    if info is not None and upto - info.first_seq < OVERWRITTEN_MAX:
        for begin in range(info.first_seq, upto + 1, OVERWRITTEN_AT_ONCE):
            going = range(begin, min(begin + OVERWRITTEN_AT_ONCE, upto + 1))
            overwritten += sum(await asyncio.gather(*(_overwrite(nc, cell, seq) for seq in going)))
    answer = await api(nc, f"STREAM.PURGE.{mail_stream(cell)}", {"seq": upto + 1})
    return overwritten + int(answer["purged"])


class Stored(msgspec.Struct, frozen=True):
    """A message as it lies in a stream."""

    seq: int
    time_ms: int
    """The broker's time stamp, UTC ms."""
    subject: str
    payload: bytes
    headers: dict[str, str]


async def get_stored(
    nc: Connection, stream: str, *, seq: int | None = None, last_on: str | None = None, timeout_s: float = 5.0
) -> Stored | None:
    """Return the message with a sequence, or the last one on a subject (wildcards allowed); None if there is none.

    Raises:
        BrokerUnavailable: no answer, or no such stream.
    """
    request = {"seq": seq} if last_on is None else {"last_by_subj": last_on}
    try:
        answer = await nc.request(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(request), timeout=timeout_s)
    except nats.errors.Error as error:
        raise BrokerUnavailable(f"cannot read {request} of {stream}: {error!r}") from error
    headers = answer.headers or {}
    if headers.get("Status") == MESSAGE_NOT_FOUND:
        return None
    if "Nats-Sequence" not in headers:
        raise BrokerUnavailable(f"cannot read {request} of {stream}: {headers}")
    return Stored(
        seq=int(headers["Nats-Sequence"]),
        time_ms=_ms(headers["Nats-Time-Stamp"]),
        subject=headers["Nats-Subject"],
        payload=answer.data,
        headers={key: value for key, value in headers.items() if not key.startswith("Nats-")},
    )


async def read_back(nc: Connection, cell: str, seq: int) -> bytes | None:
    """Return the payload of one message of the mail, to compare its digest; None if the broker does not have it."""
    stored = await get_stored(nc, mail_stream(cell), seq=seq)
    return None if stored is None else stored.payload


async def confirm_missing(nc: Connection, cell: str, from_: int, to: int) -> list[tuple[int, int]]:
    """Return which ranges of `from_`…`to` the broker says are gone for good (both ends included).

    Sequences above the stream's last are not gone: they have not been given yet in this life. A stream that does not
    exist confirms nothing (`mail_info` tells).
    """
    answer = await _stream_info(nc, mail_stream(cell), {"deleted_details": True})
    if answer is None:
        return []
    state = answer["state"]
    purged_to = min(to, state["first_seq"] - 1)
    gone = [(from_, purged_to)] if purged_to >= from_ else []
    for seq in sorted(state.get("deleted") or ()):
        if not max(from_, purged_to + 1) <= seq <= to:
            continue
        if gone and gone[-1][1] == seq - 1:
            gone[-1] = (gone[-1][0], seq)
        else:
            gone.append((seq, seq))
    return gone


def _feed(name: str, subject: str, max_bytes: int, replicas: int) -> dict[str, Any]:
    return {
        "name": name,
        "subjects": [subject],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_bytes": max_bytes,
        "num_replicas": replicas,
        "allow_direct": True,
    }


async def _ensure_derived(nc: Connection, config: dict[str, Any]) -> None:
    """Make a stream that can be made again, or bring an existing one up to date; how it stores stays as it is.

    With replicas, or where the server does not want it otherwise, it takes atomic batches, as synced streams do.
    """
    there = await _stream_info(nc, config["name"])
    if there is None and config["num_replicas"] == 1:
        try:
            there = await api(nc, f"STREAM.CREATE.{config['name']}", config | ASYNC)
        except ApiRefused as refused:
            if refused.code not in {STREAM_NAME_IN_USE, INVALID_CONFIG}:
                raise
            there = await _stream_info(nc, config["name"])
    await _ensure(nc, config | (ASYNC if there is not None and _is_async(there) else {"allow_atomic": True}))


async def _ensure(nc: Connection, config: dict[str, Any], on_create: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make the stream, or bring an existing one's settings up to date; settings not named stay as they are."""
    name = config["name"]
    there = await _stream_info(nc, name)
    if there is None:
        try:
            return await api(nc, f"STREAM.CREATE.{name}", config | (on_create or {}))
        except ApiRefused as refused:
            if refused.code != STREAM_NAME_IN_USE:
                raise
        there = await _stream_info(nc, name)  # somebody else was faster
        if there is None:
            raise BrokerUnavailable(f"stream {name} was made and dropped by somebody else")
    if any(there["config"].get(key) != value for key, value in config.items()):
        return await api(nc, f"STREAM.UPDATE.{name}", there["config"] | config)
    return there


async def _stream_info(nc: Connection, stream: str, request: Any = None) -> dict[str, Any] | None:
    try:
        return await api(nc, f"STREAM.INFO.{stream}", request)
    except ApiRefused as refused:
        if refused.code == STREAM_NOT_FOUND:
            return None
        raise


def _mail_info(answer: dict[str, Any]) -> MailInfo:
    state, config = answer["state"], answer["config"]
    return MailInfo(
        incarnation=(config.get("metadata") or {}).get(INCARNATION, ""),
        first_seq=max(state["first_seq"], state["last_seq"] + 1) if state["messages"] == 0 else state["first_seq"],
        last_seq=state["last_seq"],
        messages=state["messages"],
        bytes=state["bytes"],
        max_bytes=config["max_bytes"],
    )


def _ms(text: str) -> int:
    """RFC 3339 with up to nine decimals to UTC milliseconds."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return round(datetime.fromisoformat(whole + "+00:00").timestamp()) * 1000 + int((fraction + "000")[:3])


def _checked(name: str) -> str:
    if not _CELL.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a cell or bucket: letters, digits, `_` and `-`, up to 64")
    return name
