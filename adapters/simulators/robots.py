"""Simulated group robots (DingTalk, WeCom, Feishu) and a webhook: they check what the real ones check."""

import base64
import hashlib
import hmac
import re
from typing import Any, Final

from adapters.simulators.exchange import Refused, Reply, Request, reply
from adapters.simulators.told import Message, SimReceiver

TOKEN: Final = "robot-key-0001"  # noqa: S105  invented
_HOUR_MS: Final = 3_600_000


class _Robot(SimReceiver):
    """`errcode` and `errmsg`, as DingTalk and WeCom have them."""

    path: str
    """With the key's parameter, as people copy it."""

    def operation(self, request: Request) -> str:
        """Return the path's last part."""
        return request.path.rpartition("/")[2]

    def refusal(self, refused: Refused) -> Reply:
        """Return the code in an answer of status 200."""
        return reply({"errcode": refused.code, "errmsg": refused.text}, outcome=f"refused {refused.code}")

    def system_error(self) -> Refused:
        """Return -1."""
        return Refused(-1, "系统繁忙")


class SimDingTalk(_Robot):
    """Checks token, time and signature; `keyword` is one that messages must hold, "" = none."""

    path = f"/robot/send?access_token={TOKEN}"
    keyword = ""

    def handle(self, request: Request) -> Reply:
        """Take a message."""
        if request.method != "POST" or request.path != "/robot/send":
            raise Refused(404, "no such address")
        if request.query.get("access_token") != TOKEN:
            raise Refused(300001, "token is not exist")
        if self.secret:
            self._check(request.query.get("timestamp", ""), request.query.get("sign", ""))
        body = request.json()
        if body["msgtype"] == "markdown":
            title, text = body["markdown"]["title"], body["markdown"]["text"]
        else:
            title, _, text = body["text"]["content"].partition("\n")
        if self.keyword not in title + text:
            raise Refused(310000, "keywords not in content, more: [https://ding-doc.dingtalk.com]")
        if len(request.body) > 20_000:  # noqa: PLR2004 - the platform's limit
            raise Refused(460101, "message too long, exceed 20000 bytes")
        self.take(Message(title, text, tuple(body.get("at", {}).get("atMobiles", ())), extra=body["msgtype"]))
        return reply({"errcode": 0, "errmsg": "ok"})

    def _check(self, timestamp: str, signature: str) -> None:
        if not timestamp.isdigit() or abs(int(timestamp) - self.now_ms()) > _HOUR_MS:
            raise Refused(310000, "invalid timestamp, more: [https://ding-doc.dingtalk.com]")
        mac = hmac.new(self.secret.encode(), digestmod=hashlib.sha256)
        mac.update(timestamp.encode() + b"\n" + self.secret.encode())
        if base64.b64decode(signature) != mac.digest():
            raise Refused(310000, "sign not match, more: [https://ding-doc.dingtalk.com]")

    def limited(self) -> Refused:
        """Return 130101."""
        return Refused(130101, "send too fast, exceed 20 times per minute")


class SimWeCom(_Robot):
    """Knows its key and nothing else."""

    path = f"/cgi-bin/webhook/send?key={TOKEN}"

    def handle(self, request: Request) -> Reply:
        """Take a message."""
        if request.path != "/cgi-bin/webhook/send" or request.query.get("key") != TOKEN:
            raise Refused(93000, "invalid webhook url, hint: [1], from ip: 127.0.0.1")
        body = request.json()
        kind = body["msgtype"]
        content = body[kind]["content"]
        if len(content.encode()) > {"text": 2048, "markdown": 4096}[kind]:
            raise Refused(40058, f"{kind}.content exceed max length")
        title, _, text = content.partition("\n")
        self.take(Message(title, text, tuple(body[kind].get("mentioned_mobile_list", ())), extra=kind))
        return reply({"errcode": 0, "errmsg": "ok"})

    def limited(self) -> Refused:
        """Return 45009."""
        return Refused(45009, "api freq out of limit")


class SimFeishu(SimReceiver):
    """Checks the hook, and time and signature in the body."""

    path = f"/open-apis/bot/v2/hook/{TOKEN}"

    def operation(self, request: Request) -> str:
        """Return `hook`."""
        del request
        return "hook"

    def handle(self, request: Request) -> Reply:
        """Take a message."""
        if request.path != self.path:
            raise Refused(19001, "param invalid: incoming webhook access token invalid")
        body = request.json()
        if self.secret:
            self._check(str(body.get("timestamp", "")), body.get("sign", ""))
        post: dict[str, Any] = body["content"]["post"]["zh_cn"]
        elements = [element for line in post["content"] for element in line]
        text = "\n".join(element["text"] for element in elements if element["tag"] == "text")
        self.take(Message(post["title"], text, tuple(each["user_id"] for each in elements if each["tag"] == "at")))
        return reply({"code": 0, "msg": "success", "data": {}, "StatusCode": 0, "StatusMessage": "success"})

    def _check(self, timestamp: str, signature: str) -> None:
        fresh = timestamp.isdigit() and abs(int(timestamp) * 1000 - self.now_ms()) <= _HOUR_MS
        right = base64.b64encode(hmac.digest(f"{timestamp}\n{self.secret}".encode(), b"", "sha256")).decode()
        if not fresh or signature != right:
            raise Refused(19021, "sign match fail or timestamp is not within one hour from current time")

    def refusal(self, refused: Refused) -> Reply:
        """Return the code in an answer of status 200."""
        return reply({"code": refused.code, "msg": refused.text, "data": {}}, outcome=f"refused {refused.code}")

    def limited(self) -> Refused:
        """Return 11232."""
        return Refused(11232, "create message trigger system frequency limit")

    def system_error(self) -> Refused:
        """Return 99991400, in which older interfaces say so."""
        return Refused(99991400, "request trigger frequency limit")


class SimWebhook(SimReceiver):
    """A merchant's own program: checks the Standard Webhooks signature, and takes each id once."""

    path = "/hooks/orders"

    def operation(self, request: Request) -> str:
        """Return `hook`."""
        del request
        return "hook"

    def handle(self, request: Request) -> Reply:
        """Take a delivery."""
        headers = request.headers
        number, stamp = headers["webhook-id"], headers["webhook-timestamp"]
        key = base64.b64decode(self.secret[6:]) if self.secret.startswith("whsec_") else self.secret.encode()
        right = base64.b64encode(hmac.digest(key, b".".join((number.encode(), stamp.encode(), request.body)), "sha256"))
        given = re.findall(r"v1,(\S+)", headers["webhook-signature"])
        if right.decode() not in given or abs(int(stamp) * 1000 - self.now_ms()) > 300_000:  # noqa: PLR2004
            raise Refused("unauthorized", "wrong signature", status=401)
        data = request.json()["data"]
        if number not in {each.id for each in self.taken}:
            self.take(Message(data["title"], data["text"], id=number, extra=data))
        return Reply(b"", 204)

    def refusal(self, refused: Refused) -> Reply:
        """Return the status."""
        return reply({"error": refused.text}, refused.status)

    def limited(self) -> Refused:
        """Return status 429."""
        return Refused("too-many", "too many", status=429)

    def system_error(self) -> Refused:
        """Return status 503."""
        return Refused("down", "down", status=503)
