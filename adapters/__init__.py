"""The edges: sales channels, the event store, messaging and other outside systems."""
