"""Pinduoduo's open platform: one address, signed parameters, a change feed with windows of half an hour."""

from collections.abc import Callable
from typing import Any, Final

from adapters.simulators import signatures, wire_pinduoduo
from adapters.simulators.carriers import CARRIERS, neutral
from adapters.simulators.exchange import Refused, Reply, Request, decode, reply, whole
from adapters.simulators.numbers import number_of
from adapters.simulators.orders import SimOrder, SimParcel
from adapters.simulators.platform import SimPlatform
from adapters.simulators.shop import Granted
from adapters.simulators.store import Shipment
from adapters.simulators.texts import seconds

_TOLERANCE_MS: Final = 600_000
_WINDOW_S: Final = 1_800
_DAY_S: Final = 86_400
_ALL: Final = 5


class Pinduoduo(SimPlatform):
    """`/api/router` and `/oauth/token`."""

    channel = "pinduoduo"
    access_s = 86_400
    refresh_s = 30 * 86_400

    def operation(self, request: Request) -> str:
        """Return the method that `type` names."""
        if request.path.endswith("/oauth/token"):
            return "token"
        return self._params(request).get("type", "")

    @staticmethod
    def _params(request: Request) -> dict[str, str]:
        """Return the parameters of query, form or JSON body; numbers of JSON as their text."""
        params = request.form()
        if request.headers.get("content-type", "").startswith("application/json") and request.body:
            params |= {name: value if isinstance(value, str) else str(value) for name, value in request.json().items()}
        return params

    def handle(self, request: Request) -> Reply:
        """Answer a token request or a method."""
        params = self._params(request)
        if request.path.endswith("/oauth/token"):
            if params.get("client_id") != self.shop.app_key or params.get("client_secret") != self.shop.app_secret:
                raise Refused(10001, "公共参数错误:client_id")
            return reply(self._granted(self._token(params)))
        if request.path.rstrip("/") not in ("/api/router", ""):
            raise Refused("not-found", request.path, status=404)
        return self._method(params)

    def refusal(self, refused: Refused, request: Request) -> Reply:
        """Return `error_response`."""
        del request
        error = {
            "error_code": refused.code,
            "error_msg": refused.text,
            "sub_code": refused.sub_code or str(refused.code),
        }
        error |= {
            "sub_msg": refused.sub_text or refused.text,
            "request_id": str(number_of("pdd", str(self.now_ms()), 17)),
        }
        return reply({"error_response": error}, refused.status)

    def wrong_parameter(self, text: str) -> Refused:
        """Return code 50001."""
        return Refused(50001, "业务服务错误", "50001", f"参数错误: {text}")

    def limited(self) -> Refused:
        """Return code 70031."""
        return Refused(70031, "调用过于频繁，请调整调用频率")

    def system_error(self) -> Refused:
        """Return code 50000."""
        return Refused(50000, "系统内部错误")

    def _token(self, params: dict[str, str]) -> Granted:
        granted = None
        if params.get("refresh_token"):
            granted = self.tokens.refreshed(params["refresh_token"])
        elif params.get("code"):
            granted = self.tokens.exchange(params["code"])
        if granted is None:
            raise Refused(10035, "refresh_token已过期" if params.get("refresh_token") else "code无效")
        return granted

    def _granted(self, granted: Granted) -> dict[str, Any]:
        return {
            "access_token": granted.access,
            "refresh_token": granted.refresh,
            "expires_in": self.access_s,
            "expires_at": seconds(granted.expires_ms),
            "refresh_token_expires_in": self.refresh_s,
            "refresh_token_expires_at": seconds(granted.refresh_expires_ms),
            "owner_id": str(self.shop.shop_id),
            "owner_name": self.shop.name,
            "scope": ["pdd.order.information.get", "pdd.order.number.list.increment.get"],
            "type": "bearer",
        }

    def _method(self, params: dict[str, str]) -> Reply:
        for name in ("type", "client_id", "timestamp", "sign"):
            if not params.get(name):
                raise Refused(10001, f"公共参数错误:{name}")
        if params["client_id"] != self.shop.app_key:
            raise Refused(10001, "公共参数错误:client_id")
        if abs(int(params["timestamp"]) * 1000 - self.now_ms()) > _TOLERANCE_MS:
            raise Refused(10001, "公共参数错误:timestamp")
        if params.get("data_type", "JSON").upper() != "JSON":
            raise Refused(10001, "公共参数错误:data_type")
        if params["sign"] != signatures.pinduoduo(params, self.shop.app_secret):
            raise Refused(20004, "签名sign校验失败")
        method = params["type"]
        if method in ("pdd.pop.auth.token.create", "pdd.pop.auth.token.refresh"):
            name = "pop_auth_token_create_response" if method.endswith("create") else "pop_auth_token_refresh_response"
            return reply({name: self._granted(self._token(params))})
        if method == "pdd.time.get":
            return reply({"time_get_response": {"time": str(self.now_ms())}})
        state = self.tokens.state(params.get("access_token", ""))
        if state != "ok":
            raise Refused(10019, "access_token已过期") if state == "expired" else Refused(10018, "access_token不存在")
        found = self._methods().get(method)
        if found is None:
            raise Refused(10000, "type is invalid", "10000", f"接口不存在: {method}")
        name, act = found
        return reply({name: {**act(params), "request_id": str(number_of("pdd", str(self.now_ms()), 17))}})

    def _methods(self) -> dict[str, tuple[str, Callable[[dict[str, str]], dict[str, Any]]]]:
        return {
            "pdd.order.number.list.increment.get": ("order_sn_increment_get_response", self._changed),
            "pdd.order.information.get": ("order_info_get_response", self._one),
            "pdd.order.list.get": ("order_list_get_response", self._confirmed),
            "pdd.order.basic.list.get": ("order_basic_list_get_response", self._confirmed),
            "pdd.refund.list.increment.get": ("refund_increment_get_response", self._refunds),
            "pdd.refund.information.get": ("refund_information_get_response", self._refund),
            "pdd.logistics.online.send": ("logistics_online_send_response", self._ship),
            "pdd.order.upload.extra.logistics": ("upload_extra_logistics_response", self._ship_more),
            "pdd.logistics.companies.get": ("logistics_companies_get_response", self._companies),
            "pdd.mall.info.get": ("mall_info_get_response", self._mall),
            "pdd.pmc.user.permit": ("pmc_user_permit_response", lambda _: {"is_success": True}),
        }

    def _mall(self, params: dict[str, str]) -> dict[str, Any]:
        del params
        return {"mall_id": self.shop.shop_id, "mall_name": self.shop.name, "mall_desc": "", "merchant_type": 5}

    def _companies(self, params: dict[str, str]) -> dict[str, Any]:
        del params
        known = [
            {"id": int(code), "logistics_company": name, "code": carrier, "available": 1}
            for carrier, (code, name) in CARRIERS["pinduoduo"].items()
        ]
        return {"logistics_companies": known}

    def _changed(self, params: dict[str, str]) -> dict[str, Any]:
        start, end = int(params["start_updated_at"]), int(params["end_updated_at"])
        if not 0 <= end - start <= _WINDOW_S:
            raise Refused(50001, "业务服务错误", "50001", "开始时间和结束时间间距不能超过30分钟")
        whole(params.get("is_lucky_flag"), "is_lucky_flag", 0, 2)
        status = whole(params.get("order_status"), "order_status", 1, _ALL)
        refund = whole(params.get("refund_status"), "refund_status", 1, _ALL)
        found = [
            info
            for order in self.store.changed_between(start * 1000, end * 1000)
            if wire_pinduoduo.in_feed(order)
            for info in [wire_pinduoduo.order_info(order)]
            if status in (_ALL, info["order_status"])
            and refund in (_ALL, info["refund_status"])
            and int(params.get("trade_type", info["trade_type"])) == info["trade_type"]
        ]
        return self._page(found, params, "order_sn_list")

    def _page(self, found: list[Any], params: dict[str, str], name: str) -> dict[str, Any]:
        page = whole(params.get("page"), "page", 1, 10_000, 1)
        size = min(whole(params.get("page_size"), "page_size", 1, 100, 100), self.shop.per_page_max)
        answer: dict[str, Any] = {name: found[(page - 1) * size : page * size]}
        if params.get("use_has_next", "").lower() == "true":
            return answer | {"total_count": 0, "has_next": page * size < len(found)}
        return answer | {"total_count": len(found), "has_next": False}

    def _confirmed(self, params: dict[str, str]) -> dict[str, Any]:
        start, end = int(params["start_confirm_at"]), int(params["end_confirm_at"])
        if not 0 <= end - start <= _DAY_S:
            raise Refused(50001, "业务服务错误", "50001", "开始时间和结束时间间距不能超过24小时")
        basic = params["type"] == "pdd.order.basic.list.get"
        found = [
            wire_pinduoduo.order_info(order, with_receiver=not basic)
            for order in self.store.all()
            if start <= seconds(order.paid_ms) <= end
        ]
        return self._page(found, params, "order_list")

    def _one(self, params: dict[str, str]) -> dict[str, Any]:
        order = self.store.get(params.get("order_sn", ""))
        if order is None:
            raise Refused(50001, "业务服务错误", "50001", "订单不存在")
        return {"order_info": wire_pinduoduo.order_info(order)}

    def _refunds(self, params: dict[str, str]) -> dict[str, Any]:
        if params.get("order_sn"):
            one = self.store.get(params["order_sn"])
            orders = [one] if one is not None else []
        else:
            start, end = int(params["start_updated_at"]), int(params["end_updated_at"])
            if not 0 <= end - start <= _WINDOW_S:
                raise Refused(50001, "业务服务错误", "50001", "开始时间和结束时间间距不能超过30分钟")
            orders = self.store.changed_between(start * 1000, end * 1000)
        found = [refund for order in orders for refund in wire_pinduoduo.refunds(order)]
        return self._page(found, params, "refund_list")

    def _refund(self, params: dict[str, str]) -> dict[str, Any]:
        order = self.store.get(params.get("order_sn", ""))
        for line in order.lines if order is not None else ():
            info = wire_pinduoduo.refund_in_fen(order, line) if order is not None and line.after_sale else {}
            if info and str(info["id"]) == params.get("after_sales_id", str(info["id"])):
                return info
        raise Refused(50001, "业务服务错误", "50001", "售后单不存在")

    def _ship(self, params: dict[str, str]) -> dict[str, Any]:
        order, carrier, tracking = self._notice(params)
        again = params.get("redelivery_type", "1") == "2"
        if order.status in ("shipped", "completed"):
            if not again:
                raise Refused(50001, "业务服务错误", "50001", "订单已发货，不能重复发货")
            first = SimParcel(carrier, tracking, self.now_ms())
            self.store.change(order.order_no, parcels=(first, *order.parcels[1:]))
            return {"is_success": True}
        if order.status not in ("paid", "allocating") or order.hold:
            raise Refused(50001, "业务服务错误", "50001", "订单状态不允许发货")
        if order.refunding:
            raise Refused(50001, "业务服务错误", "50001", "订单正在售后中，不能发货")
        self.store.ship(order.order_no, carrier, tracking)
        return {"is_success": True}

    def _ship_more(self, params: dict[str, str]) -> dict[str, Any]:
        tracks = decode(params["extra_track_list"])
        for track in tracks:
            one = {"logistics_id": str(track["shipping_id"]), "tracking_number": str(track["tracking_number"])}
            order, carrier, tracking = self._notice(params | one)
            if order.status not in ("shipped", "completed"):
                raise Refused(50001, "业务服务错误", "50001", "订单未发货，不能上传额外运单")
            if all(parcel.tracking != tracking for parcel in order.parcels):
                more = SimParcel(carrier, tracking, self.now_ms())
                self.store.change(order.order_no, parcels=(*order.parcels, more))
                self.store.shipments.append(Shipment(order.order_no, carrier, tracking, (), self.now_ms()))
        return {"is_success": True}

    def _notice(self, params: dict[str, str]) -> tuple[SimOrder, str, str]:
        order = self.store.get(params.get("order_sn", ""))
        if order is None:
            raise Refused(50001, "业务服务错误", "50001", "订单不存在")
        carrier, tracking = neutral("pinduoduo", params.get("logistics_id", "")), params.get("tracking_number", "")
        if carrier is None:
            raise Refused(50001, "业务服务错误", "50001", "快递公司不存在")
        if not tracking:
            raise Refused(50001, "业务服务错误", "50001", "快递单号不能为空")
        return order, carrier, tracking
