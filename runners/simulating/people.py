"""Invented people and goods, drawn from a seed."""

import random
from typing import Final, NamedTuple

from runners.simulating.neutral import Buyer

_FAMILY: Final = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
_GIVEN: Final = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚桂英华玉梅鑫雨晨子轩梓涵"
_PLACES: Final = (
    ("浙江省", "杭州市", "西湖区"),
    ("江苏省", "南京市", "鼓楼区"),
    ("广东省", "广州市", "天河区"),
    ("广东省", "深圳市", "南山区"),
    ("四川省", "成都市", "武侯区"),
    ("福建省", "厦门市", "思明区"),
    ("湖北省", "武汉市", "洪山区"),
    ("山东省", "青岛市", "市南区"),
    ("陕西省", "西安市", "雁塔区"),
    ("上海", "上海市", "浦东新区"),
)
_STREETS: Final = ("文三路", "人民路", "中山路", "解放路", "建设大道", "软件园二路", "湖滨路")
_WARES: Final = (
    ("DRL", "充电电钻", 32_900),
    ("BIT", "高速钢钻头", 5_900),
    ("GLV", "防割手套", 1_990),
    ("SAW", "手锯", 4_500),
    ("HAM", "羊角锤", 3_900),
    ("TAP", "卷尺", 1_290),
    ("SCR", "螺丝刀套装", 6_900),
    ("LVL", "水平尺", 5_500),
    ("WRN", "活动扳手", 4_200),
    ("LMP", "工作灯", 8_900),
    ("BOX", "工具箱", 12_900),
    ("PLR", "钢丝钳", 3_500),
)
_SIZES: Final = ("标准", "加强", "迷你", "专业", "家用")


class Ware(NamedTuple):
    """Something that is sold."""

    sku: str
    name: str
    price: int
    """Of one unit, in fen."""


WARES: Final = tuple(
    Ware(f"{code}-{number:02d}", f"{name} {size}", price + 700 * number)
    for number, size in enumerate(_SIZES, 1)
    for code, name, price in _WARES
)
WEIGHTS: Final = tuple(1.0 / (place + 3) for place in range(len(WARES)))
"""A few goods sell most."""


def draw(*parts: object) -> random.Random:
    """Return a source of chance that depends on these parts alone, so that no two uses of chance disturb each other."""
    return random.Random(":".join(map(str, parts)))  # noqa: S311  a simulation must be repeatable


def buyer(rng: random.Random) -> Buyer:
    """Invent a buyer; about a third of the orders come from the same few hundred people."""
    regular = rng.random() < 0.3  # noqa: PLR2004
    own = draw("buyer", rng.randrange(300 if regular else 10**9))
    name = own.choice(_FAMILY) + "".join(own.choice(_GIVEN) for _ in range(own.choice((1, 2, 2))))
    province, city, district = own.choice(_PLACES)
    address = (
        f"{own.choice(_STREETS)} {own.randrange(1, 300)} 号 {own.randrange(1, 30)} 幢 {own.randrange(101, 2999)} 室"
    )
    phone = f"1{own.choice('3578')}{own.randrange(10**9):09d}"
    return Buyer(f"M{own.randrange(10**9):09d}", name, phone, province, city, district, address)
