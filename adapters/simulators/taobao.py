"""Taobao's open platform (TOP): one address, signed parameters, wrapped lists."""

from collections.abc import Callable
from typing import Any, Final

from adapters.simulators import signatures, wire_taobao
from adapters.simulators.carriers import CARRIERS, neutral
from adapters.simulators.exchange import Refused, Reply, Request, reply, whole
from adapters.simulators.numbers import token_of
from adapters.simulators.orders import SimOrder
from adapters.simulators.platform import SimPlatform
from adapters.simulators.texts import from_wall, wall

_TOLERANCE_MS: Final = 600_000
_DAY_MS: Final = 86_400_000
_REACH_MS: Final = 92 * _DAY_MS
_PAGE_DEFAULT: Final = 40
_COMMON: Final = (
    ("method", 21, "Missing Method"),
    ("app_key", 28, "Missing App Key"),
    ("timestamp", 30, "Missing Timestamp"),
    ("v", 32, "Missing Version"),
    ("sign", 24, "Missing Signature"),
)
_LIST_FIELDS: Final = frozenset(
    (
        *("tid", "tid_str", "status", "type", "created", "modified", "pay_time", "consign_time", "end_time"),
        *("payment", "post_fee", "total_fee", "num", "title", "seller_nick", "buyer_nick", "buyer_open_uid"),
        *("step_trade_status", "step_paid_fee", "orders"),
    )
)
"""What the change feed gives of a trade; everything else only the trade itself."""


class Taobao(SimPlatform):
    """`/router/rest` and `/token`."""

    channel = "taobao"

    def operation(self, request: Request) -> str:
        """Return the method that the parameters name."""
        if request.path.endswith("/token"):
            return "token"
        return request.form().get("method", "")

    def handle(self, request: Request) -> Reply:
        """Answer a token request or a method."""
        params = request.form()
        if request.path.endswith("/token"):
            return self._token(params)
        if request.path.rstrip("/") not in ("/router/rest", ""):
            raise Refused("not-found", request.path, status=404)
        return self._method(params)

    def refusal(self, refused: Refused, request: Request) -> Reply:
        """Return `error_response`; the token address answers as OAuth does."""
        if request.path.endswith("/token"):
            return reply({"error": str(refused.code), "error_description": refused.text}, 400)
        error: dict[str, Any] = {"code": refused.code, "msg": refused.text}
        if refused.sub_code:
            error |= {"sub_code": refused.sub_code, "sub_msg": refused.sub_text}
        error["request_id"] = token_of("request", f"{self.now_ms()}", 13)
        return reply({"error_response": error}, refused.status)

    def wrong_parameter(self, text: str) -> Refused:
        """Return code 41."""
        return Refused(41, "Invalid Arguments", "isv.invalid-parameter", text)

    def limited(self) -> Refused:
        """Return code 7."""
        return Refused(
            7,
            "App Call Limited",
            "accesscontrol.limited-by-app-api-access-count",
            "This ban will last for 1 more seconds",
        )

    def system_error(self) -> Refused:
        """Return code 15 with a sub code of the platform's own trouble."""
        return Refused(
            15, "Remote service error", "isp.top-remote-connection-timeout", "api service connection timeout"
        )

    def _token(self, params: dict[str, str]) -> Reply:
        if params.get("client_id") != self.shop.app_key or params.get("client_secret") != self.shop.app_secret:
            raise Refused("invalid_client", "client_id or client_secret is wrong")
        match params.get("grant_type"):
            case "authorization_code":
                granted = self.tokens.exchange(params.get("code", ""))
            case "refresh_token":
                granted = self.tokens.refreshed(params.get("refresh_token", ""))
            case _:
                raise Refused("unsupported_grant_type", "authorization_code or refresh_token")
        if granted is None:
            raise Refused("invalid_grant", "the code or refresh token is wrong, used or has ended")
        return reply(
            {
                "access_token": granted.access,
                "refresh_token": granted.refresh,
                "token_type": "Bearer",
                "expires_in": self.access_s,
                "re_expires_in": self.refresh_s,
                "r1_expires_in": self.access_s,
                "r2_expires_in": self.access_s,
                "w1_expires_in": self.access_s,
                "w2_expires_in": self.access_s,
                "taobao_user_id": str(self.shop.shop_id),
                "taobao_user_nick": self.shop.name,
            }
        )

    def _method(self, params: dict[str, str]) -> Reply:
        for name, code, text in _COMMON:
            if not params.get(name):
                raise Refused(code, text)
        if params["app_key"] != self.shop.app_key:
            raise Refused(29, "Invalid App Key", "isv.appkey-not-exists", "appkey不存在")
        if params["v"] != "2.0":
            raise Refused(33, "Invalid Version")
        if params.get("format", "json") != "json":
            raise Refused(23, "Invalid Format")
        try:
            off_ms = abs(from_wall(params["timestamp"]) - self.now_ms())
        except ValueError:
            raise Refused(31, "Invalid Timestamp") from None
        if off_ms > _TOLERANCE_MS:
            raise Refused(31, "Invalid Timestamp")
        if params["sign"] != signatures.taobao(params, self.shop.app_secret):
            raise Refused(25, "Invalid signature")
        method = params["method"]
        if method == "taobao.time.get":
            return self._answer_with(method, {"time": wall(self.now_ms())})
        if not params.get("session"):
            raise Refused(26, "Missing Session")
        if self.tokens.state(params["session"]) != "ok":
            raise Refused(27, "Invalid session", "invalid-sessionkey", "SessionKey非法")
        act = self._methods().get(method)
        if act is None:
            raise Refused(22, "Invalid Method", "isv.invalid-method", "不存在的方法名")
        return self._answer_with(method, act(params))

    def _methods(self) -> dict[str, Callable[[dict[str, str]], dict[str, Any]]]:
        return {
            "taobao.trade.fullinfo.get": self._one,
            "taobao.trades.sold.increment.get": self._changed,
            "taobao.refunds.receive.get": self._refunds,
            "taobao.logistics.online.send": lambda params: self._ship(params, "online"),
            "taobao.logistics.offline.send": lambda params: self._ship(params, "offline"),
            "taobao.logistics.companies.get": self._companies,
            "taobao.user.seller.get": self._seller,
            "taobao.tmc.user.permit": lambda _: {"is_success": True},
        }

    def _answer_with(self, method: str, body: dict[str, Any]) -> Reply:
        if self.shop.odd_forms:
            body = _unlisted(body)
        name = method.removeprefix("taobao.").replace(".", "_") + "_response"
        return reply({name: {**body, "request_id": token_of("request", method, 13)}})

    def _seller(self, params: dict[str, str]) -> dict[str, Any]:
        del params
        return {"user": {"user_id": self.shop.shop_id, "nick": self.shop.name, "type": "B"}}

    def _companies(self, params: dict[str, str]) -> dict[str, Any]:
        del params
        known = CARRIERS["taobao"].values()
        companies = [{"id": at, "code": code, "name": name} for at, (code, name) in enumerate(known)]
        return {"logistics_companies": {"logistics_company": companies}}

    def _one(self, params: dict[str, str]) -> dict[str, Any]:
        fields = _fields(params)
        order = self.store.get(params.get("tid", ""))
        if order is None:
            raise Refused(15, "Remote service error", "isv.trade-not-exist", "交易不存在")
        whole_trade = wire_taobao.trade(order, self.shop.name)
        return {"trade": {name: value for name, value in whole_trade.items() if name in fields}}

    def _changed(self, params: dict[str, str]) -> dict[str, Any]:
        fields = _fields(params) & _LIST_FIELDS
        start_ms, end_ms = _window(params, "start_modified", "end_modified")
        types = params.get("type", "guarantee_trade,auto_delivery,ec,cod,step").split(",")
        since = self.now_ms() - _REACH_MS
        found = [
            order
            for order in self.store.changed_between(start_ms, end_ms)
            if order.ordered_ms >= since
            and params.get("status", wire_taobao.status_of(order)) == wire_taobao.status_of(order)
            and ("step" in types or not order.presale)
        ]
        page, answer = self._page(found, params)
        if page:
            trades = [self._listed(order, fields) for order in page]
            answer["trades"] = {"trade": trades}
        return answer

    def _listed(self, order: SimOrder, fields: set[str]) -> dict[str, Any]:
        trade = wire_taobao.trade(order, self.shop.name)
        listed = {name: value for name, value in trade.items() if name in fields}
        if "orders" in listed:
            names = ("oid", "status", "refund_status")
            listed["orders"] = {"order": [{name: line[name] for name in names} for line in trade["orders"]["order"]]}
        return listed

    def _refunds(self, params: dict[str, str]) -> dict[str, Any]:
        start_ms, end_ms = _window(params, "start_modified", "end_modified")
        found = [
            refund
            for order in self.store.changed_between(start_ms, end_ms)
            for refund in wire_taobao.refunds(order, self.shop.name)
        ]
        page, answer = self._page(found, params)
        if page:
            answer["refunds"] = {"refund": page}
        return answer

    def _page(self, found: list[Any], params: dict[str, str]) -> tuple[list[Any], dict[str, Any]]:
        """Return a page, and how the feed says that there are more."""
        number = whole(params.get("page_no"), "page_no", 1, 10_000, 1)
        size = whole(params.get("page_size"), "page_size", 1, 100, _PAGE_DEFAULT)
        size = min(size, self.shop.per_page_max)
        page = found[(number - 1) * size : number * size]
        if params.get("use_has_next") == "true":
            return page, {"has_next": number * size < len(found)}
        return page, {"total_results": len(found)}

    def _ship(self, params: dict[str, str], kind: str) -> dict[str, Any]:
        def no(code: str, text: str) -> Refused:
            return Refused(15, "Remote service error", f"isv.logistics-{kind}-service-error:{code}", text)

        order = self.store.get(params.get("tid", ""))
        if order is None:
            raise no("B01", "订单不存在")
        carrier = neutral("taobao", params.get("company_code", ""))
        if carrier is None:
            raise no("B56", "没有选择物流公司或者物流公司格式不对")
        tracking = params.get("out_sid", "")
        if kind == "offline" and not tracking:
            raise no("B59", "运单号为空")
        if order.status in ("shipped", "completed"):
            raise no("B27", "已经生成发货单的订单不能发货")
        if order.status not in ("paid", "allocating") or order.hold:
            raise no("B04", "订单状态不对")
        lines = self._leaving(order, params, no)
        if tracking:  # without a waybill nothing changes until it is confirmed
            self.store.ship(order.order_no, carrier, tracking, lines)
        return {"shipping": {"is_success": True}}

    @staticmethod
    def _leaving(order: SimOrder, params: dict[str, str], no: Callable[[str, str], Refused]) -> list[int]:
        """Return the places of the lines that the notice names."""
        split, named = params.get("is_split", "0") == "1", params.get("sub_tid", "")
        if split != bool(named):
            raise no("CD25", "拆单标记和子订单列表两者必须都填或者都不填")
        if not split:
            if order.status == "allocating":
                raise no("CD22", "订单已拆单，必须传入子交易号列表")
            return list(range(len(order.lines)))
        ids = wire_taobao.line_ids(order)
        wanted = named.split(",")
        if not set(wanted) <= set(ids):
            raise no("P38", "拆单校验未通过")
        places = [ids.index(one) for one in wanted]
        if any(order.lines[at].shipped for at in places):
            raise no("B27", "已经生成发货单的订单不能发货")
        return places


def _unlisted(value: Any) -> Any:
    """Return an answer in which every list of one is the one."""
    if isinstance(value, dict):
        return {name: _unlisted(member) for name, member in value.items()}
    if isinstance(value, list):
        return _unlisted(value[0]) if len(value) == 1 else [_unlisted(one) for one in value]
    return value


def _fields(params: dict[str, str]) -> set[str]:
    """Return the names of the trade's own fields that are asked for: nothing else comes back."""
    if not params.get("fields"):
        raise Refused(40, "Missing Required Arguments:fields")
    return {name.strip().split(".", 1)[0] for name in params["fields"].split(",")}


def _window(params: dict[str, str], start: str, end: str) -> tuple[int, int]:
    start_ms, end_ms = from_wall(params[start]), from_wall(params[end])
    if not 0 <= end_ms - start_ms <= _DAY_MS:
        raise Refused(41, "Invalid Arguments", f"isv.invalid-parameter:{end}", "起止时间跨度不能超过一天")
    return start_ms, end_ms
