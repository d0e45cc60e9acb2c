"""How fast and how large the service is, beside its peers, as ratios from one run: `make bench`."""
