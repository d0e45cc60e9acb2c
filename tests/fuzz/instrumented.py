"""The decoders under atheris: what tests.fuzz.coverage_guided starts, as `COMMAND FLAGS...`, its own command first.

It must import nothing of the service before atheris watches what is imported.
"""

import sys

import atheris

with atheris.instrument_imports(include=["core", "service"]):
    from tests.fuzz.decoders import take

atheris.Setup(sys.argv[1:], take)
atheris.Fuzz()
