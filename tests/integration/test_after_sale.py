"""One after-sale from end to end, with a real `up` and nothing but the command line."""

import json
from pathlib import Path

import pytest

from tests.integration.running import Running, until
from tests.integration.test_cli import taken_in, trade

pytestmark = pytest.mark.xdist_group("cli")
ORDER = "taobao:s1:9001"
LINE = "90011"


def stock(up: Running) -> tuple[int, int, int]:
    (row,) = up.run("stock", "show", "--json").json
    return row["on_hand"], row["reserved"], row["damaged"]


def stage(up: Running, number: int) -> str:
    rows = up.run("after-sale", "list", ORDER, "--json").json
    return next((str(row["stage"]) for row in rows if row["number"] == number), "")


def test_goods_come_back_money_goes_back_and_others_are_sent(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as up:
        assert up.run("stock", "receive", "SKU-1=10", "--document", "d-1").code == 0
        address = {"receiver_city": "杭州市", "receiver_district": "西湖区", "receiver_address": "文三路 1 号"}
        bought = {
            **trade("9001", units=4),
            **address,
            "service_orders": {"service_order": [{"oid": "77", "title": "安装"}]},
        }
        taken_in(up, tmp_path, bought)
        assert up.run("ship", ORDER, "--tracking", "SF1", "--carrier", "SF").code == 0
        until(lambda: stock(up) == (6, 0, 0))

        # A return: two units of which one is damaged, and their money.
        asked = ("--kind", "return_refund", "--reason", "质量问题", "--line", f"{LINE}=2", "--command-id", "wish-1")
        assert up.run("after-sale", "open", ORDER, *asked).code == 0
        again = up.run("after-sale", "open", ORDER, *asked, "--json")
        assert (again.code, again.json["outcome"]) == (0, "repeated")
        until(lambda: stage(up, 1) == "opened")
        assert up.run("order", ORDER, "--json").json["state"] == "after_sale"
        refused = up.run("after-sale", "refund", ORDER)
        assert refused.code == 1
        assert "not approved" in refused.out
        assert up.run("after-sale", "approve", ORDER).code == 0
        assert up.run("after-sale", "track", ORDER, "--tracking", "SF2", "--carrier", "SF").code == 0
        assert up.run("return", ORDER, f"{LINE}=1", "--damaged", f"{LINE}=1").code == 0
        until(lambda: stock(up) == (8, 0, 1))
        assert up.run("after-sale", "refund", ORDER, "--amount", f"{LINE}=8.50", "--method", "转账").code == 0
        until(lambda: stage(up, 1) == "refunded")
        assert up.run("after-sale", "close", ORDER).code == 0
        until(lambda: stage(up, 1) == "closed")

        # An exchange: the replacement leaves by the same verbs, and the first shipment stays as it was.
        assert (
            up.run("after-sale", "open", ORDER, "--kind", "换货", "--reason", "发错货", "--line", f"{LINE}=1").code == 0
        )
        until(lambda: stage(up, 2) == "opened")
        assert up.run("after-sale", "approve", ORDER).code == 0
        assert up.run("after-sale", "exchange", ORDER).code == 0
        until(lambda: stock(up) == (8, 1, 1))
        assert up.run("ship", ORDER, "--tracking", "SF3", "--carrier", "SF").code == 0
        until(lambda: stage(up, 2) == "replaced")
        assert stock(up) == (7, 0, 1)
        shown = up.run("order", ORDER, "--json").json
        assert (shown["fulfilment"], shown["refunded"]) == ("shipped", 850)
        assert "售后 After-sales" in up.run("order", ORDER).out

        # What people ask of it later.
        assert up.run("after-sale", "list", "--json").json == []
        assert len(up.run("after-sale", "list", "--all", "--json").json) == 2
        reasons = up.run("after-sale", "reasons", "--json").json["reasons"]
        assert [(each["reason"], each["cases"], each["units"]) for each in reasons] == [
            ("quality", 1, 2), ("wrong_item", 1, 1)]  # fmt: skip

        # Wrong use is told with what to do.
        assert up.run("after-sale", "open", ORDER, "--kind", "gift", "--reason", "其他").code == 2
        assert up.run("after-sale", "approve", ORDER, "--case", "9").code == 1
        assert up.run("after-sale", "decline", ORDER, "--case", "9", "--reason", "because").code == 2
        assert up.run("return", ORDER).code == 2

        # The service that was bought with it.
        services = up.run("service", "list", ORDER, "--json").json
        assert [each["service"] for each in services] == ["安装"]
        assert up.run("service", "schedule", ORDER, "--day", "2026-03-01").code == 0
        until(lambda: up.run("service", "list", ORDER, "--json").json[0].get("day") == "2026-03-01")
        assert up.run("service", "done", ORDER).code == 0
        until(lambda: up.run("service", "list", ORDER, "--json").json[0]["stage"] == "done")
        assert up.run("service", "cancel", ORDER, "--number", "1", "--reason", "customer").code == 1
        assert json.dumps(services)
        assert up.run("audit", "verify").code == 0
        assert up.run("audit", "replay").code == 0
