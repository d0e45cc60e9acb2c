"""Ask a server with the package that openapi-python-client wrote from its /openapi.json: python_client.py URL."""

import math
import sys

from lossmeter_client import Client
from lossmeter_client.api.losses import binary_cross_entropy, cross_entropy
from lossmeter_client.api.reports import report_multiclass
from lossmeter_client.models.binary_cross_entropy_answer import BinaryCrossEntropyAnswer
from lossmeter_client.models.binary_cross_entropy_request import BinaryCrossEntropyRequest
from lossmeter_client.models.cross_entropy_answer import CrossEntropyAnswer
from lossmeter_client.models.cross_entropy_request import CrossEntropyRequest
from lossmeter_client.models.multiclass_report import MulticlassReport
from lossmeter_client.models.multiclass_report_request import MulticlassReportRequest
from lossmeter_client.models.problem_document import ProblemDocument


def check(name: str, found: float | None, expected: float) -> None:
    """Print a number, and stop unless it is the expected one; the arguments' types are half of the check."""
    print(f"{name}: {found}")
    if found is None or not math.isclose(found, expected, rel_tol=1e-6):
        sys.exit(f"{name} is {found}, not {expected}")


def weighted(client: Client) -> None:
    """A batch with class weights: the loss, its parts and the totals are numbers."""
    body = CrossEntropyRequest(logits=[[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], targets=[0, 2], weight=[1.0, 1.0, 2.0])
    answer = cross_entropy.sync(client=client, body=body)
    if not isinstance(answer, CrossEntropyAnswer) or not isinstance(answer.per_sample, list):
        sys.exit(f"cross_entropy answered {answer}")
    check("loss", None if answer.loss is None else float(answer.loss), 0.748399)
    check("totals.weight", float(answer.totals.weight), 3.0)
    check("totals.sum", float(answer.totals.sum_), 2.24519707262516)
    check("totals.count", answer.totals.count, 2)
    first, second = (value for value in answer.per_sample if isinstance(value, float))
    check("per_sample[0]", first, 0.24131133)
    check("per_sample[1]", second, 2.0038857)


def elementwise(client: Client) -> None:
    """Another loss, certain and wrong in its last element."""
    body = BinaryCrossEntropyRequest(probabilities=[0.5, 0.25, 0.0], targets=[1.0, 0.0, 1.0])
    answer = binary_cross_entropy.sync(client=client, body=body)
    if not isinstance(answer, BinaryCrossEntropyAnswer) or answer.loss is None:
        sys.exit(f"binary_cross_entropy answered {answer}")
    check("binary loss", float(answer.loss), (math.log(2) - math.log(0.75) + 100) / 3)


def report(client: Client) -> None:
    """Every metric of a batch, of which some are not defined."""
    body = MulticlassReportRequest(logits=[[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], targets=[0, 2], worst=1)
    answer = report_multiclass.sync(client=client, body=body)
    if not isinstance(answer, MulticlassReport):
        sys.exit(f"report_multiclass answered {answer}")
    check("samples", answer.samples, 2)
    check("cross_entropy", float(answer.metrics["cross_entropy"].value), 0.62162707)
    check("accuracy", float(answer.metrics["accuracy"].value), 1.0)
    check("worst[0].loss", float(answer.worst[0].loss), 1.0019428)


def refused(client: Client) -> None:
    """A class that is not there: a typed problem document that points at it."""
    body = CrossEntropyRequest(logits=[[2.0, 0.5]], targets=[2])
    problem = cross_entropy.sync(client=client, body=body)
    if not isinstance(problem, ProblemDocument) or not problem.errors:
        sys.exit(f"a class that is not there was answered with {problem}")
    check("problem.status", problem.status, 422)
    print(f"problem.detail: {problem.detail}")
    if problem.errors[0].pointer != "/targets/0":
        sys.exit(f"the problem points at {problem.errors[0].pointer}")


def main() -> None:
    """Ask the server at the address that the command line names."""
    with Client(base_url=sys.argv[1]) as client:
        weighted(client)
        elementwise(client)
        report(client)
        refused(client)


if __name__ == "__main__":
    main()
