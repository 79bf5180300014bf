// Linked pictures of one window and the values of the pixel under the cursor. The crosshair moves here at once; values
// come from the kernel, which is asked for one pixel at a time, always the latest. Text from data is set as text.
const SVG = "http://www.w3.org/2000/svg";
const WAIT = 2000;

function render({ model, el }) {
  const root = piece("div", "olmoearth-trace");
  const left = piece("div", "olmoearth-trace-left", root);
  const grid = piece("div", "olmoearth-trace-pictures", left);
  const charts = piece("div", "olmoearth-trace-charts", left);
  const keys = piece("div", "olmoearth-trace-keys", left);
  const side = piece("div", "olmoearth-trace-side", root);
  el.append(root);
  let here = model.get("pixel");
  let held = false;
  let asked = null;
  let since = 0;
  let overlays = [];

  function drawPictures() {
    const pictures = model.get("pictures");
    const guides = pictures.filter((one) => one.guide).length;
    const count = pictures.length - guides;
    grid.style.setProperty("--side", `${count > 24 ? 84 : count > 12 ? 104 : count > 6 ? 130 : 176}px`);
    grid.replaceChildren();
    overlays = pictures.map((one) => {
      const figure = piece("figure", one.guide ? "olmoearth-trace-guide" : "", grid);
      const title = piece("figcaption", "olmoearth-trace-title", figure, one.title);
      title.title = one.title;
      const frame = piece("div", "olmoearth-trace-frame", figure);
      frame.style.aspectRatio = `1 / ${model.get("tall")}`;
      frame.tabIndex = 0;
      frame.setAttribute("aria-label", one.title);
      const image = piece("img", "", frame);
      image.src = one.src;
      image.alt = "";
      image.draggable = false;
      const over = shape("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none" }, frame);
      for (const mark of one.marks) drawMark(over, frame, mark);
      const cross = shape("g", { class: "olmoearth-trace-cross" }, over);
      piece("figcaption", "olmoearth-trace-caption", figure, one.caption);
      frame.addEventListener("pointermove", (event) => held || move(placeOf(event, frame)));
      frame.addEventListener("pointerdown", (event) => {
        held = !held;
        root.classList.toggle("olmoearth-trace-held", held);
        move(placeOf(event, frame));
      });
      frame.addEventListener("keydown", onKey);
      return cross;
    });
    drawCross();
  }

  function placeOf(event, frame) {
    const box = frame.getBoundingClientRect();
    const [height, width] = model.get("shape");
    return [inside((event.clientY - box.top) / box.height, height), inside((event.clientX - box.left) / box.width, width)];
  }

  function onKey(event) {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step || !here.length) return;
    const [height, width] = model.get("shape");
    event.preventDefault();
    event.stopPropagation();
    move([Math.min(height - 1, Math.max(0, here[0] + step[0])), Math.min(width - 1, Math.max(0, here[1] + step[1]))]);
  }

  function move(pixel) {
    if (same(pixel, here)) return;
    here = pixel;
    drawCross();
    ask();
  }

  function ask() {
    if (asked && Date.now() - since < WAIT) return;
    if (same(here, model.get("pixel"))) return;
    asked = here;
    since = Date.now();
    model.set("pixel", here);
    model.save_changes();
  }

  function drawCross() {
    const [height, width] = model.get("shape");
    for (const cross of overlays) {
      cross.replaceChildren();
      if (!here.length) continue;
      const [row, column] = here;
      const [w, h] = [100 / width, 100 / height];
      const [x, y] = [(column + 0.5) * w, (row + 0.5) * h];
      const near = [Math.max(w, 4), Math.max(h, 4)];
      for (const kind of ["dark", "light"]) {
        const at = { class: kind };
        shape("line", { x1: 0, x2: x - near[0], y1: y, y2: y, ...at }, cross);
        shape("line", { x1: x + near[0], x2: 100, y1: y, y2: y, ...at }, cross);
        shape("line", { x1: x, x2: x, y1: 0, y2: y - near[1], ...at }, cross);
        shape("line", { x1: x, x2: x, y1: y + near[1], y2: 100, ...at }, cross);
        shape("rect", { x: column * w, y: row * h, width: w, height: h, ...at }, cross);
      }
    }
  }

  function drawValues() {
    const values = model.get("values");
    if (asked && (!values.pixel || same(values.pixel, asked))) asked = null;
    side.replaceChildren();
    if (!values.pixel) {
      piece("div", "olmoearth-trace-hint", side, "Move the cursor over a picture: the values of the pixel appear here. A click holds it.");
      return;
    }
    piece("div", "olmoearth-trace-place", side, values.place);
    const facts = piece("div", "olmoearth-trace-facts", side);
    for (const [name, text, color] of values.facts) {
      piece("span", "olmoearth-trace-name", facts, name);
      const cell = piece("span", "", facts);
      cell.title = text;
      if (color) piece("i", "olmoearth-trace-swatch", cell).style.background = color;
      cell.append(text);
    }
    const bars = piece("div", "olmoearth-trace-two", side);
    // Long names need the whole width.
    bars.classList.toggle("long", values.bars.some((one) => one.bars.some((bar) => bar[0].length > 10)));
    for (const one of values.bars) drawBars(bars, one);
    for (const one of values.series) drawLines(side, one);
  }

  function drawCharts() {
    charts.replaceChildren();
    for (const one of model.get("charts")) (one.lines ? drawLines : drawBars)(charts, one);
  }

  function drawKeys() {
    keys.replaceChildren();
    for (const key of model.get("legends")) {
      const box = piece("div", "olmoearth-trace-key", keys);
      piece("b", "", box, key.title);
      if (key.stops) {
        piece("span", "", box, key.ends[0]);
        piece("i", "olmoearth-trace-ramp", box).style.background = `linear-gradient(90deg,${key.stops.join()})`;
        piece("span", "", box, key.ends[1]);
      }
      for (const [label, color, share] of key.entries || []) {
        const entry = piece("span", "", box);
        piece("i", "olmoearth-trace-swatch", entry).style.background = color;
        entry.append(label);
        if (share > 0) piece("small", "", entry, ` ${share < 0.001 ? "<0.1" : (share * 100).toFixed(share < 0.095 ? 1 : 0)}%`);
      }
    }
  }

  const listeners = {
    "change:pictures change:tall": drawPictures,
    "change:charts": drawCharts,
    "change:legends": drawKeys,
    "change:values": () => {
      drawValues();
      ask();
    },
    "change:pixel": () => {
      // What code sets counts, unless the cursor has gone on meanwhile.
      if (asked) return;
      here = model.get("pixel");
      drawCross();
    },
  };
  for (const [names, listener] of Object.entries(listeners)) model.on(names, listener);
  drawPictures();
  drawCharts();
  drawKeys();
  drawValues();
  return () => {
    for (const [names, listener] of Object.entries(listeners)) model.off(names, listener);
  };
}

function drawMark(over, frame, mark) {
  const points = mark.points.map((point) => point.join()).join(" ");
  for (const [color, width] of [["#222", 3], [mark.color, 1.5]]) {
    const dashes = mark.dashed ? { "stroke-dasharray": "4 3" } : {};
    shape("polyline", { points, fill: "none", stroke: color, "stroke-width": width, "vector-effect": "non-scaling-stroke", ...dashes }, over);
  }
  if (!mark.text) return;
  const label = piece("span", "olmoearth-trace-mark", frame, mark.text);
  label.style.left = `${Math.min(...mark.points.map((point) => point[0]))}%`;
  const top = Math.min(...mark.points.map((point) => point[1]));
  label.style.top = `${Math.max(top, 0)}%`;
  // Above the picture is its title.
  if (top < 8) label.classList.add("inside");
  label.style.color = mark.color;
}

function drawBars(parent, chart) {
  const box = piece("div", "olmoearth-trace-bars", parent);
  piece("b", "", box, chart.title);
  const values = chart.bars.map((bar) => bar[1] ?? 0);
  const [low, high] = chart.limits || [Math.min(0, ...values), Math.max(0, ...values)];
  const part = (value) => (high > low ? ((value - low) / (high - low)) * 100 : 0);
  for (const [name, value, color, marked] of chart.bars) {
    const label = piece("span", "olmoearth-trace-name", box, marked ? `▸ ${name}` : name);
    label.title = marked ? `${name}: the label` : name;
    if (marked) label.classList.add("olmoearth-trace-label");
    const track = piece("span", "olmoearth-trace-track", box);
    const ends = [part(0), part(value ?? 0)].sort((a, b) => a - b);
    const bar = piece("i", "", track);
    bar.style.left = `${ends[0]}%`;
    bar.style.width = `${Math.max(ends[1] - ends[0], 0.5)}%`;
    bar.style.background = color;
    piece("span", "olmoearth-trace-number", box, value === null ? "none" : short(value));
  }
  if (chart.more) piece("small", "", box, `and ${chart.more} smaller`);
}

function drawLines(parent, chart) {
  const box = piece("div", "olmoearth-trace-lines", parent);
  piece("b", "", box, chart.title);
  const known = chart.lines.flatMap((line) => line[1]).filter((value) => value !== null);
  if (!known.length) {
    piece("small", "", box, "no values");
    return;
  }
  let [low, high] = [Math.min(...known), Math.max(...known)];
  if (high === low) [low, high] = [low - 1, high + 1];
  const plot = piece("div", "olmoearth-trace-plot", box);
  const axis = piece("div", "olmoearth-trace-axis", plot);
  for (const value of [high, low]) piece("span", "", axis, short(value));
  const area = piece("div", "olmoearth-trace-area", plot);
  const over = shape("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none" }, area);
  const last = Math.max(chart.steps.length - 1, 1);
  const x = (at) => (chart.steps.length > 1 ? (at / last) * 100 : 50);
  const y = (value) => 97 - ((value - low) / (high - low)) * 94;
  if (low < 0 && high > 0) shape("line", { x1: 0, x2: 100, y1: y(0), y2: y(0), class: "zero" }, over);
  for (const [, values, color] of chart.lines) {
    let path = "";
    values.forEach((value, at) => {
      if (value === null) return;
      const starts = at === 0 || values[at - 1] === null;
      path += `${starts ? "M" : "L"}${x(at)} ${y(value)}`;
      // A point by itself has no line.
      if (starts && (at + 1 >= values.length || values[at + 1] === null)) path += `h0.01`;
    });
    shape("path", { d: path, stroke: color, class: "line" }, over);
    if (chart.steps.length > 60) continue;
    const dots = values.map((value, at) => (value === null ? "" : `M${x(at)} ${y(value)}h0`)).join("");
    shape("path", { d: dots, stroke: color, class: "dots" }, over);
  }
  const ticks = piece("div", "olmoearth-trace-ticks", box);
  const some = Math.min(chart.steps.length, chart.lines.length > 1 ? 3 : 6);
  for (let at = 0; at < some; at++) piece("span", "", ticks, chart.steps[Math.round((at / Math.max(some - 1, 1)) * (chart.steps.length - 1))]);
  if (chart.lines.length < 2) return;
  const names = piece("div", "olmoearth-trace-names", box);
  for (const [name, values, color] of chart.lines) {
    const entry = piece("span", "", names);
    piece("i", "olmoearth-trace-swatch", entry).style.background = color;
    entry.append(name);
    entry.title = `${name}: ${values.map((value) => (value === null ? "none" : short(value))).join(", ")}`;
  }
}

function short(value) {
  const size = Math.abs(value);
  return size > 0 && (size < 1e-4 || size >= 1e7) ? value.toExponential(1) : Number(value.toPrecision(4)).toString();
}

function inside(part, size) {
  return Math.min(size - 1, Math.max(0, Math.floor(part * size)));
}

function same(one, other) {
  return one.length === other.length && one.every((value, at) => value === other[at]);
}

function piece(tag, name, parent, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function shape(tag, attributes, parent) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent.append(made);
  return made;
}

export default { render };
