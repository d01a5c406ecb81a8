"""Kuaidi100 (快递100): asks it to follow a parcel, and understands what it pushes of one.

Asking: POST of a form to `/poll` with `schema=json` and `param`, a JSON of company, number, key and parameters
(callbackurl, salt, resultv2, phone). Its answer has `returnCode`: 200 done, 501 followed already, 600 and 601 a wrong
or ended key, 700 to 702 a parcel it does not take; more than four askings a month for one parcel are 501, too.
Pushing: POST of a form with `param` (JSON: status, lastResult with com, nu, state and data, the newest first) and
`sign` = MD5 of param and salt. It wants `{"result":true,"returnCode":"200","message":"成功"}`, else it comes again.
Verified by what the vendor has published: https://cloud.tencent.com/developer/article/1828132 (codes, form),
https://segmentfault.com/a/1190000040027374 and https://apifox.com/apidoc/project-514987/api-8567477 (parameters;
`resultv2` 6 adds areas, names and numbers of refined states). Inferred: the numbers of refined states (`_REFINED`; all
others are the state and two digits more) and that times are of UTC+8.

The salt differs for every order: made from ours and the order's key, so that a push that is genuine for one order
means nothing at the address of another. Places are kept as the service's areas (`areaName`); its words are not kept,
because they name couriers and customers.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

import msgspec

from adapters.carriers.settings import TrackService
from adapters.platforms.carriers import CARRIERS
from adapters.platforms.genuine import check_posted, check_same, one_of
from adapters.platforms.http import Http
from domain.callbacks import Subscription, Told, aside
from domain.ids import is_key, parts_of
from domain.platforms import NotAuthorised, NotGenuine, PlatformBusy, PlatformRefused, PushAnswer, PushRequest
from domain.tracking import RecordTrack, Scan, TrackState

BASE_URL: Final = "https://poll.kuaidi100.com"
CODES: Final[Mapping[str, str]] = {
    "SF": "shunfeng",
    "EMS": "ems",
    "POST": "youzhengguonei",
    "JD": "jd",
    "YTO": "yuantong",
    "ZTO": "zhongtong",
    "STO": "shentong",
    "YUNDA": "yunda",
    "JT": "jtexpress",
    "DBL": "debangkuaidi",
    "DHL": "dhl",
    "UPS": "ups",
    "FEDEX": "fedex",
}
"""Our code of a carrier → the service's. A merchant adds others as data (`codes` in carriers.json)."""
STATES: Final[Mapping[str, TrackState]] = {
    "0": "in_transit",
    "1": "collected",
    "2": "problem",
    "3": "signed",
    "4": "returned",
    "5": "delivering",
    "6": "returning",
    "7": "forwarded",
    "8": "customs",
    "10": "customs",
    "11": "customs",
    "12": "customs",
    "13": "customs",
    "14": "refused",
}
"""The service's number of a state → ours: 在途 揽收 疑难 签收 退签 派件 退回 转投 清关 … 拒签."""
WORDS: Final[Mapping[str, TrackState]] = {
    "在途": "in_transit",
    "揽收": "collected",
    "疑难": "problem",
    "签收": "signed",
    "退签": "returned",
    "派件": "delivering",
    "退回": "returning",
    "转投": "forwarded",
    "清关": "customs",
    "拒签": "refused",
}
"""The same by `data[].status`."""
SUCCESS: Final = PushAnswer(
    200, "application/json;charset=utf-8", '{"result":true,"returnCode":"200","message":"成功"}'.encode()
)
NUMBER_MAX: Final = 32
"""Longest number of a parcel that it follows."""
SCANS_AT_ONCE: Final = 200
_ORDER_PARTS: Final = 3
_SALT_DIGITS: Final = 32
_WHERE_MAX: Final = 60
_ZONE: Final = timezone(timedelta(hours=8))
_FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
_DIGITS: Final = re.compile(r"[0-9]{4,}")
_REFINED: Final[Mapping[str, TrackState]] = {
    "101": "",
    "102": "",
    "203": "refused",
    "1001": "in_transit",
    "1002": "in_transit",
    "1003": "in_transit",
}
"""Ordered, not collected yet; refused; and three stretches of the way, which do not begin with the state's number."""
_NOT_LET_IN: Final = frozenset({"600", "601"})
_FOLLOWED: Final = frozenset({"200", "501"})
_BAD_ORDER: Final = "700"


class Kuaidi100:
    """One merchant's account; asks and is called."""

    def __init__(self, service: TrackService, secret: Callable[[str], str]) -> None:
        """Nothing is sent yet."""
        self._service = service
        self._secret = secret
        known = {**CODES, **service.codes}
        self._ours = {theirs: ours for ours, theirs in known.items()}
        # Channels tell of parcels with codes and names of their own: the usual ones of both kinds are understood.
        named = {carrier.name: known[code] for code, carrier in CARRIERS.items() if code in known}
        self._codes = {**named, **{theirs: theirs for theirs in known.values()}, **known}
        self._http: Http | None = None

    def knows(self, carrier: str) -> bool:
        """Whether the service has a code for a carrier; see `Subscriber.knows`."""
        return carrier in self._codes

    async def subscribe(self, wanted: Subscription) -> str:
        """Ask to be told of a parcel; see `Subscriber.subscribe`."""
        code = self._codes.get(wanted.carrier)
        if code is None:
            raise PlatformRefused(
                f"{self._service.name} has no code for carrier {wanted.carrier!r}",
                f"`orderspine carriers add {self._service.name} --code {wanted.carrier}=THEIRS --replace` adds it",
                code="unknown-carrier",
            )
        if not 0 < len(wanted.tracking) <= NUMBER_MAX:
            raise PlatformRefused(
                f"parcel numbers of {len(wanted.tracking)} characters are not followed", code="number-length"
            )
        parameters = {
            "callbackurl": f"{self._service.callback_url.rstrip('/')}/tracks/{self._service.name}/{wanted.order}",
            "salt": self._salt(wanted.order),
            "resultv2": "6",
        }
        if self._service.sender_phone:
            parameters["phone"] = self._service.sender_phone
        code, said = await self._poll(code, wanted.tracking, parameters)
        _judge(code, said)
        return ""

    async def check(self) -> str:
        """Ask for a parcel without a number: only a good key makes the service say what is wrong with it."""
        code, said = await self._poll("shunfeng", "", {"callbackurl": self._service.callback_url})
        if code != _BAD_ORDER:
            _judge(code, said)
        self._salt("order-test:test:test")
        return f"{self._service.name} knows the key"

    async def _poll(self, company: str, number: str, parameters: Mapping[str, str]) -> tuple[str, str]:
        key = self._secret("key")
        asked = {"company": company, "number": number, "key": key, "parameters": parameters}
        content = urlencode({"schema": "json", "param": json.dumps(asked, ensure_ascii=False)}).encode()
        if self._http is None:
            self._http = Http(self._service.base_url or BASE_URL, per_s=20, burst=20)
        answer = await self._http.call("POST", "poll", headers=_FORM, content=content, repeatable=True)
        try:
            found = msgspec.json.decode(answer.body, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise PlatformBusy(f"the service answered with status {answer.status} and no JSON") from None
        return str(found.get("returnCode", answer.status)), _DIGITS.sub("…", str(found.get("message", "")))[:200]

    async def close(self) -> None:
        """Release connections."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    def call(self, request: PushRequest, place: str) -> Told:
        """Verify and understand a push; see `Called.call`."""
        check_posted(request)
        if not is_key(place) or not place.startswith("order-") or len(parts_of(place)) != _ORDER_PARTS:
            raise NotGenuine("the address names no order")
        try:
            form = parse_qs(request.body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=20)
        except ValueError:
            raise NotGenuine("the body is no form") from None
        if any(len(values) > 1 for values in form.values()):
            raise NotGenuine("a field is there twice")
        fields = {name: values[0] for name, values in form.items()}
        param, sign = fields.get("param", ""), one_of(fields, "sign")
        # The platform's rule; the salt is 128 bits of our own for this order alone.
        expected = hashlib.md5((param + self._salt(place)).encode(), usedforsecurity=False).hexdigest()
        check_same(sign.lower(), expected, "sign is wrong")
        return self._understood(param, place)

    def refusal(self, status: int, reason: str) -> PushAnswer:
        """Return what lets the service come again."""
        body = {"result": False, "returnCode": "500", "message": reason}
        return PushAnswer(status, "application/json;charset=utf-8", msgspec.json.encode(body))

    def _understood(self, param: str, order: str) -> Told:
        channel, shop, _ = parts_of(order)
        try:
            push = msgspec.json.decode(param, type=_Push)
        except (msgspec.MsgspecError, RecursionError):
            reason = f"a push of {self._service.name} that is not of the known form"
            return Told(aside(channel, shop, "refused", reason, param.encode()), SUCCESS)
        last = push.lastResult or _Last()
        scans = [scan for at, each in enumerate(last.data) if (scan := _scan(each, last.state if at == 0 else ""))]
        if not last.nu or not scans:
            reason = f"a push of {self._service.name} that tells nothing of parcel {last.nu!r} ({push.status[:20]})"
            return Told(aside(channel, shop, "ignored", reason, param.encode()), SUCCESS)
        command_id = hashlib.sha256(f"track/{order}/".encode() + param.encode()).hexdigest()[:32]
        carrier = self._ours.get(last.com, "")
        # Pushes repeat all that was told before; very long ones are told in the order of time, the latest for sure.
        kept = tuple(sorted(scans, key=lambda scan: scan.at_ms)[-SCANS_AT_ONCE:])
        return Told(((order, RecordTrack(f"track/{command_id}", last.nu, carrier, kept)),), SUCCESS)

    def _salt(self, order: str) -> str:
        return hmac.digest(self._secret("salt").encode(), order.encode(), "sha256").hex()[:_SALT_DIGITS]


class _Data(msgspec.Struct):
    """One thing that was noted of a parcel."""

    time: str = ""
    ftime: str = ""
    context: str = ""
    areaName: str | None = None  # noqa: N815  the service's name
    status: str | None = None
    statusCode: str | int | None = None  # noqa: N815


class _Last(msgspec.Struct):
    """What is known of a parcel."""

    nu: str = ""
    com: str = ""
    state: str | int = ""
    data: list[_Data] = []


class _Push(msgspec.Struct):
    """A push, as far as it is looked at."""

    status: str = ""
    lastResult: _Last | None = None  # noqa: N815


def _scan(data: _Data, state: str | int) -> Scan | None:
    """Return what a line of a push says; None where its time cannot be read (nothing is guessed)."""
    try:
        at = datetime.strptime(data.ftime or data.time, "%Y-%m-%d %H:%M:%S").replace(tzinfo=_ZONE)
    except ValueError:
        return None
    digest = hashlib.sha256(data.context.encode()).hexdigest()[:16]
    where = (data.areaName or "").strip()[:_WHERE_MAX]
    return Scan(round(at.timestamp()) * 1000, _state(data, str(state)), _DIGITS.sub("…", where), digest)


def _state(data: _Data, of_all: str) -> TrackState:
    code = "" if data.statusCode is None else str(data.statusCode)
    if code in _REFINED:
        return _REFINED[code]
    return STATES.get(code) or STATES.get(code[:-2]) or WORDS.get((data.status or "").strip()) or STATES.get(of_all, "")


def _judge(code: str, said: str) -> None:
    if code in _FOLLOWED:
        return
    if code in _NOT_LET_IN:
        raise NotAuthorised(
            f"the service does not know the key ({code} {said})", "put a good key where carriers.json says"
        )
    if code == "500":
        raise PlatformBusy(f"the service is in trouble ({code} {said})")
    raise PlatformRefused(f"the service does not follow the parcel ({code} {said})", code=code)
