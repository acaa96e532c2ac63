// ONNX Runtime in node: node reader.mjs onnxruntime-node|onnxruntime-web MODEL.onnx IMAGES.bin SHAPE ANSWERS.bin
// As readers.py: all images, once one and once seven at a time; uint8 in, float32 out.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

const [client, model, file, sides, answers] = process.argv.slice(2);
const require = createRequire(path.join(process.cwd(), "here.js"));
const ort = require(client);
const shape = sides.split("x").map(Number);
const images = new Uint8Array(readFileSync(file));
const size = shape.slice(1).reduce((a, b) => a * b);
if (client === "onnxruntime-web") ort.env.wasm.numThreads = 1;
const options = client === "onnxruntime-web" ? { executionProviders: ["wasm"] } : {};
const session = await ort.InferenceSession.create(client === "onnxruntime-web" ? readFileSync(model) : model, options);
const found = [];
for (const batch of [1, 7]) {
  for (let i = 0; i < shape[0]; i += batch) {
    const count = Math.min(batch, shape[0] - i);
    const part = images.slice(i * size, (i + count) * size);
    const { probabilities } = await session.run({ images: new ort.Tensor("uint8", part, [count, ...shape.slice(1)]) });
    found.push(...probabilities.data);
  }
}
writeFileSync(answers, Buffer.from(new Float32Array(found).buffer));
console.log(`VERSION ${client} ${require(`${process.cwd()}/node_modules/${client}/package.json`).version}`);
process.exit(0); // the threads of WebAssembly would go on
