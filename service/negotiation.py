"""What a client prefers: Accept and Accept-Encoding (RFC 9110 section 12)."""


def preferences(header: str | None) -> list[str]:
    """The names in `header`, best first and otherwise as they stand; those of weight 0, or of no weight, left out."""
    names = []
    for part in (header or "").lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        names.append((_weight(parameters), name))
    return [name for weight, name in sorted(names, key=lambda pair: -pair[0]) if name and weight > 0]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0 < weight <= 1 else 0.0
    return 1.0
