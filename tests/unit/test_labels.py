from domain.catalogue import TYPES
from domain.labels import LABELS, label_of


def test_every_event_has_a_name_in_both_languages() -> None:
    assert TYPES.keys() <= LABELS.keys()
    assert all(chinese and english for chinese, english in LABELS.values())
    assert label_of("order.paid") == "已付款 paid"
    assert label_of("order.unheard_of") == "order.unheard_of"
