"""Worked examples; the documents show them and the tests run them."""
