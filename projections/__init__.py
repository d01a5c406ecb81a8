"""Pure folds of events into the views that people and programs read."""

from typing import Any

from projections.after_sales import AfterSaleCases
from projections.base import Projection
from projections.checks import Checks
from projections.desk import Desk
from projections.finance import Finance
from projections.intake import Intake
from projections.inventory import Inventory
from projections.kpis import Kpis
from projections.orders import Orders

PROJECTIONS: tuple[Projection[Any, Any], ...] = (
    Orders(),
    Inventory(),
    Intake(),
    Desk(),
    AfterSaleCases(),
    Finance(),
    Checks(),
    Kpis(),
)
"""Every read model there is. One more is one file and one line here."""
