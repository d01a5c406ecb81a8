"""What a platform reads of a connection is what it says that it reads."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters import platforms
from adapters.platforms import MODULES, wants
from adapters.platforms.connection import Connection
from adapters.simulators.simulated import Simulated

HERE = Path(platforms.__file__).parent
READS = re.compile(r'options(?:\.get\(|\[)"([a-z_]+)"|needed\(\w+, "([a-z_]+)"|flag\(\w+, "([a-z_]+)"')
SECRETS = re.compile(r'secret\((?:\w+(?:\.\w+)*, )?"([a-z0-9_]+)"\)')
SHARED = {"wechat_client.py": ("wechat_shop", "miniprogram"), "wechat_pay.py": ("miniprogram",)}


def sources(channel: str) -> Iterator[str]:
    for file in sorted(HERE.glob("*.py")):
        if file.name.startswith((f"{channel}.", f"{channel}_")) or channel in SHARED.get(file.name, ()):
            yield file.read_text(encoding="utf-8")


@pytest.mark.parametrize("channel", MODULES)
def test_every_option_and_secret_that_is_read_is_declared(channel: str) -> None:
    read = wants(Connection("a", channel, "s"))
    for source in sources(channel):
        for names in READS.findall(source):
            assert read.knows_option("".join(names)), names
        assert set(SECRETS.findall(source)) <= read.secrets
    assert read.needed <= read.secrets


@pytest.mark.parametrize("channel", MODULES)
async def test_what_a_simulated_platform_asks_for_is_declared(channel: str) -> None:
    async with Simulated(channel) as sim:
        told = sim.letting_in()
    read = wants(Connection("a", channel, "s", options=told["connection"]["options"], secrets=told["secrets"]))
    assert all(map(read.knows_option, told["connection"]["options"]))
    assert read.needed <= set(told["secrets"]) <= read.secrets


def test_what_only_pushes_says_so() -> None:
    assert not wants(Connection("a", "generic", "s")).pulls
    assert wants(Connection("a", "generic", "s", base_url="http://127.0.0.1:9")).pulls
    assert not wants(Connection("a", "miniprogram", "s")).pulls
    parcels = Connection("a", "miniprogram", "s", options={"app_id": "1", "mchid": "2"})
    assert wants(parcels).needed == {"push_secret", "app_secret"}
    notices = Connection("a", "miniprogram", "s", options={"wechatpay_key.AB": "/key.pem"})
    assert wants(notices).needed == {"push_secret", "api_v3_key"}
