"""Simulated receivers of every kind, and the ways to them, for tests."""

import contextlib
import datetime as dt
import ssl
import time
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from adapters.notify import notifier
from adapters.notify.receivers import Receiver, Template, check
from adapters.simulators.mailbox import SimMailbox
from adapters.simulators.robots import SimDingTalk, SimFeishu, SimWebhook, SimWeCom
from adapters.simulators.server import served
from adapters.simulators.sms import KEY_ID, SIGN_NAME, SimSms
from adapters.simulators.told import Message, SimReceiver
from domain.notices import Note, Notifier
from tests.platform_world import MemoryKeys

SECRET = "SEC-made-up-0001"
NOTE = Note(
    "0123456789abcdef0123456789abcdef",
    "intercepted",
    "order-taobao:shop1:10001@4",
    "operations",
    "订单拦截 Order stopped: 10001 (stock_short)",
    "订单 order: taobao:shop1:10001 19.80 CNY\n建议 advice: receive or move stock & release <the> order *now*",
    {"order_no": "10001", "advice": "receive stock", "reason": "stock_short"},
    1_770_000_000_000,
)
SIMS: dict[str, Callable[..., SimReceiver]] = {
    "dingtalk": SimDingTalk,
    "wecom": SimWeCom,
    "feishu": SimFeishu,
    "webhook": SimWebhook,
    "sms": SimSms,
}
ROBOTS = ("dingtalk", "wecom", "feishu")
KINDS = (*SIMS, "email")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Told(NamedTuple):
    """A simulated receiver and the way to it."""

    kind: str
    sim: Any
    receiver: Receiver
    way: Notifier
    secrets: dict[str, str]

    @property
    def taken(self) -> list[Message]:
        taken: list[Message] = self.sim.taken
        return taken

    def fail(self, how: str) -> None:
        """Let the next message go wrong: `busy`, `refuse`, `keys`, `cut_after` (taken, and no answer)."""
        if self.kind == "email":
            self.sim.faults.append(how)
        else:
            self.sim.faults.plan(1, {"busy": "limited"}.get(how, how))


@contextlib.asynccontextmanager
async def told_on(kind: str, path: Path, *, secret: str = SECRET, **changed: Any) -> AsyncIterator[Told]:
    """Serve a receiver of a kind and make the way to it; `secret` is a wrong one."""
    async with contextlib.AsyncExitStack() as stack:
        sim: Any
        if kind == "email":
            ca, context = certificate(path)
            sim = SimMailbox(context, user="orders", password=SECRET)
            port = await stack.enter_async_context(sim.served())
            fields: dict[str, Any] = {
                "url": f"smtp://127.0.0.1:{port}",
                "addresses": ("ops@shop.example", "boss@shop.example"),
                "options": {"from": "orders@shop.example", "user": "orders", "ca": str(ca)},
            }
            secrets = {"password": secret}
        else:
            sim = SIMS[kind](SECRET, now_ms)
            base = await stack.enter_async_context(served(sim))
            fields, secrets = _fields(kind, base, sim, secret)
        receiver = Receiver(
            **{"name": "operations", "kind": kind, "secrets": dict.fromkeys(secrets, "env:UNUSED"), **fields, **changed}
        )
        check(receiver)
        way = notifier(receiver, keys_with(secrets), now_ms)
        try:
            yield Told(kind, sim, receiver, way, secrets)
        finally:
            await way.close()


def keys_with(secrets: dict[str, str]) -> MemoryKeys:
    keys = MemoryKeys()
    keys._secrets = secrets
    return keys


def _fields(kind: str, base: str, sim: Any, secret: str) -> tuple[dict[str, Any], dict[str, str]]:
    match kind:
        case "webhook":
            return {"url": base + sim.path}, {"sign": secret}
        case "sms":
            options = {"access_key_id": KEY_ID, "sign_name": SIGN_NAME}
            templates = {
                "*": Template("SMS_100", {"title": "title"}),
                "shipped": Template("SMS_200", {"no": "order_no"}),
            }
            fields = {"url": base, "numbers": ("13800000000",), "options": options, "templates": templates}
            return fields, {"access_key_secret": secret}
        case "wecom":
            return {"numbers": ("13800000000",)}, {
                "url": base + sim.path if secret == SECRET else base + sim.path + "x"
            }
        case "feishu":
            return {"numbers": ("ou_abc",)}, {"url": base + sim.path, "sign": secret}
    return {"numbers": ("13800000000",)}, {"url": base + sim.path, "sign": secret}


def certificate(path: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate for loopback; return its file, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    crt, pem = path / "mail.crt", path / "mail.pem"
    crt.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(crt, pem)
    return crt, context
