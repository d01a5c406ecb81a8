"""A till whose files say too little about themselves, as a channel of its own: the POS reader with a template."""

from adapters.channels.pos_columns import Template
from adapters.channels.pos_csv import PosCsv
from domain.ports import Channel


def channel(merchant_zone: str) -> Channel:
    """Make the channel."""
    return PosCsv(
        Template(
            channel="till",
            columns={
                "Beleg": "receipt",
                "Zeit": "moment",
                "Artikel": "sku",
                "Stück": "quantity",
                "Summe": "line_amount",
            },
            words={"Storno": "void"},
            date_order="dmy",
            zone="Europe/Berlin",
            target=merchant_zone,
            currency="EUR",
            receipt_numbers_unique=True,
        )
    )
