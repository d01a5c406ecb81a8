"""What can go wrong between OrderSpine and its broker, as types a caller can tell apart."""


class BrokerError(Exception):
    """Anything the broker, or the way to it, did not do as asked."""


class BrokerTooOld(BrokerError):
    """The server is older than 2.12 and has no atomic batches."""


class BrokerUnauthorized(BrokerError):
    """The server refused user or password."""


class BrokerStartFailed(BrokerError):
    """The embedded server did not come up; the text holds the end of its log."""


class BrokerUnavailable(BrokerError):
    """No connection, no answer in time, or nobody listens. Whether a message was stored is UNKNOWN.

    `stored` counts the messages of the same call that were acknowledged before (a long input goes in several batches).
    """

    def __init__(self, text: str, *, stored: int = 0) -> None:
        """Keep how many messages were surely stored."""
        super().__init__(text)
        self.stored = stored


class ApiRefused(BrokerError):
    """The JetStream API answered with an error; `code` is the server's error code, `description` its text."""

    def __init__(self, code: int, description: str) -> None:
        """Keep code and text."""
        super().__init__(f"{description} ({code})")
        self.code = code
        self.description = description


class BatchRefused(BrokerError):
    """The server refused a batch WHOLE: nothing of it was stored. `stored` counts earlier batches of the call.

    Code 10201: the batch holds a `Nats-Msg-Id` the server has already seen.
    """

    def __init__(self, code: int, description: str, *, stored: int = 0) -> None:
        """Keep the server's code and text, and how many messages were surely stored."""
        super().__init__(f"{description} ({code})")
        self.code = code
        self.description = description
        self.stored = stored


class WrongLastSequence(BatchRefused):
    """`expected_last` is not the stream's last sequence: somebody else has published."""


class BrokerBusy(BatchRefused):
    """The stream or the server's store is full; nothing of the batch was stored. Try again later."""


class MessageTooLarge(BrokerError):
    """A message exceeds the server's `max_payload`; nothing was sent."""


class Gap(BrokerError):
    """The next message is not the expected one; `got` below `expected` means that the broker went back."""

    def __init__(self, expected: int, got: int) -> None:
        """Keep both sequences."""
        super().__init__(f"expected mail {expected}, got {got}")
        self.expected = expected
        self.got = got


class ReaderLost(BrokerError):
    """The consumer is gone or the connection is in doubt: open a new reader behind the tracked position."""
