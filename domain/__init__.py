"""The pure core: orders, their events and the rules that decide them."""
