"""How a broken promise is told."""


class Broken(AssertionError):
    """Something that must always hold does not."""


def must(holds: bool, what: str, *facts: object) -> None:
    if not holds:
        raise Broken(" ".join((what, *map(str, facts))))
