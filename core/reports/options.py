"""What a request for a report may bring beside the scores and the targets, declared once."""

from core.declare import Choice, Kind, Role, Tensor
from core.reports.declare import Labels, Picks, Task, Text
from core.rules import AtLeast, Between, Inside

MOST_BINS, MOST_WORST, MOST_CONFUSION, MOST_GROUPS = 1000, 1000, 1024, 200
MOST_CLASSES = 2**20  # a report takes some hundred bytes for each, even where there are no samples
MOST_GROUPED = 2**20  # classes of all groups together

SAMPLE_WEIGHT = Tensor(
    "sample_weight",
    Kind.FLOAT,
    ("batch",),
    "Weight of each sample (sequence, for tokens) in every metric.",
    rules=(AtLeast(0.0),),
    default=1.0,
)
BYTES = Tensor(
    "bytes",
    Kind.INDEX,
    ("batch",),
    "How many bytes of text each sequence is, for bits_per_byte.",
    rules=(AtLeast(0),),
    default=0,
)
BINS = Tensor("bins", Kind.INDEX, (), "How many bins calibration has.", rules=(Between(1, MOST_BINS),), default=15)
WORST = Tensor(
    "worst", Kind.INDEX, (), "How many of the worst samples are listed.", rules=(Between(0, MOST_WORST),), default=10
)
CONFIDENCE = Tensor(
    "confidence",
    Kind.FLOAT,
    (),
    "How likely an interval holds the true value.",
    rules=(Inside(0.0, 1.0),),
    default=0.95,
)
BINNING = Choice(
    "binning",
    Role.REPORT,
    ("width", "mass"),
    "width",
    "Whether bins of calibration have equal widths or equal weights.",
)
CONFUSION = Choice(
    "confusion",
    Role.REPORT,
    (False, True),
    False,
    f"Whether the confusion matrix is counted, which takes memory of the classes squared: of at most {MOST_CONFUSION}"
    " classes. Above 200 the 50 most frequent confusions are answered.",
)
IDS = Labels(
    "ids",
    "A name for each sample, which the list of the worst has; `shard:position` if there are none. States are merged"
    " only if they have ids or a shard.",
)
GROUPS = Labels("groups", "The group of each sample: every group gets a report beside that of all samples.")
TOP_K = Picks("top_k", (), (1, 5), "The k of top-k accuracy.")
SHARD = Text("shard", "The name of this part of the data. Two states with samples of the same one are not merged.")


def most_groups(task: Task, classes: int) -> int:
    """How many groups a report on `task` of so many classes may have, if it has something for each class."""
    by_class = task.state_bytes(classes) > task.state_bytes(0)
    return max(1, min(MOST_GROUPS, MOST_GROUPED // classes)) if by_class else MOST_GROUPS


def averages(*more: str) -> Picks:
    """The averages of precision, recall and F1 over the classes, and `more` of them."""
    values = ("micro", "macro", "weighted", *more, "per_class")
    return Picks("averages", values, values, "Which averages of precision, recall and F1 are answered.")


def metrics(*names: str) -> Picks:
    """Metrics that need every class of every sample, and so are made on request."""
    return Picks("metrics", names, (), "Further metrics, which need every class of every sample.")
