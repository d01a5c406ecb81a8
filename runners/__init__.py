"""The programs: they wire the domain, adapters and projections together and run them."""
