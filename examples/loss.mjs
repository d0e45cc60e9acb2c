// Two losses with the fetch of Node 20: as JSON, and as binary tensors of the Open Inference Protocol.
const url = process.env.LOSSMETER_URL ?? "http://127.0.0.1:8000";
const SETTERS = { FP32: "setFloat32", INT32: "setInt32" };

async function post(path, headers, body) {
  const response = await fetch(url + path, { method: "POST", headers, body });
  if (response.ok) return response;
  console.error((await response.json()).detail);
  process.exit(1);
}

async function printJson(name, fields) {
  const response = await post(`/v1/losses/${name}`, { "Content-Type": "application/json" }, JSON.stringify(fields));
  console.log(name, "json", Number((await response.json()).loss).toFixed(6));
}

function input(name, datatype, shape, values) {
  const bytes = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, i) => bytes[SETTERS[datatype]](4 * i, value, true)); // true: little-endian
  return { bytes, entry: { name, datatype, shape, parameters: { binary_data_size: bytes.byteLength } } };
}

async function printOip(name, ...inputs) {
  const outputs = [{ name: "loss", parameters: { binary_data: true } }];
  const header = new Blob([JSON.stringify({ inputs: inputs.map(({ entry }) => entry), outputs })]);
  const body = new Blob([header, ...inputs.map(({ bytes }) => bytes)]);
  const headers = { "Content-Type": "application/octet-stream", "Inference-Header-Content-Length": header.size };
  const response = await post(`/v2/models/${name}/infer`, headers, body);
  const start = Number(response.headers.get("Inference-Header-Content-Length"));
  console.log(name, "oip", new DataView(await response.arrayBuffer(), start).getFloat32(0, true).toFixed(6));
}

await printJson("cross_entropy", { logits: [[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], targets: [0, 2], weight: [1, 1, 2] });
await printOip("cross_entropy", input("logits", "FP32", [2, 3], [2.0, 0.5, -1.0, 0.1, 0.2, 0.3]),
  input("targets", "INT32", [2], [0, 2]), input("weight", "FP32", [3], [1, 1, 2]));
await printJson("binary_cross_entropy", { probabilities: [0.9, 0.2, 0.7], targets: [1, 0, 1] });
await printOip("binary_cross_entropy",
  input("probabilities", "FP32", [3], [0.9, 0.2, 0.7]), input("targets", "FP32", [3], [1, 0, 1]));
