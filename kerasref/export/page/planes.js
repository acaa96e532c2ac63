// What Pillow, SciPy and NumPy do to images in data/images.py and data/ink.py. A plane is {d: numbers, w, h}.

const clip = (x, low, high) => Math.min(Math.max(x, low), high);
const map = (plane, f) => ({ ...plane, d: plane.d.map(f) });
const floor = Math.floor;
const highest = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
const lowest = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);

function round(x) {  // to the even one of two, as Python does
  const nearest = Math.round(x);
  return Math.abs(x % 1) === 0.5 && nearest % 2 ? nearest - 1 : nearest;
}

function percentiles(values, ...shares) {
  const sorted = Float64Array.from(values).sort();
  return shares.map((share) => {
    const at = (share / 100) * (sorted.length - 1), i = floor(at);
    return sorted[i] + (at - i) * ((sorted[i + 1] ?? sorted[i]) - sorted[i]);
  });
}

const sinc = (x) => (x ? Math.sin(Math.PI * x) / (Math.PI * x) : 1);
const KERNELS = {  // of Pillow: reach, weight at a distance
  nearest: [0.5, () => 1],
  bilinear: [1, (x) => 1 - x],
  bicubic: [2, (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : ((-0.5 * x + 2.5) * x - 4) * x + 2)],
  lanczos: [3, (x) => sinc(x) * sinc(x / 3)],
};

/** Pillow's resize of a plane; box: the part of it; bytes: whether it has whole numbers from 0 to 255. */
function resize(plane, w, h, name, { box = [0, 0, plane.w, plane.h], bytes = false, antialias = true } = {}) {
  const windows = (from, to, size, all) => {
    const scale = (to - from) / size, wide = antialias ? Math.max(scale, 1) : 1, [reach, f] = KERNELS[name];
    return Array.from({ length: size }, (_, i) => {
      const centre = from + (i + 0.5) * scale;
      if (name === "nearest") return [clip(floor(centre), 0, all - 1), [1]];
      const start = Math.max(0, Math.trunc(centre - reach * wide + 0.5));
      const end = Math.min(all, Math.trunc(centre + reach * wide + 0.5));
      const weights = Array.from({ length: Math.max(1, end - start) }, (_, j) => {
        const x = Math.abs((start + j - centre + 0.5) / wide);
        return x < reach ? f(x) : 0;
      });
      const sum = weights.reduce((a, b) => a + b, 0);
      return [start, weights.map((weight) => weight / sum)];
    });
  };
  const exact = bytes ? (x) => clip(floor(x + 0.5), 0, 255) : (x) => x;
  const columns = windows(box[0], box[2], w, plane.w), rows = windows(box[1], box[3], h, plane.h);
  const narrow = new Float32Array(w * plane.h), result = new Float32Array(w * h);
  for (let y = 0; y < plane.h; y++) columns.forEach(([start, weights], x) => {
    let sum = 0;
    for (let j = 0; j < weights.length; j++) sum += weights[j] * plane.d[y * plane.w + start + j];
    narrow[y * w + x] = exact(sum);
  });
  rows.forEach(([start, weights], y) => {
    for (let x = 0; x < w; x++) {
      let sum = 0;
      for (let j = 0; j < weights.length; j++) sum += weights[j] * narrow[(start + j) * w + x];
      result[y * w + x] = exact(sum);
    }
  });
  return { d: result, w, h };
}

function blur(plane, sigma) {  // scipy's gaussian_filter
  const radius = floor(4 * sigma + 0.5), { w, h } = plane;
  let weights = Array.from({ length: 2 * radius + 1 }, (_, i) => Math.exp(-0.5 * ((i - radius) / sigma) ** 2));
  const sum = weights.reduce((a, b) => a + b);
  weights = Float64Array.from(weights, (weight) => weight / sum);
  const along = (d, n, step, lines, lineStep) => {
    const result = new Float32Array(d.length), line = new Float64Array(n + 2 * radius);
    for (let k = 0; k < lines; k++) {
      for (let i = 0; i < line.length; i++) {
        const at = (((i - radius) % (2 * n)) + 2 * n) % (2 * n);
        line[i] = d[k * lineStep + (at < n ? at : 2 * n - 1 - at) * step];
      }
      for (let i = 0; i < n; i++) {
        let total = weights[radius] * line[i + radius];
        for (let j = 0; j < radius; j++) total += weights[j] * (line[i + j] + line[i + 2 * radius - j]);
        result[k * lineStep + i * step] = total;
      }
    }
    return result;
  };
  return { d: along(along(plane.d, h, w, w, 1), w, 1, h, w), w, h };
}

function median({ d, w, h }, size) {  // scipy's median_filter: a window of ranks that moves along each row
  const order = Uint32Array.from(d.keys()).sort((a, b) => d[a] - d[b]), rank = new Uint32Array(d.length);
  order.forEach((at, i) => { rank[at] = i; });
  const result = new Float32Array(w * h), middle = (size * size) >> 1, half = size >> 1;
  for (let y = 0; y < h; y++) {
    const counts = new Uint16Array(d.length);
    let at = 0, below = 0;  // how many in the window have a rank below `at`
    const change = (x, step) => {
      for (let i = y - half; i < y - half + size; i++) {
        const one = rank[clip(i, 0, h - 1) * w + clip(x, 0, w - 1)];
        counts[one] += step;
        if (one < at) below += step;
      }
    };
    for (let x = -half; x < size - half; x++) change(x, 1);
    for (let x = 0; x < w; x++) {
      if (x) change(x - half - 1, -1), change(x - half + size - 1, 1);
      while (below > middle) below -= counts[--at];
      while (below + counts[at] <= middle) below += counts[at++];
      result[y * w + x] = d[order[at]];
    }
  }
  return { d: result, w, h };
}
