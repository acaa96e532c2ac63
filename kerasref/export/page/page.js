// What the reader sees. The stage takes drawings and images; `show` is called for each change of it.

const BLOCK = [...document.querySelectorAll("script[type='text/plain']")].map((element) => element.textContent);
const MODEL = JSON.parse(BLOCK[0]), WEIGHTS = new Float32Array(bytesOf(BLOCK[1]).buffer);
const TEXTS = {
  en: { intro: "The whole network is inside this file. It computes here, in your browser; no image leaves this page.",
    draw: "Draw here", image: "Your image", drop: "Drop an image here, paste it, or choose a file", clear: "Clear",
    file: "Choose an image", camera: "Camera", take: "Take the picture", input: "What it sees",
    heat: "Where it looks", answer: "Answer", sure: "sure", unsure: "not sure", layers: "Layers", nothing: "Nothing found",
    time: "ms an image", noCamera: "The camera is not available here", badFile: "This file is not an image that the browser reads",
    empty: "Draw a digit, or give an image", other: "中文" },
  zh: { intro: "整个网络都在这个文件里，在您的浏览器中计算；图片不会离开本页。",
    draw: "在这里写", image: "您的图片", drop: "把图片拖到这里、粘贴，或选择文件", clear: "清除",
    file: "选择图片", camera: "摄像头", take: "拍照", input: "网络看到的图像",
    heat: "网络关注的位置", answer: "结果", sure: "有把握", unsure: "没有把握", layers: "各层", nothing: "没有找到内容",
    time: "毫秒一张", noCamera: "这里不能使用摄像头", badFile: "浏览器无法读取这个图片文件",
    empty: "请写一个数字，或给一张图片", other: "English" },
};
const $ = (id) => document.getElementById(id), stage = $("stage"), pen = stage.getContext("2d", { willReadFrequently: true });
const SIDE = 140;  // pixels of the paper: the digit becomes 20
const { contract, nodes } = MODEL, [HEIGHT, WIDTH, CHANNELS] = contract.image_shape, draws = contract.image_kind === "digit";
let language = navigator.language.startsWith("zh") ? "zh" : "en", scheduled = false, given = null, answer = null;
const text = (key) => TEXTS[language][key];

function bytesOf(base64) {
  const characters = atob(base64.trim()), bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

function base64Of(numbers) {
  const bytes = new Uint8Array(Float32Array.from(numbers).buffer);
  let characters = "";
  for (let i = 0; i < bytes.length; i += 8192) characters += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(characters);
}

function element(name, parent, content, style) {
  const made = parent.appendChild(document.createElement(name));
  if (content !== undefined) made.textContent = content;
  if (style) made.className = style;
  return made;
}

function paint(canvas, width, height, colour) {  // colour: (pixel) -> [red, green, blue, opacity]
  [canvas.width, canvas.height] = [width, height];
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) image.data.set(colour(i), 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function clear() {
  [stage.width, stage.height, given] = draws ? [SIDE, SIDE, null] : [SIDE, 0.6 * SIDE, null];
  pen.fillStyle = "#fff";
  if (draws) pen.fillRect(0, 0, SIDE, SIDE);
  stage.classList.remove("given");
  forget(draws ? "empty" : "drop");
}

function forget(message) {
  answer = null;
  $("best").textContent = "";
  $("message").textContent = text(message);
  for (const id of ["answer", "input", "heat", "layers"]) $(id).hidden = true;
}

function later() {
  if (!scheduled) requestAnimationFrame(() => { scheduled = false; show(); });
  scheduled = true;
}

function show() {
  const image = given ?? pen.getImageData(0, 0, stage.width, stage.height);
  try {
    const pixels = prepare(image), start = performance.now();
    answer = { pixels, ...classify(pixels) };
    answer.milliseconds = performance.now() - start;
  } catch (error) {
    if (!(error instanceof NothingFound)) throw error;
    return forget("nothing");
  }
  showAnswer();
}

function showAnswer() {
  const { probabilities, best, pixels, milliseconds } = answer, threshold = contract.confidence_threshold;
  for (const id of ["answer", "input", "layers"]) $(id).hidden = false;
  $("message").textContent = threshold === null ? "" : text(probabilities[best] > threshold ? "sure" : "unsure");
  $("best").textContent = contract.class_names[best];
  $("time").textContent = `${milliseconds.toFixed(1)} ${text("time")}`;
  const order = probabilities.map((_, i) => i);
  if (order.length > 10) order.sort((a, b) => probabilities[b] - probabilities[a]).splice(10);
  $("bars").replaceChildren();
  for (const i of order) {
    const row = element("li", $("bars"));
    element("span", row, contract.class_names[i], "name");
    element("span", element("span", row, undefined, "track"), undefined, i === best ? "fill best" : "fill").style.width =
      `${100 * probabilities[i]}%`;
    element("span", row, `${(100 * probabilities[i]).toFixed(1)} %`, "share");
  }
  const shade = (i) => [0, 1, 2].map((c) => pixels[i * CHANNELS + (CHANNELS > 1 ? c : 0)]);
  paint($("seen"), WIDTH, HEIGHT, (i) => [...shade(i), 255]);
  showHeat(shade);
  showLayers();
}

function showHeat(shade) {
  const heat = heatMap(answer, answer.best);
  $("heat").hidden = heat === null;
  if (heat === null) return;
  const [rows, columns] = nodes[MODEL.heat].shape, top = highest(heat) || 1, { pad } = MODEL.preprocessing;
  const high = HEIGHT + 2 * pad, wide = WIDTH + 2 * pad;
  const large = resize({ d: Float32Array.from(heat, (value) => value / top), w: columns, h: rows }, wide, high, "bilinear");
  paint($("looked"), WIDTH, HEIGHT, (i) => {
    const value = large.d[(Math.floor(i / WIDTH) + pad) * wide + (i % WIDTH) + pad];
    const mixed = shade(i).map((x, c) => (1 - 0.75 * value) * x * 0.7 + 0.75 * value * [255, 120, 20][c]);
    return [...mixed, 255];
  });
}

function makeLayers() {
  const shown = nodes.map((node, i) => [node, i]).filter(([node]) => node.shown), few = shown.length <= 14;
  shown.forEach(([node, i], k) => {
    const box = element("details", $("list")), title = element("summary", box);
    element("b", title, node.name);
    element("span", title, ` ${node.type} · ${node.shape.join(" × ")}`, "muted");
    Object.assign(box, { open: few || k < 3 || k >= shown.length - 2, ontoggle: () => drawLayer(box) });
    box.canvas = element("canvas", box);
    box.index = i;
  });
}

function showLayers() {
  for (const box of $("list").children) drawLayer(box);
}

function drawLayer({ open, index, canvas }) {  // maps next to each other, a vector as one row; each from its own range
  if (!open || !answer) return;
  const values = answer.values[index], { shape } = nodes[index], [rows, columns, channels] = sides(shape);
  const vector = rows * columns === 1, most = Math.floor($("list").clientWidth / 12), line = Math.min(channels, most);
  const [high, wide] = vector ? [Math.ceil(channels / line), line] : [rows, columns];
  const zoom = vector ? 12 : Math.max(1, Math.round(48 / wide)), room = Math.floor($("list").clientWidth / zoom);
  const tiles = vector ? 1 : Math.min(channels, 64), across = Math.min(tiles, Math.max(1, Math.floor(room / (wide + 1))));
  const down = Math.ceil(tiles / across), width = across * (wide + 1) - 1;
  const low = [], top = [];
  for (let t = 0; t < tiles; t++) {
    const own = vector ? values : values.filter((_, i) => i % channels === t);
    low.push(lowest(own));
    top.push(highest(own));
  }
  paint(canvas, width, down * (high + 1) - 1, (i) => {
    const x = i % width, y = Math.floor(i / width), row = y % (high + 1), column = x % (wide + 1);
    const t = Math.floor(y / (high + 1)) * across + Math.floor(x / (wide + 1));
    const at = vector ? row * wide + column : (row * wide + column) * channels + t;
    if (row === high || column === wide || t >= tiles || at >= values.length) return [0, 0, 0, 0];
    const value = (255 * (values[at] - low[t])) / (top[t] - low[t] || 1);
    return [value, value, value, 255];
  });
  canvas.style.width = `${width * zoom}px`;
}

async function take(file) {
  try {
    const image = await createImageBitmap(file);  // upright, as its EXIF orientation says
    takePicture(image, image.width, image.height);
  } catch {
    $("message").textContent = text("badFile");
  }
}

function takePicture(image, width, height) {
  const whole = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  whole.fillStyle = "#fff";  // transparent parts lie on white
  whole.fillRect(0, 0, width, height);
  whole.drawImage(image, 0, 0);
  clear();
  stage.classList.add("given");
  given = whole.getImageData(0, 0, width, height);
  const scale = Math.min(1, 480 / Math.max(width, height));
  [stage.width, stage.height] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  pen.drawImage(image, 0, 0, stage.width, stage.height);
  show();
}

async function camera() {
  const video = $("video");
  if (video.srcObject) {
    takePicture(video, video.videoWidth, video.videoHeight);
    video.srcObject.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  } else {
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      $("message").textContent = text("noCamera");
    }
  }
  stage.hidden = Boolean(video.srcObject);
  video.hidden = !stage.hidden;
  $("camera").textContent = text(video.srcObject ? "take" : "camera");
}

function drawLine(event) {
  const box = stage.getBoundingClientRect(), scale = stage.width / box.width;
  const points = event.getCoalescedEvents?.() ?? [];
  Object.assign(pen, { lineWidth: 9, lineCap: "round", lineJoin: "round", strokeStyle: "#000" });
  for (const { clientX, clientY } of points.length ? points : [event]) {
    pen.lineTo((clientX - box.left) * scale, (clientY - box.top) * scale);
  }
  pen.stroke();
  later();
}

function translate() {
  document.documentElement.lang = language;
  for (const one of document.querySelectorAll("[data-text]")) one.textContent = text(one.dataset.text);
  $("stage-title").textContent = text(draws ? "draw" : "image");
  $("language").textContent = text("other");
  answer ? showAnswer() : forget(draws ? "empty" : "drop");
}

function start() {
  stage.classList.toggle("draws", draws);
  stage.onpointerdown = (event) => {
    if (!draws) return;
    if (given) clear();
    stage.setPointerCapture(event.pointerId);
    pen.beginPath();
    drawLine(event);
  };
  stage.onpointermove = (event) => draws && event.buttons && !given && drawLine(event);
  $("clear").onclick = clear;
  $("choose").onclick = () => $("file").click();
  $("file").onchange = () => $("file").files.length && take($("file").files[0]);
  $("camera").onclick = camera;
  $("camera").hidden = !navigator.mediaDevices?.getUserMedia;
  $("language").onclick = () => { language = language === "en" ? "zh" : "en"; translate(); };
  const first = (data) => [...data.files].find((file) => file.type.startsWith("image/"));
  document.ondragover = (event) => event.preventDefault();
  document.ondrop = (event) => { event.preventDefault(); first(event.dataTransfer) && take(first(event.dataTransfer)); };
  document.onpaste = (event) => first(event.clipboardData) && take(first(event.clipboardData));
  const longest = Math.max(...contract.class_names.map((name) => name.length));
  $("bars").style.setProperty("--name", `${Math.min(16, longest + 1)}ch`);
  window.onresize = () => answer && showLayers();
  makeLayers();
  clear();
  translate();
}

/** Answer for images that the export's verification put into a copy of this file: "ANSWERS", then JSON. */
function verify(images) {
  const size = HEIGHT * WIDTH * CHANNELS, answers = [], times = [];
  for (let i = 0; i < images.length; i += size) {
    const begin = performance.now(), { logits, probabilities, best } = classify(images.subarray(i, i + size));
    times.push(performance.now() - begin);
    answers.push({ logits, probabilities, best });
  }
  return JSON.stringify({ milliseconds: times.sort((a, b) => a - b)[times.length >> 1],
    class_id: answers.map(({ best }) => best), label: answers.map(({ best }) => contract.class_names[best]),
    logits: base64Of(answers.flatMap(({ logits }) => logits)),
    probabilities: base64Of(answers.flatMap(({ probabilities }) => probabilities)) });
}

if (BLOCK[2]) document.body.replaceChildren(`ANSWERS ${btoa(unescape(encodeURIComponent(verify(bytesOf(BLOCK[2])))))} END`);
else start();
