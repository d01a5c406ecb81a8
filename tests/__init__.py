"""Tests of OrderSpine."""
