"""Kuaidi100, simulated: takes subscriptions as its tables say, and pushes parcels' lives to who subscribed.

Written from the vendor's published tables (see `adapters.carriers.kuaidi100` for where), and independently of the
client: signatures and states are written twice.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import httpx

from adapters.simulators.exchange import Reply, Request, decode, encode, reply

COMPANIES: Final = frozenset(
    {
        "shunfeng",
        "ems",
        "youzhengguonei",
        "jd",
        "yuantong",
        "zhongtong",
        "shentong",
        "yunda",
        "jtexpress",
        "debangkuaidi",
    }
)
STATES: Final = {
    "collected": ("1", "揽收", "103"),
    "in_transit": ("0", "在途", "1002"),
    "delivering": ("5", "派件", "5"),
    "signed": ("3", "签收", "301"),
    "problem": ("2", "疑难", "206"),
    "returned": ("4", "退签", "4"),
    "returning": ("6", "退回", "6"),
    "refused": ("14", "拒签", "14"),
}
"""Neutral state → (number, word, refined number)."""
_EIGHT_HOURS: Final = timedelta(hours=8)
_NUMBER_MAX: Final = 32


class Step(NamedTuple):
    """One thing that befalls a parcel."""

    state: str
    at_ms: int
    place: str
    words: str = "快件由【张师傅，电话13800001111】处理"


class Subscribed(NamedTuple):
    """A subscription as it came."""

    company: str
    number: str
    callback_url: str
    salt: str
    phone: str


class SimKuaidi100:
    """The service, for one account."""

    def __init__(self, key: str) -> None:
        """`key` is the account's authorisation."""
        self.key = key
        self.subscribed: dict[str, Subscribed] = {}
        """By parcel number."""
        self.asked = 0
        self.closing = asyncio.Event()

    async def answer(self, request: Request) -> Reply:
        """Answer a request to `/poll`."""
        if request.path != "/poll" or request.method != "POST":
            return reply({"message": "not found"}, 404)
        self.asked += 1
        form = request.form()
        try:
            param: dict[str, Any] = decode(form["param"])
            wanted = param["parameters"]
        except (KeyError, ValueError):
            return _said("700", "订阅方的订阅数据存在错误")
        if form.get("schema") != "json" or param.get("key") != self.key:
            return _said("600", "您不是合法的订阅者")
        number, company = str(param.get("number", "")), str(param.get("company", ""))
        if not 0 < len(number) <= _NUMBER_MAX or not str(wanted.get("callbackurl", "")).startswith("http"):
            return _said("700", "订阅方的订阅数据存在错误")
        if company not in COMPANIES:
            return _said("701", "拒绝订阅的快递公司")
        if company == "shunfeng" and not wanted.get("phone"):
            return _said("700", "顺丰单号必须提供电话号码")
        if number in self.subscribed:
            return _said("501", "重复订阅")
        self.subscribed[number] = Subscribed(
            company, number, wanted["callbackurl"], wanted.get("salt", ""), wanted.get("phone", "")
        )
        return _said("200", "提交成功")

    def form(self, number: str, steps: Sequence[Step], *, salt: str | None = None) -> bytes:
        """Return the body of a push of all that has befallen a parcel so far, the newest first."""
        known = self.subscribed[number]
        newest = sorted(steps, key=lambda step: step.at_ms, reverse=True)
        over = newest[0].state == "signed"
        pushed = {
            "status": "shutdown" if over else "polling",
            "billstatus": "change",
            "message": "",
            "lastResult": {
                "message": "ok",
                "nu": number,
                "ischeck": "1" if over else "0",
                "com": known.company,
                "status": "200",
                "state": STATES[newest[0].state][0],
                "condition": "F00",
                "data": [_line(step) for step in newest],
            },
        }
        param = encode(pushed).decode()
        secret = known.salt if salt is None else salt
        sign = hashlib.md5((param + secret).encode(), usedforsecurity=False).hexdigest().upper()
        return urlencode({"sign": sign, "param": param}).encode()

    async def push(self, client: httpx.AsyncClient, number: str, steps: Sequence[Step]) -> bool:
        """Push, and tell whether it was taken; one that was not comes again."""
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = await client.post(
            self.subscribed[number].callback_url, content=self.form(number, steps), headers=headers
        )
        try:
            said = decode(answer.content)
        except ValueError:
            return False
        return answer.is_success and said.get("result") is True and said.get("returnCode") == "200"


def _line(step: Step) -> dict[str, str]:
    at = (datetime.fromtimestamp(step.at_ms / 1000, UTC) + _EIGHT_HOURS).strftime("%Y-%m-%d %H:%M:%S")
    _, word, refined = STATES[step.state]
    return {
        "context": f"【{step.place}】{step.words}",
        "time": at,
        "ftime": at,
        "areaCode": "CN310000000000",
        "areaName": step.place,
        "status": word,
        "statusCode": refined,
    }


def _said(code: str, message: str) -> Reply:
    return reply(
        {"result": code == "200", "returnCode": code, "message": message}, outcome="ok" if code == "200" else code
    )
