"""What /metrics says, read by prometheus_client's parser."""

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from starlette.testclient import TestClient


def samples(client: TestClient) -> Iterator[Sample]:
    """Every sample that is exposed."""
    for family in text_string_to_metric_families(client.get("/metrics").text):
        yield from family.samples


def value(client: TestClient, name: str, **labels: str) -> float:
    """The sum of the samples of `name` that have `labels`."""
    return sum(
        sample.value for sample in samples(client) if sample.name == name and sample.labels.items() >= labels.items()
    )
