"""The ERP that stays beside: what it is told, in its own twelve fields, one way."""
