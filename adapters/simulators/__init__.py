"""Simulated sales platforms: local servers that behave like each platform's interface, for tests and simulations.

    async with Simulated("taobao") as sim:
        sim.add(an_order("taobao", 1, now_ms))
        ...  # a client with sim.base_url, sim.token_url, sim.socket_url, sim.letting_in()

They are written from the platforms' descriptions and know nothing of the clients (`adapters.platforms`): where both
sides agree, two readers of the same page did. `python -m adapters.simulators --channel taobao` serves one by itself.
"""

from adapters.simulators.documents import document
from adapters.simulators.making import an_order
from adapters.simulators.orders import SimLine, SimOrder, SimParcel, SimPerson
from adapters.simulators.shop import SimShop
from adapters.simulators.simulated import PLATFORMS, SHOP, Simulated

__all__ = [
    "PLATFORMS",
    "SHOP",
    "SimLine",
    "SimOrder",
    "SimParcel",
    "SimPerson",
    "SimShop",
    "Simulated",
    "an_order",
    "document",
]
