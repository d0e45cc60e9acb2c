"""The long rows: what takes minutes to hours, run by hand, seeded, bounded. Each prints figures and judges them."""
