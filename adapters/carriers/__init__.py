"""Track services of carriers: they are asked to follow parcels, and tell what becomes of them."""

from collections.abc import Callable

from adapters.carriers.kuaidi100 import Kuaidi100
from adapters.carriers.settings import TrackService


def connect(service: TrackService, secret: Callable[[str], str]) -> Kuaidi100:
    """Make a service's connection; nothing is sent yet."""
    return Kuaidi100(service, secret)
