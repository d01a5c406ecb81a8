"""Preparing payloads in a process of its own, so that translation and sealing use a core the worker does not.

`python -m runners.prepare --data DIR` is started by the worker and speaks with it over its standard input and output,
in frames of MessagePack behind their length. It keeps nothing and writes nothing: the same job gives the same result
here and in the worker, which does the work itself where a batch is small or this process has died.
"""

import argparse
import asyncio
import contextlib
import fcntl
import struct
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO

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
from runners.bootstrap import channels
from runners.engine import Opened
from runners.preparing import Preparer, Ready
from runners.settings import Settings, load_settings

WORTH_IT = 32
"""Fewer payloads than this are prepared where they are needed: the way there and back would cost more."""
PIPE_BYTES = 1 << 20
"""What Linux lets anybody ask for."""

log = structlog.get_logger()
_LENGTH = struct.Struct(">I")


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

    def __init__(self, settings: Settings, digest_key: bytes) -> None:
        """Describe it; it is started when there is work for it."""
        self._settings = settings
        self._digest_key = digest_key
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(1, "prepare")
        self._told: dict[str, InForce] = {}
        """The field mappings that the process knows to be in force, beside those that ship."""
        self._told_rules = NO_RULES

    async def prepare(
        self, opened: Opened, in_force: Mapping[str, InForce], rules: Rules = NO_RULES
    ) -> dict[int, Ready]:
        """Prepare the payloads of many messages, by sequence, by their channels' field mappings and the rules.

        None of them where they are few, or where the helper died of it: the engine then does the work itself.
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
            # What it answers from now on would be taken for the answer to the next question.
            self._let_go()
            raise
        if done is None:
            log.warning("prepare.died", payloads=len(jobs))
            return {}
        return {
            seq: ready(mail.to, result, in_force.get(body.channel, SHIPPED))
            for (seq, mail, body), result in zip(todo, done, strict=True)
        }

    def _ask(self, jobs: list[Job], in_force: Mapping[str, InForce], rules: Rules) -> list[Done] | None:
        process = self._process
        try:
            if process is None:
                self._process = process = self._start()
                self._told, self._told_rules = {}, NO_RULES
            assert process.stdin is not None
            assert process.stdout is not None
            news = {name: its for name, its in in_force.items() if its != self._told.get(name, SHIPPED)}
            frame = _encode(Frame(jobs, news, None if rules == self._told_rules else rules))
            self._told.update(news)
            self._told_rules = rules
            process.stdin.write(_LENGTH.pack(len(frame)) + frame)
            process.stdin.flush()
            return _done.decode(_frame(process.stdout))
        except (OSError, ValueError):
            self._kill(process)
            _close(process)
            return None

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "runners.prepare", "--data", self._settings.data]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603  our own module
        assert process.stdin is not None
        assert process.stdout is not None
        for pipe in (process.stdin, process.stdout):
            _widen(pipe.fileno())
        process.stdin.write(_LENGTH.pack(len(self._digest_key)) + self._digest_key)
        return process

    async def close(self) -> None:
        """End the helper."""
        self._let_go()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    def _let_go(self) -> None:
        """End the helper; its pipes are closed by the thread that reads and writes them."""
        process = self._process
        self._kill(process)
        self._thread.submit(_close, process)

    def _kill(self, process: "subprocess.Popen[bytes] | None" = None) -> None:
        """End the helper, or, of several, this one; whoever waits for it notices."""
        process = process or self._process
        if process is None:
            return
        if self._process is process:
            self._process = None
        process.kill()
        process.wait()


def _close(process: "subprocess.Popen[bytes] | None") -> None:
    for pipe in (process.stdin, process.stdout) if process is not None else ():
        if pipe is not None:
            with contextlib.suppress(OSError):  # what it had not read yet
                pipe.close()


def _widen(pipe: int) -> None:
    """Let a pipe hold a whole frame where the system allows it: each side then waits for the other less often."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _frame(source: IO[bytes]) -> bytes:
    """Read one frame; b"" when the worker is gone."""
    head = source.read(_LENGTH.size)
    return source.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""


def main() -> int:
    """Serve the worker until it closes the pipe; it does so by dying, too."""
    parser = argparse.ArgumentParser(prog="python -m runners.prepare", description=__doc__)
    parser.add_argument("--data", required=True, help="data directory of the cell")
    settings = load_settings(parser.parse_args().data)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    preparer = Preparer(channels(settings), _frame(source), zone=settings.zone)
    in_force: dict[str, InForce] = {}
    rules = NO_RULES
    while raw := _frame(source):
        frame = _frames.decode(raw)
        in_force.update(frame.mappings)
        rules = frame.rules or rules
        preparer.begin_batch()
        answer = _encode([do(preparer, job, in_force.get(job.channel, SHIPPED), rules) for job in frame.jobs])
        sink.write(_LENGTH.pack(len(answer)) + answer)
        sink.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
