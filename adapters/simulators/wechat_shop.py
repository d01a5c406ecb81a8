"""The WeChat shop: JSON bodies, the token in the query, ids first and orders one by one, encrypted pushes."""

import secrets
from collections.abc import Callable
from typing import Any, Final
from xml.sax.saxutils import escape

from adapters.simulators import signatures, wire_wechat_shop
from adapters.simulators.carriers import CARRIERS, neutral
from adapters.simulators.exchange import Refused, Reply, Request, decode, encode, reply
from adapters.simulators.numbers import token_of
from adapters.simulators.orders import SimOrder
from adapters.simulators.platform import Push, SimPlatform
from adapters.simulators.store import Kind
from adapters.simulators.texts import seconds

_WEEK_S: Final = 7 * 86_400
_DAY_S: Final = 86_400
_Place = tuple[int, str]
_FIRST: Final[_Place] = (-(1 << 62), "")
_EVENTS: Final[dict[Kind, str]] = {
    "created": "channels_ec_order_new",
    "paid": "channels_ec_order_pay",
    "shipped": "channels_ec_order_deliver",
    "partly_shipped": "channels_ec_order_deliver",
    "completed": "channels_ec_order_confirm",
    "cancelled": "channels_ec_order_cancel",
    "changed": "channels_ec_order_ext_info_update",
    "after_sale": "channels_ec_aftersale_update",
}


class WechatShop(SimPlatform):
    """`/cgi-bin/stable_token` and `/channels/ec/…`."""

    channel = "wechat_shop"
    access_s = 7_200
    refresh_s = 7_200

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: dict[str, tuple[str, _Place]] = {}
        """Cursor → the filter that it belongs to, and the last place that was given."""

    def operation(self, request: Request) -> str:
        """Return the path."""
        return request.path

    def handle(self, request: Request) -> Reply:
        """Answer a call."""
        if request.path == "/cgi-bin/stable_token":
            return reply(self._token(request.json()))
        if request.path == "/cgi-bin/token":
            return reply(self._token(dict(request.query)))
        if not request.query.get("access_token"):
            raise Refused(41001, "access_token missing")
        state = self.tokens.state(request.query["access_token"])
        if state != "ok":
            raise Refused(42001, "access_token expired") if state == "expired" else Refused(40001, "invalid credential")
        act = self._methods().get(request.path)
        if act is None:
            raise Refused(-1, "not found", status=404)
        asked = request.json() if request.body else {}
        return reply({"errcode": 0, "errmsg": "ok", **act(asked)})

    def refusal(self, refused: Refused, request: Request) -> Reply:
        """Return `errcode` and `errmsg`."""
        del request
        text = f"{refused.text} rid: {token_of('rid', str(self.now_ms()), 8)}"
        return reply({"errcode": refused.code, "errmsg": text}, refused.status)

    def wrong_parameter(self, text: str) -> Refused:
        """Return code 47001."""
        return Refused(47001, f"data format error: {text}")

    def limited(self) -> Refused:
        """Return code 45011."""
        return Refused(45011, "api minute-quota reach limit, must slower, retry next minute")

    def system_error(self) -> Refused:
        """Return code -1."""
        return Refused(-1, "system error")

    def _token(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked.get("appid") != self.shop.app_key:
            raise Refused(40013, "invalid appid")
        if asked.get("secret") != self.shop.app_secret:
            raise Refused(40125, "invalid appsecret")
        if asked.get("grant_type") != "client_credential":
            raise Refused(40002, "invalid grant_type")
        current = self.tokens.current
        if asked.get("force_refresh") or self.tokens.state(current.access) != "ok":
            current = self.tokens.grant()
        return {"access_token": current.access, "expires_in": max(1, (current.expires_ms - self.now_ms()) // 1000)}

    def _methods(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "/channels/ec/order/list/get": self._changed,
            "/channels/ec/order/get": self._one,
            "/channels/ec/aftersale/getaftersalelist": self._after_sales,
            "/channels/ec/aftersale/getaftersaleorder": self._after_sale,
            "/channels/ec/order/delivery/send": self._ship,
            "/channels/ec/order/deliverycompanylist/get": self._companies,
            "/channels/ec/basics/info/get": self._info,
        }

    def _info(self, asked: dict[str, Any]) -> dict[str, Any]:
        del asked
        return {
            "info": {"nickname": self.shop.name, "headimg_url": "", "subject_type": "企业", "status": "open_finished"}
        }

    def _companies(self, asked: dict[str, Any]) -> dict[str, Any]:
        del asked
        known = CARRIERS["wechat_shop"].values()
        return {"company_list": [{"delivery_id": code, "delivery_name": name} for code, name in known]}

    def _changed(self, asked: dict[str, Any]) -> dict[str, Any]:
        by, span = "update", asked.get("update_time_range")
        if span is None:
            by, span = "create", asked.get("create_time_range")
        if not isinstance(span, dict):
            raise Refused(47001, "create_time_range or update_time_range is needed")
        start, end = int(span["start_time"]), int(span["end_time"])
        if not 0 <= end - start <= _WEEK_S:
            raise Refused(31042, "time range is too long, narrow it")
        between = self.store.changed_between if by == "update" else self.store.created_between
        wanted = asked.get("status")
        found = [
            ((-seconds(order.modified_ms if by == "update" else order.ordered_ms), order.order_no), order.order_no)
            for order in between(start * 1000, end * 1000)
            if wanted in (None, wire_wechat_shop.status_of(order))
        ]
        if 0 < self.shop.per_window_max < len(found):
            raise Refused(31042, "too many orders in this time range, narrow it")
        asked_for = f"{by}:{start}:{end}:{wanted}:{asked.get('openid')}"
        page, more, key = self._part(found, asked, asked_for)
        return {"order_id_list": page, "has_more": more, "next_key": key}

    def _part(
        self, found: list[tuple[_Place, str]], asked: dict[str, Any], asked_for: str
    ) -> tuple[list[str], bool, str]:
        """Return the ids behind the cursor's place, wherever the list moved meanwhile."""
        size = int(asked.get("page_size") or 10)
        if not 1 <= size <= 100:  # noqa: PLR2004 - the platform's own limit
            raise Refused(47001, "page_size must lie between 1 and 100")
        size = min(size, self.shop.per_page_max)
        key = asked.get("next_key") or ""
        if key:
            belongs, last = self._cursors.get(key, ("", _FIRST))
            if belongs != asked_for:
                raise Refused(606006, "next_key does not fit the filter")
            found = [one for one in found if one[0] > last]
        page = found[:size]
        more = size < len(found)
        next_key = secrets.token_urlsafe(12) if more else ""
        if more:
            self._cursors[next_key] = (asked_for, page[-1][0])
        return [number for _, number in page], more, next_key

    def _one(self, asked: dict[str, Any]) -> dict[str, Any]:
        order = self.store.get(str(asked.get("order_id", "")))
        if order is None:
            raise Refused(100001, "order not exist")
        return {"order": wire_wechat_shop.order(order)}

    def _after_sales(self, asked: dict[str, Any]) -> dict[str, Any]:
        by = "update" if "begin_update_time" in asked else "create"
        start, end = int(asked[f"begin_{by}_time"]), int(asked[f"end_{by}_time"])
        if not 0 <= end - start <= _DAY_S:
            raise Refused(31042, "time range is too long, narrow it")
        found = [
            ((-seconds(order.modified_ms), one), one)
            for order in self.store.changed_between(start * 1000, end * 1000)
            for one in wire_wechat_shop.after_sale_ids(order)
        ]
        page, more, key = self._part(found, asked, f"after:{by}:{start}:{end}")
        return {"after_sale_order_id_list": page, "has_more": more, "next_key": key}

    def _after_sale(self, asked: dict[str, Any]) -> dict[str, Any]:
        wanted = str(asked.get("after_sale_order_id", ""))
        for order in self.store.all():
            if wanted in wire_wechat_shop.after_sale_ids(order):
                return {"after_sale_order": wire_wechat_shop.after_sale(order, wanted)}
        raise Refused(100002, "after sale order not exist")

    def _ship(self, asked: dict[str, Any]) -> dict[str, Any]:
        order = self.store.get(str(asked.get("order_id", "")))
        if order is None:
            raise Refused(100001, "order not exist")
        if order.status in ("shipped", "completed"):
            raise Refused(109001, "order has been delivered")
        if order.status not in ("paid", "allocating"):
            raise Refused(109002, "order status does not allow delivery")
        parcels = asked.get("delivery_list")
        if not isinstance(parcels, list) or not parcels:
            raise Refused(47001, "delivery_list is empty")
        planned = [self._parcel(order, parcel) for parcel in parcels]
        for carrier, tracking, lines in planned:
            self.store.ship(order.order_no, carrier, tracking, lines)
        return {}

    @staticmethod
    def _parcel(order: SimOrder, parcel: dict[str, Any]) -> tuple[str, str, list[int]]:
        carrier, tracking = (
            neutral("wechat_shop", str(parcel.get("delivery_id", ""))),
            str(parcel.get("waybill_id", "")),
        )
        if carrier is None:
            raise Refused(109003, "delivery_id is unknown")
        if not tracking:
            raise Refused(109004, "waybill_id is empty")
        items = wire_wechat_shop.items(order)
        lines = []
        for product in parcel.get("product_infos") or []:
            item = (str(product.get("product_id", "")), str(product.get("sku_id", "")))
            count = int(product.get("product_cnt", 0))
            if item not in items or not 0 < count <= order.lines[items.index(item)].quantity:
                raise Refused(109005, "product_infos do not fit the order")
            if order.lines[items.index(item)].shipped:
                raise Refused(109001, "product has been delivered")
            lines.append(items.index(item))
        if not lines:
            raise Refused(109005, "product_infos is empty")
        return carrier, tracking, lines

    def push(self, order: SimOrder, kind: Kind, form: str = "json") -> Push:
        """Return an encrypted message, in JSON or XML; ids are integers in it."""
        at = seconds(order.modified_ms)
        plain: dict[str, Any] = {
            "ToUserName": "gh_store",
            "FromUserName": "oUpF8u" + token_of("openid", order.buyer.id, 22),
            "CreateTime": at,
            "MsgType": "event",
            "Event": _EVENTS[kind],
        }
        if kind == "after_sale":
            ids = wire_wechat_shop.after_sale_ids(order)
            status = {"status": "MERCHANT_PROCESSING", "order_id": order.order_no}
            plain["finder_shop_aftersale_status_update"] = status | {"after_sale_order_id": ids[0] if ids else ""}
        else:
            plain["order_info"] = {"order_id": int(order.order_no), **({"pay_time": at} if kind == "paid" else {})}
        return self.signed(plain, order.order_no, form)

    def signed(self, plain: dict[str, Any], number: str = "", form: str = "json") -> Push:
        """Return any message encrypted and signed."""
        message = encode(plain) if form == "json" else f"<xml>{_xml(plain)}</xml>".encode()
        encrypted = signatures.wechat_encrypt(message, self.shop.aes_key, self.shop.app_key)
        timestamp, nonce = str(seconds(self.now_ms())), str(secrets.randbelow(10**9))
        sign = signatures.wechat(self.shop.push_token, timestamp, nonce, encrypted)
        envelope = {"ToUserName": "gh_store", "Encrypt": encrypted}
        body = encode(envelope) if form == "json" else f"<xml>{_xml(envelope)}</xml>".encode()
        query = {"timestamp": timestamp, "nonce": nonce, "encrypt_type": "aes", "msg_signature": sign}
        query["signature"] = signatures.wechat(self.shop.push_token, timestamp, nonce)
        kind = "application/json" if form == "json" else "text/xml"
        return Push("POST", query, {"content-type": kind}, body, number)

    def probe(self, echo: str) -> Push:
        """Return the request with which WeChat checks an address: the answer must be `echo`."""
        timestamp, nonce = str(seconds(self.now_ms())), str(secrets.randbelow(10**9))
        sign = signatures.wechat(self.shop.push_token, timestamp, nonce)
        return Push("GET", {"signature": sign, "timestamp": timestamp, "nonce": nonce, "echostr": echo}, {}, b"")

    def push_accepted(self, status: int, body: bytes) -> bool:
        """Tell whether the answer is `success`, empty, or `{"ErrCode":0,…}`."""
        if status != 200:  # noqa: PLR2004 - HTTP
            return False
        if body.strip() in (b"", b"success"):
            return True
        try:
            found = decode(body)
        except ValueError:
            return False
        return isinstance(found, dict) and found.get("ErrCode") == 0


def _xml(members: dict[str, Any]) -> str:
    def one(value: Any) -> str:
        if isinstance(value, dict):
            return _xml(value)
        if isinstance(value, int):
            return str(value)
        return f"<![CDATA[{value}]]>" if "]]>" not in str(value) else escape(str(value))

    return "".join(f"<{name}>{one(value)}</{name}>" for name, value in members.items())
