"""Simulated trade: a world of orders, written in each channel's own wire format, and the people who handle them."""
