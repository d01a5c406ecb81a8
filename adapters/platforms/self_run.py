"""Keys of apps that let themselves in: their first token needs no person, and neither does any later one."""

from contextlib import AbstractAsyncContextManager

from adapters.platforms.connection import Keys, Token, alone

_BEGINNING = "-"


class SelfRunKeys:
    """The keys of a connection, seen so that a missing token is one that has ended and can be asked for anew."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def secret(self, name: str) -> str:
        """Return a secret; see `Keys.secret`."""
        return self._keys.secret(name)

    def token(self) -> Token:
        """Return the token that was kept last, or one that has ended; both can always be asked for anew."""
        kept = self._keys.token()
        if kept is None or not kept.access:
            return Token(_BEGINNING, expires_ms=1, refresh=_BEGINNING)
        return Token(kept.access, kept.expires_ms, refresh=_BEGINNING)

    def keep(self, token: Token) -> None:
        """Keep a token."""
        self._keys.keep(Token(token.access, token.expires_ms))

    def alone(self) -> AbstractAsyncContextManager[None]:
        """Hold other processes off; see `connection.alone`."""
        return alone(self._keys)
