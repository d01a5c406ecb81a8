"""With a real `up` and a warehouse of its own process: dead for a while, it delays its own acts and nothing else."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.simulators.wms import APP_KEY, CUSTOMER, OWNER, SECRET
from tests.integration.mixed_mail import BEGIN_MS, trade
from tests.integration.running import Running, until

pytestmark = pytest.mark.xdist_group("wms_up")
FIRST, LATER = range(1, 13), range(13, 25)


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port


@contextmanager
def warehouse(port: int, webhook: str) -> Iterator[None]:
    words = ["-m", "adapters.simulators", "--channel", "wms", "--port", port, "--webhook", webhook, "--every-s", 0.2]
    process = subprocess.Popen([sys.executable, *map(str, words)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["url"] == f"http://127.0.0.1:{port}"
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10.0)
        if process.stdout is not None:
            process.stdout.close()


def ingest(up: Running, folder: Path, numbers: range) -> None:
    folder.mkdir()
    for number in numbers:
        raw = trade(number, "WAIT_SELLER_SEND_GOODS", BEGIN_MS, BEGIN_MS, receiver_mobile="13812345678")
        (folder / f"{number}.json").write_bytes(raw)
    said = up.run("ingest", folder, "--shop", "hardware")
    assert said.code == 0, said.err


def orders(up: Running, state: str) -> int:
    return len(up.run("orders", "--state", state, "--limit", 100, "--json").json)


def waiting(up: Running) -> list[Any]:
    found: list[Any] = up.run("effects", "list", "--json").json["waiting"]
    return [each for each in found if each["effect"] == "wms_create"]


def test_from_the_order_over_a_dead_warehouse_to_the_tracking_number(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    with Running(data) as up:
        (data / "secret").write_text(SECRET)
        (data / "secret").chmod(0o600)
        said = up.run(
            "wms", "add", "north", "--url", f"http://127.0.0.1:{port}", "--app-key", APP_KEY, "--customer-id", CUSTOMER,
            "--owner-code", OWNER, "--warehouse", "A=HZ01", "--secret", f"file:{data / 'secret'}",
        )  # fmt: skip
        assert said.code == 0, said.err
        (listed,) = up.run("wms", "list", "--json").json
        assert up.run("wms", "test", "north").code == 1, "nobody is there yet"
        goods = [f"SKU-{number}=100" for number in range(7)]
        assert up.run("stock", "receive", *goods, "--document", "D").code == 0

        ingest(up, tmp_path / "first", FIRST)
        until(lambda: len(waiting(up)) == len(FIRST), 30.0)
        until(lambda: any(each["reason"] for each in waiting(up)), 30.0)
        # Its circuit is open; orders come in and are allocated all the same.
        ingest(up, tmp_path / "later", LATER)
        until(lambda: orders(up, "allocating") == len(FIRST) + len(LATER), 20.0)
        assert orders(up, "shipped") == 0

        until(lambda: up.run("status", "--json").json["gateway"], 20.0)
        address = up.run("wms", "list", "--json").json[0]["calls_us_at"]
        assert address.endswith("/wms/north")
        assert listed["name"] == "north"
        with warehouse(port, address):
            until(lambda: orders(up, "shipped") == len(FIRST) + len(LATER), 60.0)
            assert waiting(up) == []
            shown = up.run("order", "taobao:hardware:1", "--json").json
            (parcel,) = shown["order"]["parcels"] if "order" in shown else shown["parcels"]
            assert parcel["carrier"] == "SF"
            assert parcel["tracking"].startswith("SF")
            effects = shown["order"]["effects"] if "order" in shown else shown["effects"]
            assert [(each["effect"], each["outcome"]) for each in effects] == [("wms_create", "succeeded")]
            # The simulated warehouse began without stock and gave out all the same: here and there differ.
            compared = up.run("wms", "compare", "north", "--json")
            assert compared.code == 1
            assert compared.json[0]["skus"] == 7
            assert up.run("wms", "test", "north").code == 0
        assert up.run("audit", "verify").code == 0
