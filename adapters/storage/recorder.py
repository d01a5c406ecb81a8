"""The `eventsourcing` library's recorder on top of an event log, for whoever works with the library.

The library's stored event is our record without envelope and sealed block; its notification id is our position.
Unlike its own recorders this one refuses gaps between versions, and its stream ids are text. The hot path does not
come through here.
"""

from collections.abc import Sequence
from threading import Event
from typing import Any, Protocol
from uuid import UUID

from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
)

from domain.ports import Conflict, EventLog, Record, Recorded

_PAGE_EVENTS = 500
_POLL_S = 0.05


class RecorderLog(EventLog, Protocol):
    """What the recorder needs of a log beyond the port."""

    def append_following(self, records: Sequence[Record], application: str, notification_id: int) -> int:
        """Append, and note in the same transaction how far another application's log has been followed."""
        ...

    def followed(self, application: str) -> int | None:
        """Return how far another application's log has been followed, or None."""
        ...

    def select(
        self, stream: str, *, after: int = 0, upto: int | None = None, desc: bool = False, limit: int | None = None
    ) -> list[Recorded]:
        """Return one stream's events with `after` < version <= `upto`, by version, from either end."""
        ...


class LogRecorder(ProcessRecorder):
    """The library's `ProcessRecorder` over an event log."""

    def __init__(self, log: RecorderLog) -> None:
        """Record into `log`."""
        self._log = log

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, tracking: Tracking | None = None, **_: Any
    ) -> Sequence[int]:
        """Append, with `tracking` in the same transaction, and return the positions.

        Raises:
            IntegrityError: a version is not its stream's next one, or `tracking` is not greater than the last one.
        """
        records = [
            Record(_text(event.originator_id), event.originator_version, event.topic, b"{}", event.state, None)
            for event in stored_events
        ]
        try:
            if tracking is None:
                head = self._log.append(records)
            else:
                head = self._log.append_following(records, tracking.application_name, tracking.notification_id)
        except Conflict as exc:
            raise IntegrityError(str(exc)) from exc
        return list(range(head - len(records) + 1, head + 1))

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return one stream's events with `gt` < version <= `lte`."""
        events = self._log.select(_text(originator_id), after=gt or 0, upto=lte, desc=desc, limit=limit)
        return [StoredEvent(event.stream, event.version, event.tag, event.data) for event in events]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return up to `limit` notifications from `start` (or behind it) to `stop`, of these topics or of all."""
        after = 0 if start is None else max(start - inclusive_of_start, 0)
        found: list[Notification] = []
        while len(found) < limit:
            page = self._log.read(after, _PAGE_EVENTS if topics else limit)
            for event in page:
                if (stop is not None and event.position > stop) or len(found) == limit:
                    return found
                if not topics or event.tag in topics:
                    found.append(_notification(event))
            if not page:
                break
            after = page[-1].position
        return found

    def max_notification_id(self) -> int | None:
        """Return the position of the last event, or None."""
        return self._log.tracked().head or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """Return an endless iterator over the notifications behind `gt`; it looks for new ones every 50 ms."""
        return _PollingSubscription(self, gt, topics)

    def insert_tracking(self, tracking: Tracking) -> None:
        """Note how far another application's log has been followed.

        Raises:
            IntegrityError: it is not greater than the last one.
        """
        self.insert_events((), tracking=tracking)

    def max_tracking_id(self, application_name: str) -> int | None:
        """Return how far another application's log has been followed, or None."""
        return self._log.followed(application_name)


class _PollingSubscription(Subscription[ApplicationRecorder]):
    def __init__(self, recorder: ApplicationRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        self._page: list[Notification] = []
        self._stopped = Event()

    def stop(self) -> None:
        super().stop()
        self._stopped.set()

    def __next__(self) -> Notification:
        while not self._stopped.is_set():
            if not self._page:
                page = self._recorder.select_notifications(
                    self._last_notification_id or 0, _PAGE_EVENTS, topics=self._topics, inclusive_of_start=False
                )
                self._page = list(reversed(page))
            if self._page:
                notification = self._page.pop()
                self._last_notification_id = notification.id
                return notification
            self._stopped.wait(_POLL_S)
        raise StopIteration


def _notification(event: Recorded) -> Notification:
    return Notification(event.stream, event.version, event.tag, event.data, event.position)


def _text(originator_id: UUID | str) -> str:
    if isinstance(originator_id, str):
        return originator_id
    raise TypeError(f"stream ids are text, and {originator_id!r} is not (the library's originator_id_type 'text')")
