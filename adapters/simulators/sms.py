"""Simulated Alibaba Cloud SMS: `SendSms` and `QuerySendDetails`, signed by version 3."""

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from adapters.simulators.exchange import Refused, Reply, Request, decode, reply
from adapters.simulators.told import Message, SimReceiver

KEY_ID: Final = "LTAI-simulated"
SIGN_NAME: Final = "某某五金"
TEMPLATES: Final = {"SMS_100": ("title",), "SMS_200": ("no",), "SMS_300": ()}
"""Code → places that must be filled."""
BLOCKED: Final = "13900000000"
"""A number that got too many texts today."""
_SKEW_S: Final = 900
_CREDENTIAL: Final = re.compile(r"ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=([0-9a-f]{64})")


class SimSms(SimReceiver):
    """One account. `lists` says whether its list of texts shows what was taken."""

    path = ""
    lists = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._nonces: set[str] = set()

    def operation(self, request: Request) -> str:
        """Return the action."""
        return request.headers.get("x-acs-action", "")

    def handle(self, request: Request) -> Reply:
        """Send, or list what was sent."""
        self._check(request)
        params = request.query
        match self.operation(request):
            case "SendSms":
                return self._send(params)
            case "QuerySendDetails":
                return self._list(params)
        raise Refused("InvalidAction.NotFound", "Specified api is not found", status=404)

    def _check(self, request: Request) -> None:
        headers = request.headers
        found = _CREDENTIAL.fullmatch(headers.get("authorization", ""))
        if found is None or found[1] != KEY_ID:
            raise Refused("InvalidAccessKeyId.NotFound", "Specified access key is not found.", status=404)
        names = found[2].split(";")
        must = {"host"} | {name for name in headers if name.startswith("x-acs-")}
        if set(names) != must or hashlib.sha256(request.body).hexdigest() != headers["x-acs-content-sha256"]:
            raise Refused("IncompleteSignature", "The request signature does not conform.", status=400)
        pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in request.query.items())
        lines = [request.method, request.path, "&".join(f"{name}={value}" for name, value in pairs)]
        lines += [f"{name}:{headers[name].strip()}" for name in names]
        lines += ["", ";".join(names), headers["x-acs-content-sha256"]]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        right = hmac.digest(self.secret.encode(), f"ACS3-HMAC-SHA256\n{digest}".encode(), "sha256").hex()
        if right != found[3]:
            raise Refused("SignatureDoesNotMatch", "Specified signature does not match.", status=400)
        at = datetime.fromisoformat(headers["x-acs-date"]).timestamp()
        if abs(at - self.now_ms() / 1000) > _SKEW_S:
            raise Refused("InvalidTimeStamp.Expired", "Specified time stamp is expired.", status=400)
        nonce = headers["x-acs-signature-nonce"]
        if nonce in self._nonces:
            raise Refused("SignatureNonceUsed", "Specified signature nonce was used already.", status=400)
        self._nonces.add(nonce)

    def _send(self, params: Any) -> Reply:
        numbers = tuple(params["PhoneNumbers"].split(","))
        if not all(re.fullmatch(r"\+?\d{5,15}", number) for number in numbers):
            raise Refused("isv.MOBILE_NUMBER_ILLEGAL", f"{params['PhoneNumbers']} invalid mobile number")
        if params["SignName"] != SIGN_NAME:
            raise Refused("isv.SMS_SIGNATURE_ILLEGAL", "the signature is not approved")
        if params["TemplateCode"] not in TEMPLATES:
            raise Refused("isv.SMS_TEMPLATE_ILLEGAL", "the template is not approved")
        filled = decode(params.get("TemplateParam", "{}").encode())
        if any(place not in filled for place in TEMPLATES[params["TemplateCode"]]):
            raise Refused("isv.TEMPLATE_MISSING_PARAMETERS", "a place of the template is not filled")
        if BLOCKED in numbers:
            raise Refused("isv.BUSINESS_LIMIT_CONTROL", "触发天级流控Permits:10")
        text = ", ".join(f"{name}={value}" for name, value in filled.items())
        self.take(Message(params["TemplateCode"], text, numbers, params.get("OutId", ""), extra=filled))
        return reply({"Code": "OK", "Message": "OK", "BizId": f"biz-{len(self.taken)}", "RequestId": "r-1"})

    def _list(self, params: Any) -> Reply:
        day = (datetime.fromtimestamp(self.now_ms() / 1000, UTC) + timedelta(hours=8)).strftime("%Y%m%d")
        found = [
            {"OutId": each.id, "PhoneNum": params["PhoneNumber"], "SendStatus": 3, "TemplateCode": each.title}
            for each in self.taken
            if self.lists and params["PhoneNumber"] in each.to and params["SendDate"] == day
        ]
        size, page = int(params["PageSize"]), int(params["CurrentPage"])
        details = found[(page - 1) * size : page * size]
        return reply({"Code": "OK", "TotalCount": len(found), "SmsSendDetailDTOs": {"SmsSendDetailDTO": details}})

    def refusal(self, refused: Refused) -> Reply:
        """Return the code, with the status of the gateway's own refusals."""
        return reply({"Code": refused.code, "Message": refused.text, "RequestId": "r-1"}, refused.status)

    def limited(self) -> Refused:
        """Return `Throttling.User`."""
        return Refused("Throttling.User", "Request was denied due to user flow control.", status=400)

    def system_error(self) -> Refused:
        """Return `isp.SYSTEM_ERROR`."""
        return Refused("isp.SYSTEM_ERROR", "isp.SYSTEM_ERROR")
