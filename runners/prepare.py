"""Preparing payloads in a process of its own, so that translation and sealing use a core the worker does not.

`python -m runners.prepare --data DIR` is started by the worker and speaks with it in frames of MessagePack (see
`runners.beside`). It keeps nothing and writes nothing: the same job gives the same result here and in the worker, which
does the work itself where a batch is small, while this process starts, and where it has died.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec
import structlog

from domain.canonical import Return, Snapshot
from domain.cell import Returned, Taken, Untranslatable, judged_beforehand
from domain.mail import ChannelPayload
from domain.mapping import SHIPPED, InForce
from domain.order import TakeSnapshot
from domain.ports import Payload
from domain.rulebook import SHIPPED as NO_RULES
from domain.rulebook import InForce as Rules
from domain.rulings import UNRULED, Ruling
from runners.beside import Beside, Gone, serve
from runners.bootstrap import channels
from runners.engine import Opened
from runners.preparing import Preparer, Ready
from runners.settings import Settings, load_settings

MODULE = "runners.prepare"
WORTH_IT = 32
"""Fewer payloads than this are prepared where they are needed: the way there and back would cost more."""
TIMEOUT_S = 30.0
"""A helper that takes longer for a batch hangs on it; the worker then does the work, and is watched itself."""

log = structlog.get_logger()


class Job(msgspec.Struct, array_like=True, gc=False):
    """One payload to prepare."""

    channel: str
    shop: str
    stream: str
    raw: bytes
    key: bytes
    observed_at: int = 0
    """Of its message, UTC ms."""


class Frame(msgspec.Struct, array_like=True, gc=False):
    """Some payloads to prepare, and what has changed since the frame before."""

    jobs: list[Job]
    mappings: dict[str, InForce] = {}
    """Channel → the field mapping that is in force from this frame on."""
    rules: Rules | None = None
    """The rule book that is in force from this frame on; None = still the same."""


class Done(msgspec.Struct, array_like=True, gc=False):
    """What became of a job. JSON where a big number must survive."""

    sealed_raw: bytes
    payload: str
    """Digest of `sealed_raw`, hex."""
    snapshot: bytes = b""
    """JSON of the canonical snapshot; empty if it could not be translated, or is a return."""
    digest: str = ""
    address: str = ""
    sealed: bytes = b""
    goods: bytes = b""
    """JSON of the return."""
    failure: tuple[str, str, str] = ("", "", "")
    flaws: tuple[str, ...] = ()
    ruling: bytes = b""
    """JSON of what the rule book says of the order; empty = nothing."""


_encode = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode
_frames = msgspec.msgpack.Decoder(Frame)
_done = msgspec.msgpack.Decoder(list[Done])
_returns = msgspec.json.Decoder(Return)
_snapshots = msgspec.json.Decoder(Snapshot)
_rulings = msgspec.json.Decoder(Ruling)


def do(preparer: Preparer, job: Job, in_force: InForce = SHIPPED, rules: Rules = NO_RULES) -> Done:
    """Prepare one payload and ask the rule book of it: most find the same one in force when their turn comes."""
    body = ChannelPayload(job.channel, job.shop, "")
    made = preparer.payload(body, job.stream, job.raw, job.key, "", in_force)
    prepared, payload = made.prepared, made.payload
    assert payload is not None, "only a payload that is known already is not kept"
    kept = payload.sealed, payload.digest.hex()
    if isinstance(prepared, Taken):
        taken = prepared.command
        ruling = judged_beforehand(taken.snapshot, taken.flaws, job.observed_at, rules)
        told = b"" if ruling is UNRULED else _json(ruling)
        view = _json(taken.snapshot)
        return Done(*kept, view, taken.digest, taken.address, taken.sealed, flaws=taken.flaws, ruling=told)
    if isinstance(prepared, Returned):
        return Done(*kept, goods=_json(prepared.goods))
    return Done(*kept, failure=(prepared.reason, prepared.where, prepared.advice))


def ready(stream: str, done: Done, in_force: InForce = SHIPPED) -> Ready:
    """Return a job's result as the engine takes it."""
    payload = Payload(bytes.fromhex(done.payload), stream, done.sealed_raw)
    if done.snapshot:
        snapshot = _snapshots.decode(done.snapshot)
        read = snapshot, done.digest, done.address, done.payload, done.sealed, in_force.version
        ruling = _rulings.decode(done.ruling) if done.ruling else UNRULED
        command = TakeSnapshot(*read, flaws=done.flaws, ruling=ruling)
        return Ready(Taken(command), payload, in_force)
    if done.goods:
        return Ready(Returned(_returns.decode(done.goods), done.payload), payload, in_force)
    return Ready(Untranslatable(*done.failure, done.payload, in_force.version), payload, in_force)


class Helper:
    """The worker's side: one helper process, jobs in, results out, in order.

    It is spoken with in a thread of its own: while the worker decides a batch its event loop stands still, and a
    frame is many times larger than what a pipe holds.
    """

    def __init__(self, beside: Beside, digest_key: bytes) -> None:
        """Tell the process what it needs; where it does not run, it is started when there is work for it."""
        self._beside = beside
        beside.greet(digest_key)
        self._thread = ThreadPoolExecutor(1, "prepare")
        self._told: dict[str, InForce] = {}
        """The field mappings that the process knows to be in force, beside those that ship."""
        self._told_rules = NO_RULES
        self._life = 0
        """Which of its lives was told."""

    async def prepare(
        self, opened: Opened, in_force: Mapping[str, InForce], rules: Rules = NO_RULES
    ) -> dict[int, Ready]:
        """Prepare the payloads of many messages, by sequence, by their channels' field mappings and the rules.

        None where they are few, while the helper starts, or where it died: the engine then does the work itself.
        """
        todo = opened.jobs()
        if len(todo) < WORTH_IT:
            return {}
        jobs = [
            Job(body.channel, body.shop, mail.to, body.raw, opened.keys[mail.to], mail.observed_at)
            for _, mail, body in todo
        ]
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, jobs, in_force, rules)
        except asyncio.CancelledError:
            self._beside.kill()  # nobody waits for its answer, and it may hang
            raise
        if done is None:
            return {}
        return {
            seq: ready(mail.to, result, in_force.get(body.channel, SHIPPED))
            for (seq, mail, body), result in zip(todo, done, strict=True)
        }

    def _ask(self, jobs: list[Job], in_force: Mapping[str, InForce], rules: Rules) -> list[Done] | None:
        if not self._beside.ready():
            return None
        if self._life != self._beside.lives:
            self._life, self._told, self._told_rules = self._beside.lives, {}, NO_RULES
        news = {name: its for name, its in in_force.items() if its != self._told.get(name, SHIPPED)}
        frame = _encode(Frame(jobs, news, None if rules == self._told_rules else rules))
        self._told.update(news)
        self._told_rules = rules
        try:
            return _done.decode(self._beside.ask(frame, TIMEOUT_S))
        except (Gone, msgspec.MsgspecError) as trouble:
            log.warning("prepare.died", payloads=len(jobs), reason=str(trouble))
            self._beside.close()
            return None

    async def close(self) -> None:
        """End the helper."""
        self._beside.kill()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._beside.close)
        await loop.run_in_executor(None, self._thread.shutdown)


def program(settings: Settings) -> None:
    """Serve the worker until it closes the pipe; it does so by dying, too."""

    def begin(digest_key: bytes) -> Callable[[bytes], bytes]:
        preparer = Preparer(channels(settings), digest_key, zone=settings.zone)
        in_force: dict[str, InForce] = {}
        rules = NO_RULES

        def answer(question: bytes) -> bytes:
            nonlocal rules
            frame = _frames.decode(question)
            in_force.update(frame.mappings)
            rules = frame.rules or rules
            preparer.begin_batch()
            return _encode([do(preparer, job, in_force.get(job.channel, SHIPPED), rules) for job in frame.jobs])

        return answer

    serve(begin)


def main() -> int:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    program(load_settings(parser.parse_args().data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
