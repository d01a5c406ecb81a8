"""The services of a data directory that are no shops: `carriers.json` and `payments.json`, lists of settings.

Neither file holds a secret, only where secrets are: in the environment or in a file that only its owner can read.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from adapters.carriers.settings import FILE as CARRIERS_FILE
from adapters.carriers.settings import TrackService
from adapters.payments.settings import FILE as PAYMENTS_FILE
from adapters.payments.settings import PLACE, PaymentService
from adapters.platforms.connection import BadSettings, Connection, is_name, is_place
from domain.ids import BadId, checked_part
from runners import settings_file
from runners.connection_keys import FileKeys

_URL = re.compile(r"https?://[^/\s?#]+(/[^\s?#]*)?")

S = TypeVar("S", TrackService, PaymentService)


class BadServices(BadSettings):
    """A file of services, or an entry in it, cannot be used: where, what is wrong, what to do."""


class Book(Generic[S]):
    """One kind of service: its file, its settings, and what they must be."""

    def __init__(self, verb: str, file: str, kind: type[S], check: Callable[[S], str], secrets: frozenset[str]) -> None:
        """Name a kind of service.

        Args:
            verb: what people call it at the command line.
            file: in the data directory.
            kind: an entry.
            check: returns what is wrong with an entry, "" where nothing is.
            secrets: names of the secrets that an entry needs.
        """
        self.verb = verb
        self.file = file
        self._decoder: msgspec.json.Decoder[list[S]] = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
        self._check_one: Callable[[S], str] = check
        self._secrets = secrets

    def load(self, data: Path) -> tuple[S, ...]:
        """Return the entries of a data directory; none where there is no file.

        Raises:
            BadServices: file or entry is not as it must be.
            OSError: it cannot be read.
        """
        path = data / self.file
        raw = settings_file.read(path, BadServices, "have others asked and believed")
        if raw is None:
            return ()
        try:
            found = tuple(self._decoder.decode(raw))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadServices(f"{path}: {error} (`orderspine {self.verb} add` writes it)") from error
        self._check(found, str(path))
        return found

    @contextlib.contextmanager
    def editing(self, data: Path) -> Iterator[list[S]]:
        """Hold the file while its entries are changed; they are checked and written at the end.

        Raises:
            BadServices: it is, or would not be, as it must be; nothing is written.
        """
        with settings_file.held(data / self.file):
            entries = list(self.load(data))
            yield entries
            self._check(tuple(entries), self.file)
            settings_file.write(data / self.file, entries)

    def _check(self, entries: tuple[S, ...], place: str) -> None:
        names: set[str] = set()
        for each in entries:
            where = f"{place}, {each.name[:80]!r}"
            if not is_name(each.name):
                raise BadServices(f"{where}: a name has letters, digits, - and _ (at most 64); addresses hold it")
            if each.name in names:
                raise BadServices(f"{where}: the name is there twice")
            names.add(each.name)
            for name, found in each.secrets.items():
                if not is_place(found):
                    # Not shown: it may be the secret itself.
                    raise BadServices(f"{where}: secret {name} must say where it is found, env:VARIABLE or file:PATH")
            if wrong := self._check_one(each) or _strangers(each, self._secrets):
                raise BadServices(f"{where}: {wrong}")


def _strangers(entry: TrackService | PaymentService, wanted: frozenset[str]) -> str:
    if missing := sorted(wanted - entry.secrets.keys()):
        return f"it does not say where its secret {missing[0]} is found: --secret {missing[0]}=file:PATH"
    if strange := sorted(entry.secrets.keys() - wanted):
        return f"there is no secret {strange[0]}; known are {', '.join(sorted(wanted))}"
    return ""


def _check_tracks(service: TrackService) -> str:
    if service.kind != "kuaidi100":
        return f"kind {service.kind[:40]!r} is not known; known is kuaidi100"
    if not _URL.fullmatch(service.callback_url):
        return "callback_url must be where the gateway is reached from outside: https://orders.example.com"
    if service.base_url and not _URL.fullmatch(service.base_url):
        return "base_url is no address"
    bad = [code for code, theirs in service.codes.items() if not code.strip() or not theirs.strip()]
    return f"code {bad[0]!r} has an empty side" if bad else ""


def _check_payments(service: PaymentService) -> str:
    if service.kind != "wechat_pay":
        return f"kind {service.kind[:40]!r} is not known; known is wechat_pay"
    try:
        checked_part(service.channel, "channel")
        checked_part(service.shop, "shop")
    except BadId as error:
        return str(error)
    if service.order_no.count(PLACE) != 1:
        return f"order_no must hold {PLACE} once"
    if not service.keys:
        return "without the service's public key no notice can be verified: --key SERIAL=/path/to/key.pem"
    return ""


CARRIERS = Book("carriers", CARRIERS_FILE, TrackService, _check_tracks, frozenset({"key", "salt"}))
PAYMENTS = Book("payments", PAYMENTS_FILE, PaymentService, _check_payments, frozenset({"api_v3_key"}))


def secrets_of(data: Path, service: TrackService | PaymentService) -> Callable[[str], str]:
    """Return what reads a service's secrets, when they are needed; it raises MissingSecret."""
    return FileKeys(data, Connection(service.name, "", "", secrets=service.secrets)).secret
