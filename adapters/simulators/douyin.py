"""Douyin's shop platform: a path for each method, the business parameters as signed text, pushes in arrays."""

from collections.abc import Callable
from typing import Any, Final

from adapters.simulators import signatures, wire_douyin
from adapters.simulators.carriers import CARRIERS, neutral
from adapters.simulators.exchange import JSON, Refused, Reply, Request, decode, encode, reply, whole
from adapters.simulators.numbers import number_of, token_of
from adapters.simulators.orders import SimOrder
from adapters.simulators.platform import Push, SimPlatform
from adapters.simulators.store import Kind
from adapters.simulators.texts import from_wall, seconds

_TOLERANCE_MS: Final = 600_000
_REACH_MS: Final = 90 * 86_400_000
_ROWS_MAX: Final = 50_000
_SUCCESS: Final = 10000
_TAGS: Final[dict[Kind, str]] = {
    "created": "100",
    "paid": "101",
    "shipped": "102",
    "completed": "103",
    "cancelled": "106",
    "partly_shipped": "108",
    "changed": "113",
    "after_sale": "200",
}


class Douyin(SimPlatform):
    """`/<method with slashes>`, tokens included."""

    channel = "douyin"
    access_s = 7 * 86_400
    refresh_s = 14 * 86_400

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._packs: dict[str, str] = {}
        """Result of each `request_id` that succeeded."""

    def operation(self, request: Request) -> str:
        """Return the method, by the path."""
        return request.path.strip("/").replace("/", ".")

    def handle(self, request: Request) -> Reply:
        """Check and answer a method."""
        query, param_json = request.query, request.body.decode()
        method = query.get("method", "")
        if method != self.operation(request):
            raise Refused(70000, "接口服务已下线", "isp.api-service-off", "API不存在或API已下线")
        self._check_common(query, param_json)
        asked = decode(param_json or "{}")
        if method in ("token.create", "token.refresh"):
            return self._success(self._token(method, asked))
        state = self.tokens.state(query.get("access_token", ""))
        if not query.get("access_token"):
            raise Refused(40001, "缺少必选参数", "isv.access-token-missing", "认证失败，access_token不能为空")
        if state != "ok":
            sub = ("expired", "access_token已过期") if state == "expired" else ("no-existed", "access_token不存在")
            raise Refused(40003, "非法的参数", f"isv.access-token-{sub[0]}", sub[1])
        act = self._methods().get(method)
        if act is None:
            raise Refused(70000, "接口服务已下线", "isp.api-service-off", "API不存在或API已下线")
        return self._success(act(asked))

    def _check_common(self, query: Any, param_json: str) -> None:
        if not query.get("sign"):
            raise Refused(40001, "缺少必选参数", "isv.signature-missing", "获取签名失败")
        if query.get("app_key") != self.shop.app_key:
            raise Refused(40003, "非法的参数", "isv.app-id-invalid", "认证失败，app_key不正确")
        text = query.get("timestamp", "")
        try:
            at_ms = int(text) * 1000 if text.isdigit() else from_wall(text)
        except ValueError:
            raise Refused(40003, "非法的参数", "isv.timestamp-format-error", "时间戳格式错误") from None
        if abs(at_ms - self.now_ms()) > _TOLERANCE_MS:
            raise Refused(40003, "非法的参数", "isv.timestamp-invalid", "时间戳不合法")
        right = signatures.douyin(query.get("method", ""), query, param_json, self.shop.app_secret)
        if query["sign"] != right or query.get("v") != "2":
            raise Refused(40003, "非法的参数", "isv.signature-invalid", "签名校验失败")

    def refusal(self, refused: Refused, request: Request) -> Reply:
        """Return code and sub code, without data."""
        del request
        return reply(
            {
                "code": refused.code,
                "msg": refused.text,
                "sub_code": refused.sub_code,
                "sub_msg": refused.sub_text,
                "log_id": token_of("log", str(self.now_ms()), 32),
                "data": None,
            },
            refused.status,
        )

    def _success(self, data: Any) -> Reply:
        log_id = token_of("log", str(self.now_ms()), 32)
        return reply(
            {"code": _SUCCESS, "msg": "success", "sub_code": "", "sub_msg": "", "log_id": log_id, "data": data}
        )

    def wrong_parameter(self, text: str) -> Refused:
        """Return code 40004."""
        return Refused(40004, "非法的参数", "isv.parameter-invalid:50001", text)

    def limited(self) -> Refused:
        """Return code 60000."""
        return Refused(60000, "触发限流，请稍后重试", "isv.rate-limit", "触发限流，请稍后重试")

    def system_error(self) -> Refused:
        """Return code 20000."""
        return Refused(20000, "系统错误", "isp.service-error:20005", "系统繁忙，请稍后重试")

    def _token(self, method: str, asked: dict[str, Any]) -> dict[str, Any]:
        if method == "token.refresh":
            granted = self.tokens.refreshed(str(asked.get("refresh_token", "")))
            wrong = ("token-expired", "生成token失败，token已过期")
        elif asked.get("grant_type") == "authorization_self":
            # A merchant's own app needs no code, only the shop.
            granted = self.tokens.grant() if str(asked.get("shop_id", "")) in ("", str(self.shop.shop_id)) else None
            wrong = ("no-authorization", "生成token失败，店铺授权已失效")
        else:
            granted = self.tokens.exchange(str(asked.get("code", "")))
            wrong = ("code-invalid", "生成token失败，code参数不正确")
        if granted is None:
            raise Refused(50001, "平台处理失败", f"dop.token-generate-failed:{wrong[0]}", wrong[1])
        return {
            "access_token": granted.access,
            "expires_in": max(0, granted.expires_ms - self.now_ms()) // 1000,
            "refresh_token": granted.refresh,
            "scope": "SCOPE",
            "shop_id": self.shop.shop_id,
            "shop_name": self.shop.name,
            "authority_id": str(self.shop.shop_id),
            "auth_subject_type": "MERCHANT",
        }

    def _methods(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        return {
            "order.searchList": self._search,
            "order.orderDetail": self._one,
            "afterSale.List": self._after_sales,
            "order.logisticsAdd": self._ship_whole,
            "order.logisticsAddSinglePack": self._ship_pack,
            "order.logisticsCompanyList": self._companies,
        }

    def _search(self, asked: dict[str, Any]) -> dict[str, Any]:
        page = whole(asked.get("page", 0), "page", 0, 10**9)
        size = int(asked.get("size", 20))
        if size > 100:  # noqa: PLR2004 - the platform's own limit
            raise Refused(40004, "非法的参数", "isv.parameter-invalid:20008", "单次查询订单数超过限制")
        if page * size > _ROWS_MAX:
            raise Refused(40004, "非法的参数", "isv.parameter-invalid:20013", "订单查询最多支持查询5万")
        found = self._found(asked)
        size = min(size, self.shop.per_page_max)
        orders = [
            wire_douyin.shop_order(order, self.shop.shop_id, self.shop.name)
            for order in found[page * size : (page + 1) * size]
        ]
        return {"page": page, "size": size, "total": len(found), "shop_order_list": orders or None}

    def _found(self, asked: dict[str, Any]) -> list[SimOrder]:
        """Return the orders in the windows that are asked for, in the order that is asked for."""
        reach = self.now_ms() - _REACH_MS
        spans = {
            name: (asked.get(f"{name}_start"), asked.get(f"{name}_end")) for name in ("create_time", "update_time")
        }
        if all(start is None for start, _ in spans.values()):
            raise Refused(40004, "非法的参数", "isv.parameter-invalid:20011", "订单查询开始时间不能为空")
        found = list(self.store.all())
        for name, (start, end) in spans.items():
            if start is None:
                continue
            if int(start) * 1000 < reach:
                raise Refused(40004, "非法的参数", "isv.parameter-invalid:20022", "订单查询只支持查询最近90天内的数据")
            last = int(end) if end is not None else seconds(self.now_ms())
            found = [order for order in found if int(start) <= _second(order, name) <= last]
        wanted = {
            int(code)
            for one in asked.get("combine_status") or []
            for code in str(one.get("order_status", "")).split(",")
            if code
        }
        if wanted:
            found = [order for order in found if wire_douyin.status_of(order)[0] in wanted]
        by = str(asked.get("order_by") or "create_time")
        found.sort(key=lambda order: (_second(order, by), order.order_no), reverse=not asked.get("order_asc"))
        return found

    def _one(self, asked: dict[str, Any]) -> dict[str, Any]:
        order = self.store.get(str(asked.get("shop_order_id", "")))
        if order is None:
            raise Refused(40004, "非法的参数", "isv.parameter-invalid:10002", "订单不存在")
        return {"shop_order_detail": wire_douyin.shop_order(order, self.shop.shop_id, self.shop.name)}

    def _after_sales(self, asked: dict[str, Any]) -> dict[str, Any]:
        first = asked.get("update_start_time", asked.get("start_time", 0))
        last = asked.get("update_end_time", asked.get("end_time", seconds(self.now_ms())))
        found = [
            {
                "aftersale_info": {
                    "aftersale_id": str(number_of("douyin-after", line_id, 19)),
                    "aftersale_order_type": 1,
                    "aftersale_type": 0 if order.shipped_ms else 2,
                    "aftersale_status": 6,
                    "related_id": line_id,
                    "apply_time": seconds(order.modified_ms),
                    "update_time": seconds(order.modified_ms),
                },
                "order_info": {"shop_order_id": order.order_no, "related_order_info": [{"sku_order_id": line_id}]},
            }
            for order in self.store.changed_between(int(first) * 1000, int(last) * 1000)
            for line, line_id in zip(order.lines, wire_douyin.line_ids(order), strict=True)
            if line.after_sale
        ]
        page, size = int(asked.get("page", 0)), min(int(asked.get("size", 10)), 100)
        items = found[page * size : (page + 1) * size]
        return {
            "items": items,
            "has_more": (page + 1) * size < len(found),
            "total": len(found),
            "page": page,
            "size": size,
        }

    def _companies(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        del asked
        known = CARRIERS["douyin"].values()
        return [{"id": at, "code": code, "name": name} for at, (code, name) in enumerate(known, 1)]

    def _ship_whole(self, asked: dict[str, Any]) -> dict[str, Any]:
        order = self._to_ship(str(asked.get("order_id", "")), asked)
        pack_id = self._leave(order, None, asked)
        return {"pack_id": pack_id}

    def _ship_pack(self, asked: dict[str, Any]) -> dict[str, Any]:
        request_id = str(asked.get("request_id") or "")
        if not request_id:
            raise Refused(40002, "缺少必选参数", "isv.missing-parameter:50049", "request_id不能为空")
        if request_id in self._packs:
            return {"pack_id": self._packs[request_id]}
        numbers = asked.get("order_id_list") or []
        if len(numbers) != 1:
            raise Refused(40004, "非法的参数", "isv.parameter-invalid:50001", "订单号为空或格式错误")
        order = self._to_ship(str(numbers[0]), asked)
        ids = wire_douyin.line_ids(order)
        leaving = []
        for one in asked.get("shipped_order_info") or []:
            line_id, count = str(one.get("shipped_order_id", "")), int(one.get("shipped_num", 0))
            if line_id not in ids or not 0 < count <= order.lines[ids.index(line_id)].quantity:
                raise Refused(50002, "业务处理失败", "isv.business-failed:60016", "商品单单号为空或者格式错误")
            leaving.append(ids.index(line_id))
        if not leaving or any(order.lines[at].shipped for at in leaving):
            raise Refused(50002, "业务处理失败", "isv.business-failed:70023", "没有能发货的订单，请修改后重试")
        self._packs[request_id] = pack_id = self._leave(order, leaving, asked, request_id)
        return {"pack_id": pack_id}

    def _to_ship(self, number: str, asked: dict[str, Any]) -> SimOrder:
        order = self.store.get(number)
        if order is None:
            raise Refused(40004, "非法的参数", "isv.parameter-invalid:60033", "未查询到此订单")
        failed = None
        if order.status == "cancelled":
            failed = ("60021", "订单已取消，不支持发货")
        elif order.status == "completed":
            failed = ("60113", "订单已完结，禁止发货")
        elif order.status == "shipped":
            failed = ("60110", "订单已发货，不允许再次执行发货")
        elif order.hold:
            failed = ("60109", "订单正在风控审核中")
        elif order.status == "awaiting_payment":
            failed = ("70023", "没有能发货的订单，请修改后重试")
        elif order.refunding and not asked.get("is_reject_refund"):
            failed = ("60040", "发货订单中有退款申请需要处理，请先处理")
        if failed is not None:
            raise Refused(50002, "业务处理失败", f"isv.business-failed:{failed[0]}", failed[1])
        if neutral("douyin", str(asked.get("company_code", ""))) is None:
            raise Refused(40004, "非法的参数", "isv.parameter-invalid:60018", "暂不支持该物流公司或物流商已失效")
        if not str(asked.get("logistics_code", "")).strip():
            raise Refused(40004, "非法的参数", "isv.parameter-invalid:60017", "物流单号不符合规则")
        return order

    def _leave(self, order: SimOrder, lines: list[int] | None, asked: dict[str, Any], request_id: str = "") -> str:
        carrier, tracking = neutral("douyin", str(asked["company_code"])) or "", str(asked["logistics_code"]).strip()
        self.store.ship(order.order_no, carrier, tracking, lines, request_id)
        return str(number_of("parcel", order.order_no + tracking, 19))

    def push(self, order: SimOrder, kind: Kind) -> Push:
        """Return a signed array of one message; ids are integers in it."""
        ids = wire_douyin.line_ids(order)
        data: dict[str, Any] = {"p_id": int(order.order_no), "s_ids": [int(one) for one in ids]}
        data |= {
            "shop_id": self.shop.shop_id,
            "order_status": wire_douyin.status_of(order)[0],
            "order_type": 0,
            "biz": 2,
        }
        match kind:
            case "created":
                data["create_time"] = seconds(order.ordered_ms)
            case "paid":
                data |= {"pay_time": seconds(order.paid_ms), "pay_type": 2, "pay_amount": order.payable_fen}
            case "cancelled":
                data |= {"cancel_time": seconds(order.ended_ms), "cancel_reason": "支付超时"}
            case "after_sale":
                after_sale_id = number_of("douyin-after", ids[0], 19)
                data |= {"aftersale_id": after_sale_id, "s_id": int(ids[0]), "aftersale_status": 6}
                data["update_time"] = seconds(order.modified_ms)
            case _:
                data["update_time"] = seconds(order.modified_ms)
        tag = _TAGS[kind]
        msg_id = f"{order.order_no}0:0:{seconds(order.modified_ms)}:{tag}:{self.shop.shop_id}"
        body = encode([{"tag": tag, "msg_id": msg_id, "data": encode(data).decode()}])
        return self.signed(body, order.order_no)

    def signed(self, body: bytes, number: str = "") -> Push:
        """Return any body as a signed push: a probe, a batch, an unknown tag."""
        sign = signatures.douyin_event(self.shop.app_key, body, self.shop.app_secret)
        headers = {"content-type": JSON, "event-sign": sign, "app-id": self.shop.app_key}
        return Push("POST", {}, headers, body, number)

    def push_accepted(self, status: int, body: bytes) -> bool:
        """Tell whether the answer is `{"code":0,…}`."""
        try:
            return status == 200 and decode(body).get("code") == 0  # noqa: PLR2004 - HTTP
        except (ValueError, AttributeError):
            return False


def _second(order: SimOrder, name: str) -> int:
    return seconds(order.ordered_ms if name == "create_time" else order.modified_ms)
