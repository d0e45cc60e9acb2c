#!/usr/bin/env bash
# Two losses with curl: as JSON, and as binary tensors of the Open Inference Protocol. Needs bash, curl, jq and GNU od.
set -euo pipefail
export LC_ALL=C  # ${#header} counts bytes, and printf writes a decimal point
url=${LOSSMETER_URL:-http://127.0.0.1:8000}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

post() {  # post PATH CURL-OPTIONS...: sends standard input, leaves the answer in the file $answer
  local status
  status=$(curl -sS -o "$answer" -w '%{http_code}' --data-binary @- "${@:2}" "$url$1")
  [ "$status" = 200 ] || { jq -r .detail "$answer" >&2; exit 1; }
}

json() {  # json LOSS: the fields of the request are standard input
  post "/v1/losses/$1" -H 'Content-Type: application/json'
  printf '%s json %.6f\n' "$1" "$(jq -r .loss "$answer")"
}

oip() {  # oip LOSS INPUTS: the bytes of the inputs, little-endian and in their order, are standard input
  local header='{"inputs": ['$2'], "outputs": [{"name": "loss", "parameters": {"binary_data": true}}]}'
  { printf %s "$header"; cat; } | post "/v2/models/$1/infer" \
    -H 'Content-Type: application/octet-stream' -H "Inference-Header-Content-Length: ${#header}"
  printf '%s oip %.6f\n' "$1" "$(tail -c 4 "$answer" | od -An -t f4 --endian=little)"
}

json cross_entropy <<< '{"logits": [[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], "targets": [0, 2], "weight": [1, 1, 2]}'
{ printf '\x00\x00\x00\x40\x00\x00\x00\x3f\x00\x00\x80\xbf\xcd\xcc\xcc\x3d\xcd\xcc\x4c\x3e\x9a\x99\x99\x3e'  # logits
  printf '\x00\x00\x00\x00\x02\x00\x00\x00'  # targets
  printf '\x00\x00\x80\x3f\x00\x00\x80\x3f\x00\x00\x00\x40'  # weight
} | oip cross_entropy '
  {"name": "logits", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}},
  {"name": "targets", "datatype": "INT32", "shape": [2], "parameters": {"binary_data_size": 8}},
  {"name": "weight", "datatype": "FP32", "shape": [3], "parameters": {"binary_data_size": 12}}'

json binary_cross_entropy <<< '{"probabilities": [0.9, 0.2, 0.7], "targets": [1, 0, 1]}'
printf '\x66\x66\x66\x3f\xcd\xcc\x4c\x3e\x33\x33\x33\x3f\x00\x00\x80\x3f\x00\x00\x00\x00\x00\x00\x80\x3f' |
  oip binary_cross_entropy '
  {"name": "probabilities", "datatype": "FP32", "shape": [3], "parameters": {"binary_data_size": 12}},
  {"name": "targets", "datatype": "FP32", "shape": [3], "parameters": {"binary_data_size": 12}}'
