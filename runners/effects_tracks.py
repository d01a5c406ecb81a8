"""Subscriptions: a track service follows each parcel that leaves, by our hand, the channel's, or for an after-sale."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from adapters import carriers
from adapters.carriers.kuaidi100 import Kuaidi100
from domain.after_sale import ReplacementShipped
from domain.callbacks import Subscription
from domain.canonical import Parcel
from domain.catalogue import decode_event
from domain.order import OrderAmended, OrderNormalized, OrderShipped, PartiallyShipped
from domain.time_units import DAY_MS
from runners.effects_kind import Gone, Happened, Kind, Unusable
from runners.effects_store import Job
from runners.services import CARRIERS, BadServices, secrets_of

if TYPE_CHECKING:
    from adapters.carriers.settings import TrackService
    from domain.decider import Event

FOLLOW_WITHIN_MS = 30 * DAY_MS
"""A parcel that left longer ago (an order that is known late) is not followed any more: it costs, and tells nothing."""
_LEAVING = frozenset({"order.shipped", "order.partially_shipped", "order.replacement_shipped"})
_CORRECTED = "order.amended"
_TELLING = _LEAVING | {_CORRECTED, "order.normalized"}


class TrackSubscriptions(Kind):
    """Asks the services that `carriers.json` names; of several the first one that knows the carrier."""

    name = "track_subscribe"
    files = (CARRIERS.file,)

    def __init__(self, data: Path) -> None:
        """Nothing is read yet."""
        self._data = data
        self._services: dict[str, TrackService] = {}
        self._made: dict[str, Kuaidi100] = {}

    @property
    def tags(self) -> frozenset[str]:
        """Return those of parcels that left, and of views that may correct a number."""
        return _LEAVING | {_CORRECTED} if self._services else frozenset()

    async def refresh(self) -> None:
        """Read `carriers.json` anew; see `Kind.refresh`."""
        try:
            found = {each.name: each for each in CARRIERS.load(self._data) if each.enabled}
        except BadServices as error:
            raise Unusable(str(error)) from error
        for name in [name for name in self._made if found.get(name) != self._services.get(name)]:
            await self._made.pop(name).close()
        self._services = found

    def asked_by(self, happened: Happened, now_ms: int) -> list[Job]:
        """Return a subscription for each parcel whose number was never told before."""
        recorded = happened.recorded
        fact = happened.fact
        parcels = [each for each in parcels_in(fact) if each.tracking]
        view = happened.snapshot
        if not parcels or view is None:
            return []
        # Goods for an after-sale go to the customer whatever has become of the order, or where he had bought it.
        if not isinstance(fact, ReplacementShipped) and (view.kind == "counter" or view.status == "completed"):
            return []
        if recorded.tag == _CORRECTED and not any(
            each.tag in _LEAVING and each.version < recorded.version for each in happened.story
        ):
            return []  # what leaves with this view is told by the event behind it
        left_ms = getattr(fact, "shipped_ms", 0) or happened.envelope.at
        if happened.envelope.at - left_ms > FOLLOW_WITHIN_MS:
            return []
        before = {
            parcel.tracking
            for each in happened.story
            if each.version < recorded.version and each.tag in (_TELLING if recorded.tag == _CORRECTED else _LEAVING)
            for parcel in parcels_in(decode_event(each.tag, each.data))
        }
        jobs = []
        for parcel in {each.tracking: each for each in parcels}.values():
            if parcel.tracking in before:
                continue
            wanted = msgspec.json.encode(Subscription(recorded.stream, parcel.carrier, parcel.tracking))
            # By the number, not by the event: a parcel is followed once, whatever tells of it.
            key, at_ms = f"{recorded.stream}/{parcel.tracking}", happened.envelope.at
            jobs.append(Job(key, self.name, self._target(parcel.carrier), recorded.stream, wanted, at_ms, now_ms))
        return jobs

    async def do(self, job: Job) -> str:
        """Ask; see `Kind.do`."""
        return await self._service(job.target).subscribe(msgspec.json.decode(job.document, type=Subscription))

    async def close(self) -> None:
        """Release all connections."""
        for service in self._made.values():
            await service.close()
        self._made.clear()

    def _target(self, carrier: str) -> str:
        names = list(self._services)
        return next((name for name in names if self._service(name).knows(carrier)), names[0])

    def _service(self, name: str) -> Kuaidi100:
        made = self._made.get(name)
        if made is None:
            service = self._services.get(name)
            if service is None:
                raise Gone(f"there is no track service {name} any more; add it again, then retry")
            made = self._made[name] = carriers.connect(service, secrets_of(self._data, service))
        return made


def parcels_in(fact: "Event") -> tuple[Parcel, ...]:
    """Return the parcels that an event tells of."""
    match fact:
        case OrderShipped() | PartiallyShipped():
            return fact.parcels
        case ReplacementShipped():
            return (fact.parcel,)
        case OrderAmended() | OrderNormalized():
            return fact.snapshot.parcels
        case _:
            return ()
