"""Who can be told, and how each is reached: `notify.json`. It holds no secret, only where secrets are."""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import msgspec

from adapters.platforms.connection import BadSettings, is_name
from domain.notices import CUSTOMER, PLACEHOLDERS

KindName = Literal["dingtalk", "wecom", "feishu", "webhook", "email", "sms"]
_NUMBER = re.compile(r"\+?[0-9]{5,15}")
_ADDRESS = re.compile(r"[!-?A-~]+@[A-Za-z0-9.-]+")
_FEISHU_ID = re.compile(r"ou_[A-Za-z0-9]+|all")
USUAL_TEMPLATE = "*"
"""The template of rules that have none of their own."""


class BadReceivers(BadSettings):
    """`notify.json`, or a receiver in it, cannot be used: where, what is wrong, what to do."""


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A text that the provider has approved, and what stands in its places."""

    code: str
    """The provider's, `SMS_…`."""
    params: dict[str, str] = {}
    """Name of a place → placeholder of a note (`order_no`), or `title` or `text`."""


class Receiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Somebody who can be told."""

    name: str
    """What rules call it: letters, digits, `-`, `_`; unique in the file. `customer` is the order's own customer."""
    kind: KindName
    roles: tuple[str, ...] = ()
    """Roles that it stands for beside its own name."""
    url: str = ""
    """webhook: where it is posted; email: `smtp://host:port` or `smtps://host:port`; sms: where the provider is not at
    its usual address. A robot's address holds its key and is the secret `url`."""
    format: Literal["text", "markdown"] = "text"
    """dingtalk, wecom: how the message looks; people can be mentioned in both by DingTalk, in text only by WeCom."""
    numbers: tuple[str, ...] = ()
    """Phones: dingtalk, wecom: who is mentioned; sms: who gets it. feishu: ids (`ou_…`, `all`) of who is mentioned."""
    addresses: tuple[str, ...] = ()
    """email: who gets it."""
    options: dict[str, str] = {}
    """Plain settings of the kind; see `WANTS`."""
    templates: dict[str, Template] = {}
    """sms: name of a rule → template; `*` for all others."""
    secrets: dict[str, str] = {}
    """Name of a secret → `env:VARIABLE` or `file:PATH`."""
    enabled: bool = True


class Wants(NamedTuple):
    """What a kind reads of a receiver; what else is there is a slip of the pen."""

    needed: frozenset[str] = frozenset()
    """Secrets without which nothing works."""
    secrets: frozenset[str] = frozenset()
    """Further ones."""
    options: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()
    """Of `url`, `format`, `numbers`, `addresses`, `templates`."""


WANTS: Mapping[str, Wants] = {
    "dingtalk": Wants(frozenset({"url"}), frozenset({"sign"}), fields=frozenset({"format", "numbers"})),
    "wecom": Wants(frozenset({"url"}), fields=frozenset({"format", "numbers"})),
    "feishu": Wants(frozenset({"url"}), frozenset({"sign"}), fields=frozenset({"numbers"})),
    "webhook": Wants(frozenset({"sign"}), fields=frozenset({"url"})),
    "email": Wants(
        secrets=frozenset({"password"}),
        options=frozenset({"from", "user", "tls", "ca"}),
        fields=frozenset({"url", "addresses"}),
    ),
    "sms": Wants(
        frozenset({"access_key_secret"}),
        options=frozenset({"access_key_id", "sign_name"}),
        fields=frozenset({"url", "numbers", "templates"}),
    ),
}
"""Kind → what it reads."""
assert WANTS.keys() == set(get_args(KindName))


def parse(raw: bytes, place: str) -> tuple[Receiver, ...]:
    """Read the file's content: a JSON list of receivers.

    Raises:
        BadReceivers: it, or one of them, means nothing.
    """
    try:
        found = msgspec.json.decode(raw, type=tuple[Receiver, ...])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadReceivers(
            f"{place}: {error}; it must be a JSON list of receivers (`orderspine receivers add` writes it)"
        ) from error
    try:
        for receiver in found:
            check(receiver)
        check_names(found)
    except BadReceivers as error:
        raise BadReceivers(f"{place}: {error}") from error
    return found


def check_names(receivers: tuple[Receiver, ...]) -> None:
    """See that no two receivers have one name.

    Raises:
        BadReceivers: two have.
    """
    seen: set[str] = set()
    for receiver in receivers:
        if receiver.name in seen:
            raise BadReceivers(f"there are two receivers named {receiver.name}; rename one of them")
        seen.add(receiver.name)


def check(receiver: Receiver) -> None:
    """See that a receiver means something, as far as it can be told without telling it anything.

    Raises:
        BadReceivers: it does not; never tells what might be a secret, nor a number.
    """
    if not is_name(receiver.name):
        raise BadReceivers(f"name {receiver.name[:80]!r}: use letters, digits, - and _ (at most 64)")
    where = f"receiver {receiver.name}"
    wants = WANTS[receiver.kind]
    for field in ("url", "format", "numbers", "addresses", "templates"):
        if field not in wants.fields and getattr(receiver, field) != getattr(Receiver("x", receiver.kind), field):
            advice = "; the robot's whole address is the secret `url`, since its key is in it" if field == "url" else ""
            raise BadReceivers(f"{where}: kind {receiver.kind} has no {field}{advice}")
    if strange := receiver.options.keys() - wants.options:
        known = ", ".join(sorted(wants.options)) or "none"
        raise BadReceivers(
            f"{where}: kind {receiver.kind} reads no option {', '.join(sorted(strange))}; known: {known}"
        )
    if strange := receiver.secrets.keys() - wants.needed - wants.secrets:
        known = ", ".join(sorted(wants.needed | wants.secrets)) or "none"
        raise BadReceivers(
            f"{where}: kind {receiver.kind} reads no secret {', '.join(sorted(strange))}; known: {known}"
        )
    if missing := wants.needed - receiver.secrets.keys():
        name = min(missing)
        raise BadReceivers(f"{where}: it needs its secret {name}: --secret {name}=file:PATH or {name}=env:VARIABLE")
    for name, place in receiver.secrets.items():
        kind, _, rest = place.partition(":")
        if kind not in ("env", "file") or not rest.strip():
            # Not shown: it may be the secret itself.
            raise BadReceivers(f"{where}: secret {name} must say where it is found, env:VARIABLE or file:PATH")
    if (receiver.name == CUSTOMER) != (receiver.kind == "sms" and not receiver.numbers):
        raise BadReceivers(
            f"{where}: `{CUSTOMER}` is the order's own customer: kind sms, without numbers; every other receiver of "
            "kind sms needs --number"
        )
    if receiver.name == CUSTOMER and receiver.roles:
        raise BadReceivers(f"{where}: the customer stands for no role; leave out --role")
    _check_kind(receiver, where)


def _check_kind(receiver: Receiver, where: str) -> None:
    numbers = _FEISHU_ID if receiver.kind == "feishu" else _NUMBER
    for place, number in enumerate(receiver.numbers, 1):
        if not numbers.fullmatch(number):
            known = "an id, ou_… or all" if receiver.kind == "feishu" else "digits, with + before a country's code"
            raise BadReceivers(f"{where}: number {place} is none: {known}")
    if receiver.kind == "wecom" and receiver.numbers and receiver.format == "markdown":
        raise BadReceivers(f"{where}: WeCom mentions phones in text only; leave out the numbers, or --format text")
    match receiver.kind:
        case "webhook":
            _check_url(receiver.url, where, ("https", "http"))
        case "sms":
            _check_sms(receiver, where)
        case "email":
            _check_email(receiver, where)


def _check_sms(receiver: Receiver, where: str) -> None:
    if receiver.url:
        _check_url(receiver.url, where, ("https", "http"))
    if missing := {"access_key_id", "sign_name"} - receiver.options.keys():
        raise BadReceivers(f"{where}: kind sms needs --option {min(missing)}=…")
    if not receiver.templates:
        raise BadReceivers(
            f"{where}: kind sms needs the approved template of each rule, or of all ({USUAL_TEMPLATE}): "
            "--template RULE=SMS_123456789:no=order_no"
        )
    known = (*PLACEHOLDERS, "title", "text")
    for rule, template in receiver.templates.items():
        if strange := set(template.params.values()) - set(known):
            raise BadReceivers(
                f"{where}, template of {rule}: there is no placeholder {', '.join(sorted(strange))}; known are "
                f"{', '.join(known)}"
            )


def _check_email(receiver: Receiver, where: str) -> None:
    _check_url(receiver.url, where, ("smtps", "smtp"))
    tls = receiver.options.get("tls", "starttls")
    if tls not in ("starttls", "none") or (receiver.url.startswith("smtps") and "tls" in receiver.options):
        raise BadReceivers(
            f"{where}: option tls is starttls (as unless said) or none; smtps:// is encrypted from the beginning"
        )
    if ("user" in receiver.options) != ("password" in receiver.secrets):
        raise BadReceivers(f"{where}: a user needs the secret password, and a password its option user")
    if "user" in receiver.options and tls == "none":
        raise BadReceivers(f"{where}: a password is not sent over a line that is not encrypted; leave out tls=none")
    if not receiver.addresses or not all(_ADDRESS.fullmatch(each) for each in receiver.addresses):
        raise BadReceivers(f"{where}: kind email needs --address NAME@HOST, in ASCII, for each who gets it")
    if not _ADDRESS.fullmatch(receiver.options.get("from", "")):
        raise BadReceivers(f"{where}: kind email needs --option from=NAME@HOST")


def _check_url(url: str, where: str, schemes: tuple[str, ...]) -> None:
    scheme, _, rest = url.partition("://")
    if scheme not in schemes or not re.fullmatch(r"[A-Za-z0-9.\[\]:-]+(/.*)?", rest):
        raise BadReceivers(f"{where}: url must be an address such as {schemes[0]}://host, without user and password")
