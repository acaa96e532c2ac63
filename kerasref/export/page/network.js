// The network of MODEL.nodes: float32 maps with the channels last, sums in float64. No DOM here.

const sides = (shape) => (shape.length === 3 ? shape : [1, 1, shape[0]]);
const count = (shape) => shape.reduce((product, side) => product * side, 1);
const weight = ([offset, length]) => WEIGHTS.subarray(offset, offset + length);

function erf(x) {  // of Numerical Recipes, 1.2e-7
  const t = 1 / (1 + 0.5 * Math.abs(x)), c = [0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806,
    0.09678418, 0.37409196, 1.00002368, -1.26551223];
  const tail = t * Math.exp(-x * x + c.reduce((sum, value) => sum * t + value));
  return x < 0 ? tail - 1 : 1 - tail;
}

const ACTIVATIONS = {  // one number to one number; a, b: of the node
  relu: (x, a, b) => (x < 0 ? a * x : Math.min(x, b ?? Infinity)),
  elu: (x, a) => (x < 0 ? a * Math.expm1(x) : x),
  selu: (x) => 1.0507009873554805 * (x < 0 ? 1.6732632423543772 * Math.expm1(x) : x),
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  silu: (x) => x / (1 + Math.exp(-x)),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
};

function softmax(x) {
  const highest = Math.max(...x), powers = Array.from(x, (value) => Math.exp(value - highest));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}

const FORWARD = {  // (node, values of its inputs, their sides, result)
  conv(node, [x], [[height, width, channels]], y) {
    const [rows, columns, filters] = sides(node.shape), { kernel: [high, wide], stride, dilation, before } = node;
    const kernel = weight(node.weights), bias = weight(node.bias), sums = new Float64Array(filters);
    for (let row = 0, at = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, at += filters) {
        for (let f = 0; f < filters; f++) sums[f] = bias[f];
        for (let i = 0; i < high; i++) {
          const top = row * stride[0] + i * dilation[0] - before[0];
          if (top < 0 || top >= height) continue;
          for (let j = 0; j < wide; j++) {
            const left = column * stride[1] + j * dilation[1] - before[1];
            if (left < 0 || left >= width) continue;
            const from = (top * width + left) * channels;
            for (let c = 0, k = (i * wide + j) * channels * filters; c < channels; c++, k += filters) {
              const value = x[from + c];
              if (value !== 0) for (let f = 0; f < filters; f++) sums[f] += value * kernel[k + f];
            }
          }
        }
        y.set(sums, at);
      }
    }
  },
  dense(node, [x], _, y) {
    const kernel = weight(node.weights), units = y.length, sums = Float64Array.from(weight(node.bias));
    for (let i = 0; i < x.length; i++) {
      if (x[i] !== 0) for (let u = 0; u < units; u++) sums[u] += x[i] * kernel[i * units + u];
    }
    y.set(sums);
  },
  affine(node, [x], _, y) {
    const scale = weight(node.scale), shift = weight(node.shift), n = scale.length;
    for (let i = 0; i < x.length; i++) y[i] = x[i] * scale[i % n] + shift[i % n];
  },
  activation(node, [x], _, y) {
    if (node.kind === "softmax") return y.set(softmax(x));
    const f = ACTIVATIONS[node.kind];
    for (let i = 0; i < x.length; i++) y[i] = f(x[i], node.a, node.b);
  },
  pool(node, [x], [[, width, channels]], y) {  // rows, columns: the first pixel of each window and the one behind it
    let at = 0;
    for (const [top, bottom] of node.rows) for (const [left, right] of node.columns) {
      for (let c = 0; c < channels; c++) {
        let result = node.max ? -Infinity : 0;
        for (let i = top; i < bottom; i++) for (let j = left; j < right; j++) {
          const value = x[(i * width + j) * channels + c];
          result = node.max ? Math.max(result, value) : result + value;
        }
        y[at++] = node.max ? result : result / ((bottom - top) * (right - left));
      }
    }
  },
  pad(node, [x], [[height, width, channels]], y) {
    const [, columns, wide] = node.shape, [top, left, front] = node.before;
    for (let i = 0; i < height; i++) for (let j = 0; j < width; j++) {
      const from = (i * width + j) * channels;
      y.set(x.subarray(from, from + channels), ((i + top) * columns + j + left) * wide + front);
    }
  },
  lrn(node, [x], [[, , channels]], y) {
    for (let i = 0; i < x.length; i++) {
      let total = 0;
      const c = i % channels, end = Math.min(channels, c + Math.floor((node.size - 1) / 2) + 1);
      for (let j = Math.max(0, c - (node.size >> 1)); j < end; j++) total += x[i - c + j] ** 2;
      y[i] = x[i] / (node.k + node.alpha * total) ** node.beta;
    }
  },
  add(node, inputs, _, y) {
    for (const x of inputs) for (let i = 0; i < y.length; i++) y[i] += x[i];
  },
  concat(node, inputs, shapes, y) {
    let front = 0;
    const all = sides(node.shape)[2];
    inputs.forEach((x, k) => {
      const channels = shapes[k][2];
      for (let i = 0; i < x.length; i++) y[Math.floor(i / channels) * all + front + (i % channels)] = x[i];
      front += channels;
    });
  },
  same(node, [x], _, y) { y.set(x); },
};

const BACKWARD = {  // (node, gradient of its result, value of its input, sides of it, gradient of it)
  dense(node, g, x, _, gx) {
    const kernel = weight(node.weights);
    for (let i = 0; i < x.length; i++) for (let u = 0; u < g.length; u++) gx[i] += g[u] * kernel[i * g.length + u];
  },
  affine(node, g, x, _, gx) {
    const scale = weight(node.scale);
    for (let i = 0; i < x.length; i++) gx[i] = g[i] * scale[i % scale.length];
  },
  activation(node, g, x, _, gx) {
    if (node.kind === "softmax") return gx.set(g);  // the score is the logit
    const f = ACTIVATIONS[node.kind], h = 1e-4;
    for (let i = 0; i < x.length; i++) gx[i] = g[i] * (f(x[i] + h, node.a, node.b) - f(x[i] - h, node.a, node.b)) / (2 * h);
  },
  pool(node, g, x, [, width, channels], gx) {
    let at = 0;
    for (const [top, bottom] of node.rows) for (const [left, right] of node.columns) {
      for (let c = 0; c < channels; c++, at++) {
        let best = -1;
        for (let i = top; i < bottom; i++) for (let j = left; j < right; j++) {
          const from = (i * width + j) * channels + c;
          if (!node.max) gx[from] += g[at] / ((bottom - top) * (right - left));
          else if (best < 0 || x[from] > x[best]) best = from;
        }
        if (node.max) gx[best] += g[at];
      }
    }
  },
  same(node, g, x, _, gx) { gx.set(g); },
};

function preprocessed(pixels) {  // Uint8 [height, width, channels] -> what the first layer gets
  const { pad, mean, std } = MODEL.preprocessing, [height, width, channels] = MODEL.contract.image_shape;
  const columns = width + 2 * pad, floats = new Float32Array((height + 2 * pad) * columns * channels);
  for (let i = 0; i < floats.length; i++) floats[i] = -mean[i % channels] / std[i % channels];
  for (let i = 0; i < pixels.length; i++) {
    const c = i % channels, column = Math.floor(i / channels) % width, row = Math.floor(i / channels / width);
    floats[((row + pad) * columns + column + pad) * channels + c] = (pixels[i] / 255 - mean[c]) / std[c];
  }
  return floats;
}

/** Return {values: of each node, logits, probabilities, best: class} of raw pixels. */
function classify(pixels) {
  const { nodes, contract } = MODEL, values = [];
  for (const node of nodes) {
    const result = node.op === "input" ? preprocessed(pixels) : new Float32Array(count(node.shape));
    const shapes = node.inputs.map((i) => sides(nodes[i].shape));
    if (node.op !== "input") FORWARD[node.op](node, node.inputs.map((i) => values[i]), shapes, result);
    values.push(result);
  }
  const log = (value) => Math.log(Math.max(value, 1e-30));
  let logits = Array.from(values.at(-1));
  if (MODEL.gives_probabilities) logits = logits.map((p) => (logits.length > 1 ? log(p) : log(p) - log(1 - p)));
  const scores = logits.length > 1 ? logits : [0, logits[0]];
  return { values, logits, probabilities: softmax(scores.map((score) => score / contract.temperature)),
    best: scores.indexOf(Math.max(...scores)) };
}

/** HiResCAM (Draelos and Carin 2020) of a class: [height, width] numbers of the layer MODEL.heat, or null. */
function heatMap({ values, logits }, chosen) {
  const { nodes, heat } = MODEL;
  if (heat === null) return null;
  let at = nodes.length - 1, g = new Float64Array(values.at(-1).length);
  g[logits.length > 1 ? chosen : 0] = logits.length > 1 || chosen ? 1 : -1;
  while (at > heat) {
    const node = nodes[at], [from] = node.inputs;
    if (!BACKWARD[node.op]) return null;
    const gx = new Float64Array(values[from].length);
    BACKWARD[node.op](node, g, values[from], sides(nodes[from].shape), gx);
    [at, g] = [from, gx];
  }
  const [height, width, channels] = nodes[at].shape, map = new Float64Array(height * width);
  for (let i = 0; i < g.length; i++) map[Math.floor(i / channels)] += g[i] * values[at][i];
  return at === heat ? map.map((value) => Math.max(value, 0)) : null;
}
