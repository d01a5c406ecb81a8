"""JD's open platform (JOS): one address, business parameters as one JSON text, results that fail inside a success."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from adapters.simulators import signatures, wire_jd
from adapters.simulators.carriers import CARRIERS, neutral
from adapters.simulators.exchange import Refused, Reply, Request, decode, reply, whole
from adapters.simulators.numbers import token_of
from adapters.simulators.orders import SimOrder, SimParcel
from adapters.simulators.platform import SimPlatform
from adapters.simulators.texts import CHINA, from_wall

_TOLERANCE_MS: Final = 600_000
_MONTH_MS: Final = 31 * 86_400_000
_REACH_MS: Final = 92 * 86_400_000


class _Failed(Exception):
    """The outer answer succeeds, the inner result says no."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number
        self.text = text


class Jd(SimPlatform):
    """`/routerjson`, `/oauth2/access_token`, `/oauth2/refresh_token`."""

    channel = "jd"
    access_s = 30 * 86_400
    refresh_s = 30 * 86_400

    def operation(self, request: Request) -> str:
        """Return the method that the parameters name."""
        if "/oauth2/" in request.path:
            return "token"
        return request.form().get("method", "")

    def handle(self, request: Request) -> Reply:
        """Answer a token request or a method."""
        params = request.form()
        if "/oauth2/" in request.path:
            return self._token(request.path.rsplit("/", 1)[1], params)
        if request.path.rstrip("/") not in ("/routerjson", ""):
            raise Refused("not-found", request.path, status=404)
        return self._method(params)

    def refusal(self, refused: Refused, request: Request) -> Reply:
        """Return `error_response`; the token address answers in its own form."""
        if "/oauth2/" in request.path:
            return reply({"code": refused.code, "msg": refused.text, "request_id": token_of("jd", str(self.now_ms()))})
        return reply(
            {"error_response": {"code": str(refused.code), "zh_desc": refused.text, "en_desc": refused.sub_text}},
            refused.status,
        )

    def wrong_parameter(self, text: str) -> Refused:
        """Return code 12."""
        return Refused(12, "参数错误", sub_text=f"invalid parameter: {text}")

    def limited(self) -> Refused:
        """Return code 66."""
        return Refused(66, "平台接口调用次数超限,请稍后再试", sub_text="api call limited")

    def system_error(self) -> Refused:
        """Return code 65."""
        return Refused(65, "平台连接后端服务不可用", sub_text="backend service is not available")

    def _token(self, kind: str, params: dict[str, str]) -> Reply:
        if params.get("app_key") != self.shop.app_key or params.get("app_secret") != self.shop.app_secret:
            raise Refused(402, "app_key or app_secret is wrong")
        if kind == "access_token" and params.get("grant_type") == "authorization_code":
            granted = self.tokens.exchange(params.get("code", ""))
        elif kind == "refresh_token" and params.get("grant_type") == "refresh_token":
            granted = self.tokens.refreshed(params.get("refresh_token", ""))
        else:
            raise Refused(400, "grant_type does not fit the address")
        if granted is None:
            raise Refused(403, "the code or refresh token is wrong, used or has ended")
        return reply(
            {
                "access_token": granted.access,
                "expires_in": self.access_s,
                "refresh_token": granted.refresh,
                "scope": "snsapi_base",
                "open_id": token_of("open", self.shop.app_key),
                "uid": str(self.shop.shop_id),
                "time": self.now_ms(),
                "token_type": "bearer",
                "code": 0,
                "xid": "o*" + token_of("xid", self.shop.name, 20),
            }
        )

    def _method(self, params: dict[str, str]) -> Reply:
        for name, code in (("method", 9), ("app_key", 27), ("timestamp", 23), ("sign", 21), ("v", 25)):
            if not params.get(name):
                raise Refused(code, f"缺少{name}参数", sub_text=f"{name} is missing")
        if params["app_key"] != self.shop.app_key:
            raise Refused(28, "无效app_key", sub_text="invalid app_key")
        try:
            off_ms = abs(_instant(params["timestamp"]) - self.now_ms())
        except ValueError:
            raise Refused(24, "无效时间戳", sub_text="invalid timestamp") from None
        if off_ms > _TOLERANCE_MS:
            raise Refused(24, "无效时间戳", sub_text="invalid timestamp")
        if params["sign"] != signatures.jd(params, self.shop.app_secret):
            raise Refused(22, "无效签名", sub_text="invalid signature")
        if self.tokens.state(params.get("access_token", "")) != "ok":
            raise Refused(19, "token已过期或不存在,请重新授权", sub_text="invalid access_token")
        method = params["method"]
        found = self._methods().get(method)
        if found is None:
            raise Refused(10, "不存在的方法名", sub_text="invalid method")
        name, act = found
        asked = decode(params.get("360buy_param_json") or "{}")
        try:
            body = act(asked)
        except _Failed as failed:
            # orders' results carry an inner state, others say so beside it
            body = {"apiResult": _state(failed)} if "order" in name else {}
            body |= {"success": False, "errorCode": failed.number, "chineseErrCode": failed.text, "englishErrCode": ""}
            return reply(self._named(method, name, body), outcome=f"refused {failed.number}")
        return reply(self._named(method, name, body))

    @staticmethod
    def _named(method: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        return {method.replace(".", "_") + "_responce": {"code": "0", name: body}}

    def _methods(self) -> dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]]:
        return {
            "jingdong.pop.order.search": ("searchorderinfo_result", self._search),
            "jingdong.pop.order.enSearch": ("searchorderinfo_result", self._search),
            "jingdong.pop.order.get": ("orderDetailInfo", self._one),
            "jingdong.pop.order.enGet": ("orderDetailInfo", self._one),
            "jingdong.pop.order.notPayOrderInfo": ("searchorderinfo_result", self._unpaid),
            "jingdong.pop.afs.soa.refundapply.queryPageList": ("queryResult", self._refunds),
            "jingdong.pop.order.shipment": ("sopjosshipment_result", self._ship),
            "jingdong.pop.order.partial.outship": ("partialOutShipResult", self._ship_part),
            "jingdong.seller.vender.info.get": ("vender_info_result", self._vender),
            "jingdong.get.vender.carrier": ("getvendercarrier_result", self._carriers),
        }

    def _vender(self, asked: dict[str, Any]) -> dict[str, Any]:
        del asked
        return {"vender_id": self.shop.shop_id, "shop_id": self.shop.shop_id, "shop_name": self.shop.name}

    def _carriers(self, asked: dict[str, Any]) -> dict[str, Any]:
        del asked
        return {
            "carriers": [{"logistics_id": int(code), "logistics_name": name} for code, name in CARRIERS["jd"].values()]
        }

    def _search(self, asked: dict[str, Any]) -> dict[str, Any]:
        fields = _fields(asked)
        states = set(str(asked.get("order_state") or "").split(",")) - {""}
        if not states:
            raise _Failed(10100021, "订单状态不能为空")
        start_ms, end_ms = from_wall(asked["start_date"]), from_wall(asked["end_date"])
        if not 0 <= end_ms - start_ms <= _MONTH_MS:
            raise _Failed(10100013, "起止时间跨度不能超过一个月")
        if str(asked.get("dateType", "")) == "1":
            found = self.store.created_between(start_ms, end_ms)
        else:
            found = self.store.changed_between(max(start_ms, self.now_ms() - _REACH_MS), end_ms)
        found = [order for order in found if wire_jd.state_of(order) in states]
        if str(asked.get("sortType", "")) != "1":
            found.reverse()
        number = whole(asked.get("page"), "page", 1, 100_000)
        size = min(whole(asked.get("page_size"), "page_size", 1, 100), self.shop.per_page_max)
        page = found[(number - 1) * size : number * size]
        infos = [_only(wire_jd.order_info(order, self.shop.shop_id), fields) for order in page]
        return {"apiResult": _state(None), "orderTotal": len(found), "orderInfoList": infos}

    def _unpaid(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self._search({"sortType": "1", **asked, "order_state": "NOT_PAY"})

    def _one(self, asked: dict[str, Any]) -> dict[str, Any]:
        fields = _fields(asked)
        order = self.store.get(str(asked.get("order_id", "")))
        if order is None:
            raise _Failed(10400001, "订单不存在")
        return {"apiResult": _state(None), "orderInfo": _only(wire_jd.order_info(order, self.shop.shop_id), fields)}

    def _refunds(self, asked: dict[str, Any]) -> dict[str, Any]:
        number = asked.get("orderId")
        orders = self.store.all() if number is None else filter(None, [self.store.get(str(number))])
        found = [one for order in orders for one in wire_jd.refund_applications(order)]
        page, size = int(asked.get("pageIndex", 1)), int(asked.get("pageSize", 50))
        return {"success": True, "totalCount": len(found), "result": found[(page - 1) * size : page * size]}

    def _to_ship(self, number: object) -> SimOrder:
        order = self.store.get(str(number))
        if order is None:
            raise _Failed(10400001, "订单不存在")
        if order.status in ("shipped", "completed"):
            raise _Failed(10400010, "订单已出库,请勿重复操作")
        if wire_jd.state_of(order) != "WAIT_SELLER_STOCK_OUT":
            raise _Failed(10400012, "订单状态不是等待出库,不能出库")
        return order

    def _ship_part(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Take a notice after which more parcels follow. The names in it are those of the published Java classes."""
        for part in asked["request"]["data"]:
            for number in part["orderIds"]:
                order = self._to_ship(number)
                ids = wire_jd.line_ids(order)
                for parcel in part["deliveryNumberDtoList"]:
                    carrier = neutral("jd", str(parcel["deliveryId"]))
                    goods = [str(one["skuId"]) for one in parcel["partialShipmentGoodsList"]]
                    if carrier is None:
                        raise _Failed(10400020, "物流公司不存在")
                    if not set(goods) <= set(ids):
                        raise _Failed(10400022, "商品不属于该订单")
                    self.store.ship(
                        order.order_no, carrier, parcel["deliveryNums"][0], [ids.index(one) for one in goods]
                    )
        return {"success": True, "errorCode": 0, "chineseErrCode": "成功"}

    def _ship(self, asked: dict[str, Any]) -> dict[str, Any]:
        order = self._to_ship(asked.get("orderId", ""))
        codes = str(asked.get("logiCoprId", "")).split("|")
        trackings = str(asked.get("logiNo", "")).split("|")
        carriers = [neutral("jd", code) for code in codes]
        if None in carriers:
            raise _Failed(10400020, "物流公司不存在")
        if not trackings[0] or len(trackings) != len(carriers):
            raise _Failed(10400021, "运单号不正确")
        shipped = self.store.ship(order.order_no, carriers[0] or "", trackings[0])
        more = [
            SimParcel(one or "", number, self.now_ms()) for one, number in zip(carriers[1:], trackings[1:], strict=True)
        ]
        if more:
            self.store.change(order.order_no, parcels=(*shipped.parcels, *more), modified_ms=shipped.modified_ms)
        return {"success": True, "errorCode": 0, "chineseErrCode": "成功", "englishErrCode": "success"}


def _state(failed: _Failed | None) -> dict[str, Any]:
    if failed is None:
        return {"success": True, "numberCode": 0, "chineseErrCode": "成功", "englishErrCode": "success"}
    return {"success": False, "numberCode": failed.number, "chineseErrCode": failed.text, "englishErrCode": "failed"}


def _fields(asked: dict[str, Any]) -> set[str]:
    """Return the fields that are asked for; nothing else comes back."""
    if not asked.get("optional_fields"):
        raise _Failed(10100020, "可选字段不能为空")
    return {name.strip() for name in str(asked["optional_fields"]).split(",")}


def _only(info: dict[str, Any], fields: set[str]) -> dict[str, Any]:
    return {name: value for name, value in info.items() if name in fields or name == "orderId"}


def _instant(text: str) -> int:
    """Read `2021-05-07 09:20:39[.683][+0800]`."""
    form = "%Y-%m-%d %H:%M:%S" + (".%f" if "." in text else "") + ("%z" if "+" in text else "")
    found = datetime.strptime(text, form)  # noqa: DTZ007 - the zone follows
    return round((found if found.tzinfo else found.replace(tzinfo=CHINA)).timestamp() * 1000)
