// Asks a server with openapi-fetch and the types that openapi-typescript wrote from its /openapi.json: call.js URL.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
// The client reads JSON; without this an answer's type would be that of its binary form too.
type Json = "application/json" | "application/problem+json";

const client = createClient<paths, Json>({ baseUrl: process.argv[2] ?? "" });

function check(name: string, found: Schemas["Number"] | null | undefined, expected: number): void {
  console.log(`${name}: ${found}`);
  if (typeof found !== "number" || !(Math.abs(found - expected) <= 1e-6 * Math.abs(expected))) {
    throw new Error(`${name} is ${found}, not ${expected}`);
  }
}

const weighted: Schemas["CrossEntropyRequest"] = {
  logits: [[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]],
  targets: [0, 2],
  weight: [1, 1, 2],
};
const { data: answer, error: failure } = await client.POST("/v1/losses/cross_entropy", { body: weighted });
if (!answer) throw new Error(failure.detail);
check("loss", answer.loss, 0.748399);
check("totals.weight", answer.totals.weight, 3);
check("totals.sum", answer.totals.sum, 2.24519707262516);
check("totals.count", answer.totals.count, 2);
const { per_sample } = answer;
if (!Array.isArray(per_sample)) throw new Error(`per_sample is ${per_sample}`);
const numbers = per_sample.filter((value) => typeof value === "number");
check("per_sample[0]", numbers[0], 0.24131133);
check("per_sample[1]", numbers[1], 2.0038857);

const elementwise = await client.POST("/v1/losses/binary_cross_entropy", {
  body: { probabilities: [0.5, 0.25, 0.0], targets: [1, 0, 1], reduction: "sum" },
});
check("binary loss", elementwise.data?.loss, Math.log(2) - Math.log(0.75) + 100);

const report = await client.POST("/v1/reports/multiclass", {
  body: { logits: [[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], targets: [0, 2], worst: 1 },
});
check("samples", report.data?.samples, 2);
check("cross_entropy", report.data?.metrics["cross_entropy"]?.value, 0.62162707);
check("accuracy", report.data?.metrics["accuracy"]?.value, 1);
check("worst[0].loss", report.data?.worst[0]?.loss, 1.0019428);

const refused = await client.POST("/v1/losses/cross_entropy", { body: { logits: [[2.0, 0.5]], targets: [2] } });
if (!refused.error) throw new Error("a class that is not there was answered");
const problem: Schemas["ProblemDocument"] = refused.error;
check("problem.status", problem.status, 422);
console.log(`problem.detail: ${problem.detail}`);
if (problem.errors?.[0]?.pointer !== "/targets/0") throw new Error(`the problem points at ${problem.errors?.[0]?.pointer}`);

// What the types forbid, so that they are known to be more than `any`.
// @ts-expect-error: class indices are integers, not text
void (() => client.POST("/v1/losses/cross_entropy", { body: { logits: [[1]], targets: ["0"] } }));
// @ts-expect-error: the loss may be null or the text of a number that is not finite
const never: number = answer.loss;
void never;
