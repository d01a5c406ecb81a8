"""A simulated mail server on loopback (RFC 5321): takes mail, and fails as it is told to."""

import asyncio
import base64
import contextlib
import email
import email.policy
import ssl
from collections import deque
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Literal

from adapters.simulators.told import Message

Fault = Literal["busy", "refuse", "no_sender", "cut_before", "cut_after", "timeout_after", "bad_password"]
"""`busy` 421 at the greeting; `refuse` 550 to the addresses; `no_sender` 550 to the sender; `cut_…` before or after the
mail was taken; `timeout_after` taken, and never answered; `bad_password` 535."""


class SimMailbox:
    """A mail server with one mailbox for all."""

    def __init__(
        self, tls: ssl.SSLContext | None = None, *, at_once: bool = False, user: str = "", password: str = ""
    ) -> None:
        self._tls = tls
        self._at_once = at_once
        self._login = base64.b64encode(f"\0{user}\0{password}".encode()).decode() if user else ""
        self.faults: deque[Fault] = deque()
        self.taken: list[Message] = []
        self.encrypted: list[bool] = []
        """Of each mail that was taken, whether it came over an encrypted line."""
        self.closing = asyncio.Event()

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[int]:
        """Serve on a free port of loopback; yield the port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls if self._at_once else None)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            self.closing.set()
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            await self._talk(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self.faults.popleft() if self.faults else None
        encrypted, let_in, to = self._at_once, not self._login, list[str]()
        writer.write(b"421 busy\r\n" if fault == "busy" else b"220 simulated\r\n")
        while line := (await reader.readline()).decode("latin-1").strip():
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO":
                    offers = ["simulated", "8BITMIME"]
                    offers += ["STARTTLS"] if self._tls is not None and not encrypted else []
                    offers += ["AUTH PLAIN"] if self._login and encrypted else []
                    said = "\r\n".join(
                        f"250{' ' if at == len(offers) else '-'}{each}" for at, each in enumerate(offers, 1)
                    )
                case "STARTTLS":
                    assert self._tls is not None
                    writer.write(b"220 go on\r\n")
                    await writer.start_tls(self._tls)
                    encrypted = True
                    continue
                case "AUTH":
                    let_in = fault != "bad_password" and rest.partition(" ")[2] == self._login
                    said = "235 let in" if let_in else "535 wrong"
                case "MAIL":
                    said = "530 log in" if not let_in else "550 no such sender" if fault == "no_sender" else "250 ok"
                case "RCPT":
                    to.append(rest.partition(":")[2].strip("<>"))
                    said = f"550 {to[-1]} unknown" if fault == "refuse" else "250 ok"
                case "DATA":
                    if fault == "cut_before":
                        return
                    writer.write(b"354 go on\r\n")
                    self._take(await self._body(reader), to)
                    self.encrypted.append(encrypted)
                    if fault == "timeout_after":
                        await self.closing.wait()
                    if fault in ("cut_after", "timeout_after"):
                        return
                    said = "250 taken"
                case "QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                case _:
                    said = "502 not known"
            writer.write(said.encode() + b"\r\n")

    async def _body(self, reader: asyncio.StreamReader) -> bytes:
        lines = []
        while (line := await reader.readline()) != b".\r\n":
            if not line:
                raise ConnectionResetError
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    def _take(self, raw: bytes, to: list[str]) -> None:
        mail = email.message_from_bytes(raw, EmailMessage, policy=email.policy.default)
        text = mail.get_content().replace("\r\n", "\n")
        self.taken.append(Message(str(mail["Subject"]), text, tuple(to), str(mail["Message-ID"]), extra=mail))
