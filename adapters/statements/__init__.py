"""Statements of account that channels and payment services give as CSV files."""
