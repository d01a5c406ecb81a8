"""What a person can still do when an act could not be handled, or when the keys are gone."""

from pathlib import Path

import pytest

from domain.envelope import By
from domain.ids import warehouse_key
from domain.mail import Mail, encode_mail
from domain.stock import ReceiveStock
from runners.bootstrap import KEYS_FILE
from runners.engine import Delivered
from runners.settings import Settings
from runners.upstart import prepared
from runners.worker import build_engine
from tests.integration.running import Running, orderspine, until

pytestmark = pytest.mark.timeout(120)

NOW = 1_794_326_400_000
KEEPER = By("person", "k-1", "keeper")


def receipt(document: str, sku: str) -> bytes:
    return encode_mail(Mail(warehouse_key("A"), ReceiveStock(document, ((sku, 7),)), NOW, KEEPER, "test"))


def levels(up: Running) -> dict[str, int]:
    return {row["sku"]: row["on_hand"] for row in up.run("stock", "show", "--json").json}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A data directory with a receipt of stock that was handled, and one that killed the process each time."""
    data = tmp_path / "data"
    with prepared(data, clock=None, store=None, broker=None):
        engine, _ = build_engine(Settings(str(data)))
        engine.take_over()
        engine.begin_life("first", 0, None, NOW)
        delivered = [Delivered(seq, NOW, receipt(f"d-{seq}", f"S{seq}")) for seq in (1, 2)]
        engine.commit(engine.decide(delivered, suspect=2))
        engine.log.close()
    return data


def test_an_act_that_killed_the_process_is_shown_and_sent_again(kept: Path) -> None:
    (item,) = orderspine("quarantine", "list", "--data", kept, "--json").json
    assert (item["id"], item["to"], item["payload"]) == ("first-2", "warehouse-A", "")
    shown = orderspine("quarantine", "show", "first-2", "--data", kept)
    assert (shown.code, "d-2" in shown.out) == (0, True)
    with Running(kept) as up:
        sent = up.run("quarantine", "resend", "first-2", "--json")
        assert sent.json["sent"] == [{"to": "warehouse-A", "outcome": "accepted", "reason": ""}]
        until(lambda: up.run("quarantine", "list", "--json").json == [])
        until(lambda: levels(up) == {"S1": 7, "S2": 7})


def test_an_order_that_has_no_key_is_asked_for_again_and_not_for_ever(kept: Path) -> None:
    said = orderspine("scan-out", "order-taobao:s1:A.17", "--data", kept)
    assert (said.code, "channel:shop:number" in said.err) == (2, True)


def test_lost_keys_are_told_and_made_anew_only_when_a_person_says_so(kept: Path) -> None:
    (kept / KEYS_FILE).unlink()
    assert orderspine("orders", "--data", kept).code == 0
    assert not (kept / KEYS_FILE).exists()
    refused = orderspine("up", "--data", kept)
    assert refused.code == 4
    assert "their keys are gone" in refused.err
    assert "--new-keys" in refused.err
    assert not (kept / KEYS_FILE).exists()
    with Running(kept, "--new-keys") as up:
        assert (kept / KEYS_FILE).exists()
        assert up.run("stock", "receive", "S3=1", "--document", "d-3").code == 0
