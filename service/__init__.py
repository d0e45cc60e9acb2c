"""The losses of `core` over HTTP: HTTP in, HTTP out. Nothing in this package does arithmetic on tensors."""
