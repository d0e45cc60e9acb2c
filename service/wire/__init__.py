"""The formats, one file each: bytes to arrays and options, results to bytes."""
