"""SMS by Alibaba Cloud (阿里云短信服务): `SendSms` and `QuerySendDetails` of version 2017-05-25.

A text is a template that the provider has approved, with its places filled. `SendSms` knows no idempotency, but takes
an `OutId` that `QuerySendDetails` gives back for each text of a number and a day: what may have been sent is asked
about.
Sources: help.aliyun.com/en/sms/developer-reference/api-dysmsapi-2017-05-25-sendsms, …-querysenddetails, and its list of
error codes, help.aliyun.com/document_detail/101346.html.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import msgspec

from adapters.notify.acs import Action, query_of, signed_headers
from adapters.notify.answers import OK, Codes, fail, read
from adapters.notify.receivers import USUAL_TEMPLATE, Receiver
from adapters.platforms.connection import Keys
from adapters.platforms.http import Http, host_of
from domain.notices import Note
from domain.platforms import PlatformBusy, PlatformRefused

_WHO: Final = "Aliyun SMS"
_URL: Final = "https://dysmsapi.aliyuncs.com"
_VERSION: Final = "2017-05-25"
_PAGE: Final = 50
_PAGES_MAX: Final = 20
_DAY_ZONE: Final = timezone(timedelta(hours=8))
"""The provider counts days in China's zone."""
PARAM_MAX: Final = 35
"""Characters of one value; more is refused by the provider for texts of this kind."""
CODES: Final = Codes(
    busy=frozenset({"Throttling", "Throttling.User", "Throttling.Api", "isp.SYSTEM_ERROR", "isp.GATEWAY_ERROR"}),
    keys=frozenset({
        "SignatureDoesNotMatch", "IncompleteSignature", "InvalidAccessKeyId.NotFound", "InvalidAccessKeyId.Inactive",
        "InvalidTimeStamp.Expired", "SignatureNonceUsed", "Forbidden.RAM", "isp.RAM_PERMISSION_DENY",
        "isv.ACCOUNT_ABNORMAL", "isv.ACCOUNT_NOT_EXISTS", "isv.AMOUNT_NOT_ENOUGH", "isv.DAY_LIMIT_CONTROL",
        "isv.MONTH_LIMIT_CONTROL", "isv.OUT_OF_SERVICE", "isv.PRODUCT_UN_SUBSCRIPT", "isv.PRODUCT_UNSUBSCRIBE",
    }),
    pause_s=5.0,
)  # fmt: skip
"""Too many texts to one number (`isv.BUSINESS_LIMIT_CONTROL`) is a refusal: it must not hold up other people's."""


class AliyunSms:
    """An account and its templates. The port `domain.notices.Notifier`."""

    def __init__(self, receiver: Receiver, keys: Keys, now_ms: Callable[[], int]) -> None:
        """Nothing is sent yet."""
        self._receiver = receiver
        self._url = receiver.url or _URL
        self._host = host_of(self._url)
        self._key_id = receiver.options["access_key_id"]
        self._secret = keys.secret("access_key_secret")
        self._now_ms = now_ms
        self._http = Http(self._url, per_s=50, burst=50, timeout_s=10.0, tries=1)

    async def send(self, note: Note, numbers: Sequence[str] = ()) -> str:
        """Send; see `Notifier.send`. The provider's `BizId` is the reference."""
        template = self._receiver.templates.get(note.rule) or self._receiver.templates.get(USUAL_TEMPLATE)
        if template is None:
            raise PlatformRefused(
                f"receiver {self._receiver.name} has no template for {note.rule}",
                f"have one approved, then `orderspine receivers add {self._receiver.name} --template {note.rule}=…`",
                code="no-template",
            )
        values = {**note.fields, "title": note.title, "text": note.text}
        filled = {place: values.get(name, "")[:PARAM_MAX] for place, name in template.params.items()}
        params = {
            "PhoneNumbers": ",".join(numbers or self._receiver.numbers),
            "SignName": self._receiver.options["sign_name"],
            "TemplateCode": template.code,
            "TemplateParam": msgspec.json.encode(filled).decode(),
            "OutId": note.key,
        }
        found = await self._ask("SendSms", params, repeatable=False)
        return str(found.get("BizId", ""))

    async def knows(self, note: Note, tried_ms: int, numbers: Sequence[str] = ()) -> bool | None:
        """Ask for the texts of that day to the first number; see `Notifier.knows`."""
        number = (numbers or self._receiver.numbers)[0]
        for day in sorted({_day(tried_ms), _day(self._now_ms())}):
            for page in range(1, _PAGES_MAX + 1):
                params = {"PhoneNumber": number, "SendDate": day, "PageSize": str(_PAGE), "CurrentPage": str(page)}
                sent = list(_details(await self._ask("QuerySendDetails", params, repeatable=True)))
                if any(each.get("OutId") == note.key for each in sent):
                    return True
                if len(sent) < _PAGE:
                    break
        return False

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    async def _ask(self, name: str, params: Mapping[str, str], *, repeatable: bool) -> Mapping[str, Any]:
        action = Action(self._host, name, _VERSION, params)
        # Signed anew for each request: a nonce counts once, so that the client must not repeat it by itself.
        headers = signed_headers(action, self._key_id, self._secret, self._now_ms(), secrets.token_hex(16))
        try:
            answer = await self._http.call(
                "POST", f"{self._url}/?{query_of(params)}", headers=headers, repeatable=repeatable
            )
        except PlatformBusy as busy:
            raise PlatformBusy(f"{_WHO}: {busy.reason}", retry_after_s=busy.retry_after_s) from None
        if answer.status not in OK and answer.status not in range(400, 500):
            raise PlatformRefused(f"{_WHO} answered with status {answer.status}", code=str(answer.status))
        found = read(answer._replace(status=200), _WHO)
        code = str(found.get("Code", ""))
        if code != "OK":
            # Not its text: it may hold the number.
            fail(_WHO, code, "", CODES, _ADVICE.get(code, ""))
        return found


_ADVICE: Final = {
    "InvalidTimeStamp.Expired": "set this machine's clock",
    "isv.BUSINESS_LIMIT_CONTROL": "too many texts to this number for now",
    "isv.MOBILE_NUMBER_ILLEGAL": "the number is none that texts can be sent to",
    "isv.OUT_OF_SERVICE": "top the account up",
    "isv.AMOUNT_NOT_ENOUGH": "top the account up",
}


def _details(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    listed = found.get("SmsSendDetailDTOs")
    inner = listed.get("SmsSendDetailDTO") if isinstance(listed, dict) else None
    yield from (each for each in inner or () if isinstance(each, dict))


def _day(utc_ms: int) -> str:
    return datetime.fromtimestamp(utc_ms / 1000, UTC).astimezone(_DAY_ZONE).strftime("%Y%m%d")
