// From an image to the pixels that the network takes, as `kerasref predict` does: data/images.py, ink.py, digits.py.

const LEAST_CONTRAST = 12, WORKING_SIDE = 256, DETAIL = 5, SHARPENING = 1, THINNEST = 2, THICKEST = 3.2;
class NothingFound extends Error {}

function shrink(plane, longest = WORKING_SIDE) {
  const scale = Math.min(1, longest / Math.max(plane.w, plane.h));
  return resize(plane, Math.max(1, round(plane.w * scale)), Math.max(1, round(plane.h * scale)), "bilinear");
}

function ground(grey) {
  const small = shrink(grey, 48);
  return resize(blur(median(small, floor(Math.max(small.w, small.h) / 2) + 1), 2), grey.w, grey.h, "bilinear");
}

function lighterThanGround(grey) {
  const small = shrink(grey), behind = ground(small), difference = small.d.map((value, i) => value - behind.d[i]);
  let [dark, light] = percentiles(difference, 1, 99);
  if (Math.max(-dark, light) < LEAST_CONTRAST) [dark, light] = [lowest(difference), highest(difference)];
  return light > -dark;
}

function otsu(values) {
  const low = lowest(values), step = (highest(values) - low) / 256, counts = new Float64Array(256);
  if (!step) return low;
  for (const value of values) counts[Math.min(255, floor((value - low) / step))]++;
  let n = 0, sum = 0, best = -1, threshold = low;
  const all = counts.reduce((total, one, i) => total + one * (low + i * step), 0);
  counts.forEach((one, i) => {
    [n, sum] = [n + one, sum + one * (low + i * step)];
    const rest = values.length - n, between = n * rest * (sum / n - (all - sum) / rest) ** 2;
    if (between > best) [best, threshold] = [between, low + (i + 1) * step];
  });
  return threshold;
}

function strokes({ d, w, h }) {  // what was drawn: 1, all else 0
  const threshold = otsu(d), piece = new Int32Array(w * h), weights = [0], atEdge = [false];
  let above = 0, sum = 0, rest = 0;
  for (const value of d) value > threshold ? (above++, sum += value) : rest += value;
  if (!above || sum / above - rest / (d.length - above) < LEAST_CONTRAST) throw new NothingFound();
  for (let start = 0; start < d.length; start++) {
    if (piece[start] || d[start] <= threshold) continue;
    const number = weights.push(0) - 1, waiting = [start];
    atEdge.push(false);
    piece[start] = number;
    while (waiting.length) {
      const at = waiting.pop(), x = at % w, y = floor(at / w);
      weights[number] += d[at];
      if (!x || !y || x === w - 1 || y === h - 1) atEdge[number] = true;
      for (let i = Math.max(0, y - 1); i <= Math.min(h - 1, y + 1); i++) {
        for (let j = Math.max(0, x - 1); j <= Math.min(w - 1, x + 1); j++) {
          if (!piece[i * w + j] && d[i * w + j] > threshold) waiting.push(i * w + j), (piece[i * w + j] = number);
        }
      }
    }
  }
  const inside = highest(weights.filter((_, i) => !atEdge[i])) > 0.2 * highest(weights);
  const counted = weights.map((weight, i) => (inside && atEdge[i] ? 0 : weight)), least = 0.1 * highest(counted);
  return { d: Uint8Array.from(piece, (number) => counted[number] > least), w, h };
}

function dilated({ d, w, h }, times) {  // to the four neighbours
  for (let n = 0; n < times; n++) {
    const before = d;
    d = before.map((value, i) => value || (i % w && before[i - 1]) || ((i + 1) % w && before[i + 1])
      || (i >= w && before[i - w]) || (i + w < before.length && before[i + w]) ? 1 : 0);
  }
  return { d, w, h };
}

function paper(grey, mask) {
  const near = dilated(mask, 1 + floor(Math.max(grey.w, grey.h) / 50)), width = Math.max(grey.w, grey.h) / 8;
  const seen = { ...grey, d: Float64Array.from(near.d, (value, i) => (value ? 0 : 1) + (mask.d[i] ? 0 : 1e-4)) };
  const sums = blur({ ...grey, d: grey.d.map((value, i) => value * seen.d[i]) }, width), counts = blur(seen, width);
  return sums.d.map((value, i) => value / Math.max(counts.d[i], 1e-9));
}

function bounds({ d, w, h }) {  // [left, top, right, bottom], the last two behind the last pixel
  const box = [w, h, 0, 0];
  d.forEach((value, i) => {
    if (value <= 0) return;
    const x = i % w, y = floor(i / w);
    [box[0], box[1]] = [Math.min(box[0], x), Math.min(box[1], y)];
    [box[2], box[3]] = [Math.max(box[2], x + 1), Math.max(box[3], y + 1)];
  });
  return box;
}

function cut({ d, w, h }, left, top, right, bottom) {  // zeros outside
  const result = new Float32Array((right - left) * (bottom - top));
  for (let y = Math.max(0, top); y < Math.min(h, bottom); y++) {
    const row = d.subarray(y * w + Math.max(0, left), y * w + Math.min(w, right));
    result.set(row, (y - top) * (right - left) + Math.max(0, -left));
  }
  return { d: result, w: right - left, h: bottom - top };
}

function distances({ d, w, h }) {  // of each pixel to the nearest 0
  const columns = new Float64Array(w * h).fill(1e9), result = new Float64Array(w * h);
  for (let x = 0; x < w; x++) for (const [y, end, step] of [[0, h, 1], [h - 1, -1, -1]]) {
    for (let i = y, far = 1e9; i !== end; i += step) {
      far = d[i * w + x] ? far + 1 : 0;
      columns[i * w + x] = Math.min(columns[i * w + x], far);
    }
  }
  for (let i = 0; i < w * h; i++) {
    const x = i % w;
    let least = columns[i] ** 2;
    for (let j = 1; j * j < least && j < w; j++) {
      if (x >= j) least = Math.min(least, j * j + columns[i - j] ** 2);
      if (x + j < w) least = Math.min(least, j * j + columns[i + j] ** 2);
    }
    result[i] = Math.sqrt(least);
  }
  return result;
}

function withAPenOfMnist(ink) {
  const soft = blur(ink, 1.6 * DETAIL);
  const mask = { ...ink, d: Uint8Array.from(ink.d, (value, i) => value + SHARPENING * (value - soft.d[i]) > 0.5) };
  const inside = distances(mask), outside = distances(map(mask, (value) => 1 - value));
  const drawn = inside.filter((value) => value > 0), stroke = (4 * drawn.reduce((a, b) => a + b, 0)) / drawn.length;
  const excess = Math.min(stroke - clip(stroke, THINNEST * DETAIL, THICKEST * DETAIL), DETAIL);
  return { ...ink, d: Float32Array.from(inside, (value, i) => {
    const toRim = value - outside[i] + (mask.d[i] ? -0.5 : 0.5);
    return 255 * clip((toRim - excess / 2) / 2 + 0.5, 0, 1);
  }) };
}

function findDigit(grey) {
  grey = shrink(grey);
  const longest = Math.max(grey.w, grey.h);
  grey = blur(grey, Math.min(WORKING_SIDE, longest) / 200);
  const over = (behind) => ({ ...grey, d: grey.d.map((value, i) => Math.max(value - behind[i], 0)) });
  const ink = over(paper(grey, strokes(over(ground(grey).d)))), mask = strokes(ink);
  const rim = dilated(mask, Math.max(1, floor(longest / 100)));
  const [dark] = percentiles(ink.d.filter((_, i) => mask.d[i]), 75);
  ink.d = ink.d.map((value, i) => (rim.d[i] ? value / dark : 0));
  const [left, top, right, bottom] = bounds(mask), scale = (20 * DETAIL) / Math.max(right - left, bottom - top);
  const margin = 2 + round((4 * DETAIL) / scale);
  const part = cut(ink, left - margin, top - margin, right + margin, bottom + margin);
  return withAPenOfMnist(resize(part, round(part.w * scale), round(part.h * scale), "bicubic"));
}

function layOut(ink) {  // the longer side 20 pixels, the centre of mass in the middle of 28x28
  ink = cut(ink, ...bounds(ink));
  const scale = 20 / Math.max(ink.w, ink.h), w = Math.max(1, round(ink.w * scale)), h = Math.max(1, round(ink.h * scale));
  const small = map(resize(ink, w, h, "bicubic"), (value) => clip(value, 0, 255)), page = new Uint8Array(28 * 28);
  let sum = 1e-6, x = 0, y = 0;
  small.d.forEach((value, i) => { sum += value; x += value * (i % w); y += value * floor(i / w); });
  const left = clip(round(13.5 - x / sum), 0, 28 - w), top = clip(round(13.5 - y / sum), 0, 28 - h);
  small.d.forEach((value, i) => { page[(top + floor(i / w)) * 28 + left + (i % w)] = round(value); });
  return { d: page, w: 28, h: 28 };
}

function findGarment(grey) {
  const { d, w, h } = grey, column = (x) => d.filter((_, i) => i % w === x);
  const border = [...d.subarray(0, w), ...d.subarray(w * (h - 1)), ...column(0), ...column(w - 1)];
  const [behind] = percentiles(border, 50);
  const noise = border.reduce((sum, value) => sum + Math.abs(value - behind), 0) / border.length;
  const thing = map(grey, (value) => (Math.abs(value - behind) > Math.max(LEAST_CONTRAST, 3 * noise) ? 1 : 0));
  const box = bounds(thing);
  if (!box[2]) throw new NothingFound();
  const found = cut(map(grey, (x) => floor(clip(((x - behind) * 255) / Math.max(255 - behind, 1), 0, 255))), ...box);
  const scale = 28 / Math.max(found.w, found.h), [width, height] = [found.w, found.h].map((n) => Math.max(1, round(n * scale)));
  const left = -round((28 - width) / 2), top = -round((28 - height) / 2);
  return cut(resize(found, width, height, "lanczos", { bytes: true }), left, top, left + 28, top + 28);
}

function fit(planes, width, height, { resize_size: short, interpolation, antialias }) {
  const { w, h } = planes[0];
  if (!short) {
    if (w === width && h === height) return planes;
    const wide = w / h >= width / height ? (width / height) * h : w, high = w / h >= width / height ? h : (height / width) * w;
    const left = (w - wide) / 2, top = (h - high) / 2, box = [left, top, left + wide, top + high];
    return planes.map((plane) => resize(plane, width, height, interpolation, { box, bytes: true }));
  }
  const least = Math.min(w, h), [wide, high] = [w, h].map((n) => (n === least ? short : floor((short * n) / least)));
  const start = (n, cutTo) => (n >= cutTo ? round((n - cutTo) / 2) : -floor((cutTo - n) / 2));
  const left = start(wide, width), top = start(high, height);
  const scaled = (plane) => resize(plane, wide, high, interpolation, { bytes: true, antialias });
  return planes.map((plane) => cut(scaled(plane), left, top, left + width, top + height));
}

/** RGBA pixels of an image (opaque) -> Uint8 [height, width, channels] as the network takes them. */
function prepare({ data, width: w, height: h }) {
  const { image_kind: kind, image_shape: [height, width, channels], resizing } = MODEL.contract;
  const plane = (f) => {
    const d = new Float32Array(w * h);
    for (let i = 0; i < d.length; i++) d[i] = f(4 * i);
    return { d, w, h };
  };
  const grey = () => plane((i) => (data[i] * 19595 + data[i + 1] * 38470 + data[i + 2] * 7471 + 32768) >> 16);
  let planes;
  if (kind === "photo") planes = channels === 1 ? [grey()] : [0, 1, 2].map((c) => plane((i) => data[i + c]));
  else {
    const found = grey(), light = lighterThanGround(found) ? found : map(found, (value) => 255 - value);
    const contrast = highest(light.d) - lowest(light.d), ready = w === 28 && h === 28;
    if (ready && kind === "digit" && contrast < LEAST_CONTRAST) throw new NothingFound();
    planes = [ready ? light : kind === "digit" ? layOut(findDigit(light)) : findGarment(light)];
    if (channels === 3) planes = [planes[0], planes[0], planes[0]];
  }
  const done = kind !== "photo" && channels === 1 && width === 28 && height === 28;
  if (!done) planes = fit(planes, width, height, resizing);
  return Uint8Array.from({ length: height * width * channels }, (_, i) => planes[i % channels].d[floor(i / channels)]);
}
