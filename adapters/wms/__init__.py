"""Warehouses that others run, spoken with in the style of Qimen (奇门仓储), both ways."""
