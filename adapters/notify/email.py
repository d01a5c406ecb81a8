"""E-mail over SMTP (RFC 5321), encrypted from the beginning (`smtps://`) or by STARTTLS (`smtp://`, RFC 3207).

The Message-ID is made of the note's key: the same note sent twice is one message to whoever compares (RFC 5322, 3.6.4).
It says that it was made by a program (RFC 3834), so that nobody's absence is answered.
"""

import asyncio
import smtplib
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final, Never
from urllib.parse import urlsplit

from adapters.notify.answers import OK
from adapters.notify.receivers import Receiver
from adapters.platforms.connection import Keys
from domain.notices import Note
from domain.platforms import NotAuthorised, OutcomeUnknown, PlatformBusy, PlatformRefused

_PORTS: Final = {"smtp": 587, "smtps": 465}
_TIMEOUT_S: Final = 15.0
_FOR_GOOD: Final = 500
"""From here on an answer is a refusal; below, "not now"."""


class Mailer:
    """A mail server and who gets the mail. The port `domain.notices.Notifier`."""

    def __init__(self, receiver: Receiver, keys: Keys, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        parts = urlsplit(receiver.url)
        self._to = receiver.addresses
        self._from = receiver.options["from"]
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._at_once = parts.scheme == "smtps"
        self._tls = self._at_once or receiver.options.get("tls", "starttls") == "starttls"
        self._ca = receiver.options.get("ca")
        self._user = receiver.options.get("user", "")
        self._password = keys.secret("password") if self._user else ""
        self._now_ms = now_ms

    async def send(self, note: Note, numbers: Sequence[str] = ()) -> str:
        """Send; see `Notifier.send`. The Message-ID is the reference."""
        del numbers
        message = self._message(note)
        await asyncio.to_thread(self._deliver, message.as_bytes())
        return str(message["Message-ID"])

    async def knows(self, note: Note, tried_ms: int, numbers: Sequence[str] = ()) -> bool | None:
        """Return False: a message with the same id may be sent again."""
        del note, tried_ms, numbers
        return False

    async def close(self) -> None:
        """Do nothing: each message has a connection of its own."""

    def _message(self, note: Note) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["Subject"] = note.title
        message["From"] = self._from
        message["To"] = ", ".join(self._to)
        message["Date"] = datetime.fromtimestamp(self._now_ms() // 1000, UTC)
        message["Message-ID"] = f"<{note.key}@{self._from.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(note.text + "\n", charset="utf-8")
        return message

    def _deliver(self, raw: bytes) -> None:
        try:
            server = self._connected()
        except (OSError, smtplib.SMTPException) as error:
            self._before(error)
        try:
            try:
                self._envelope(server)
            except (OSError, smtplib.SMTPException) as error:
                self._before(error)
            try:
                code, said = server.data(raw)
            except smtplib.SMTPDataError as error:
                # Refused before the first byte of the message.
                self._answered(error.smtp_code, error.smtp_error)
            except (OSError, smtplib.SMTPException) as error:
                raise OutcomeUnknown(f"{self._host} did not say whether it took the mail: {_name(error)}") from None
            if code not in OK:
                self._answered(code, said)
        finally:
            server.close()

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context(cafile=self._ca) if self._tls else None
        if self._at_once:
            assert context is not None
            return smtplib.SMTP_SSL(self._host, self._port, timeout=_TIMEOUT_S, context=context)
        server = smtplib.SMTP(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            if context is not None:
                server.starttls(context=context)
        except BaseException:
            server.close()
            raise
        return server

    def _envelope(self, server: smtplib.SMTP) -> None:
        """Say who we are, and from whom to whom; one address that is refused for good refuses the mail."""
        if self._user:
            server.login(self._user, self._password)
        server.ehlo_or_helo_if_needed()
        code, said = server.mail(self._from)
        if code not in OK:
            self._answered(code, said)
        for place, address in enumerate(self._to, 1):
            code, said = server.rcpt(address)
            if code not in OK:
                self._answered(code, said, f"address {place} of the receiver")

    def _before(self, error: Exception) -> Never:
        """Raise what an error means that came before the message was sent. Its text may hold addresses: not told."""
        match error:
            case smtplib.SMTPAuthenticationError() if error.smtp_code >= _FOR_GOOD:
                raise NotAuthorised(f"{self._host} does not let us in ({error.smtp_code})", "look at user and password")
            case smtplib.SMTPNotSupportedError():
                raise NotAuthorised(
                    f"{self._host} offers no STARTTLS or no login", "use smtps://, or --option tls=none"
                )
            case ssl.SSLCertVerificationError():
                raise NotAuthorised(
                    f"the certificate of {self._host} cannot be trusted: {error.verify_message}",
                    "name the server as its certificate does; --option ca=FILE for an authority of your own",
                )
            case smtplib.SMTPResponseException() if error.smtp_code != -1:
                self._answered(error.smtp_code, error.smtp_error)
        raise PlatformBusy(f"{self._host} cannot be reached: {_name(error)}") from None

    def _answered(self, code: int, said: bytes | str, what: str = "the mail") -> Never:
        del said  # servers quote addresses
        reason = f"{self._host} answered {code} to {what}"
        if code < _FOR_GOOD:
            raise PlatformBusy(reason) from None
        raise PlatformRefused(reason, "look at the receiver's addresses and --option from", code=str(code)) from None


def _name(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
