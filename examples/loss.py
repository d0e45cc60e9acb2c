"""Two losses with Python's standard library: as JSON, and as binary tensors in safetensors bodies."""

import json
import os
from struct import pack, unpack_from
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def post(name, media_type, body):
    url = os.environ.get("LOSSMETER_URL", "http://127.0.0.1:8000") + "/v1/losses/" + name
    try:
        with urlopen(Request(url, body, {"Content-Type": media_type, "Accept": media_type})) as answer:
            return answer.read()
    except HTTPError as error:
        raise SystemExit(json.load(error)["detail"]) from None


def print_losses(name, fields, tensors):
    answer = json.loads(post(name, "application/json", json.dumps(fields).encode()))
    print(f"{name} json {float(answer['loss']):.6f}")
    header, data = {}, b""
    for tensor, (dtype, shape, values) in tensors.items():
        header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    answer = post(name, "application/x-safetensors", pack("<Q", len(text)) + text + data)
    start = 8 + unpack_from("<Q", answer)[0]
    header = json.loads(answer[8:start])
    per_sample = unpack_from(f"<{header['per_sample']['shape'][0]}f", answer, start)
    totals = json.loads(header["__metadata__"]["totals"])  # batches are merged by them: the mean is sum / weight
    print(f"{name} safetensors {sum(per_sample) / totals['weight']:.6f}")


logits, targets, weight = pack("<6f", 2.0, 0.5, -1.0, 0.1, 0.2, 0.3), pack("<2q", 0, 2), pack("<3f", 1, 1, 2)
tensors = {"logits": ("F32", [2, 3], logits), "targets": ("I64", [2], targets), "weight": ("F32", [3], weight)}
fields = {"logits": [[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], "targets": [0, 2], "weight": [1, 1, 2]}
print_losses("cross_entropy", fields, tensors)
tensors = {"probabilities": ("F32", [3], pack("<3f", 0.9, 0.2, 0.7)), "targets": ("F32", [3], pack("<3f", 1, 0, 1))}
print_losses("binary_cross_entropy", {"probabilities": [0.9, 0.2, 0.7], "targets": [1, 0, 1]}, tensors)
