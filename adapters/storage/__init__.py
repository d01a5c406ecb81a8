"""What is kept: the event log, the payloads, the keys, and the oversize input on its way to them."""
