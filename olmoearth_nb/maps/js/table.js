// A table of any length: only the rows near what is seen are here, the kernel sends others when they are scrolled to.
// Its keys work everywhere in the browser around it, but for where something is typed.
const ROW = 24;
const STEPS = { ArrowRight: 1, ArrowLeft: -1, j: 1, k: -1 };
const TABLE_STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity };
const TYPED_INTO = "input, select, textarea, [contenteditable=true], .jp-Editor";

function node(kind, name, text = "") {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text; // never markup, whatever comes from data
  return made;
}

function render({ model, el }) {
  const box = node("div", "olmoearth-table");
  const head = node("div", "olmoearth-table-head");
  const body = node("div", "olmoearth-table-body");
  box.tabIndex = 0;
  box.setAttribute("role", "grid");
  box.setAttribute("aria-label", "windows; left and right, or j and k, go on");
  box.append(head, body);
  el.append(box);
  let asked = false; // an answer of the kernel is on its way

  function send(message) {
    asked = true;
    model.send(message);
  }

  function drawHead() {
    head.replaceChildren();
    const columns = model.get("columns");
    // As wide as what is in them, within bounds.
    const widths = columns.map((name, place) => {
      const longest = Math.max(name.length, ...model.get("rows").map((cells) => cells[place].length));
      const [least, most] = place === 0 ? ["5em", 22] : [0, 12];
      return `minmax(${least}, ${Math.min(Math.max(longest, 4), most)}fr)`;
    });
    box.style.setProperty("--columns", widths.join(" "));
    columns.forEach((name, place) => {
      const sorted = model.get("sorted_by") === name ? (model.get("descending") ? " ▾" : " ▴") : "";
      const cell = node("div", "olmoearth-table-cell", name + sorted);
      cell.title = `sort by ${name}`;
      cell.dataset.column = place;
      cell.addEventListener("click", () => send({ kind: "sort", column: name }));
      head.append(cell);
    });
  }

  function drawRows() {
    const first = model.get("first");
    const current = model.get("current");
    const colors = model.get("colors");
    body.style.height = `${model.get("total") * ROW}px`;
    body.replaceChildren(
      ...model.get("rows").map((cells, place) => {
        const row = node("div", "olmoearth-table-row");
        row.style.top = `${(first + place) * ROW}px`;
        row.dataset.row = first + place;
        row.setAttribute("role", "row");
        row.setAttribute("aria-selected", first + place === current);
        cells.forEach((text, column) => {
          const cell = node("div", "olmoearth-table-cell", text);
          cell.title = text;
          if (column === 0) {
            const swatch = node("span", "olmoearth-table-swatch");
            swatch.style.background = colors[place];
            cell.prepend(swatch);
          }
          row.append(cell);
        });
        return row;
      }),
    );
    if (!model.get("total")) body.append(node("div", "olmoearth-table-none", "No window is left by the filters."));
  }

  // Rows that are seen but not here are asked for, one question at a time.
  function ask() {
    const top = Math.floor(box.scrollTop / ROW);
    const bottom = Math.min(model.get("total"), Math.ceil((box.scrollTop + box.clientHeight) / ROW));
    const first = model.get("first");
    if (!asked && (top < first || bottom > first + model.get("rows").length)) send({ kind: "rows", first: top });
  }

  function reveal() {
    const current = model.get("current");
    if (current < 0) return;
    const top = current * ROW;
    const seen = box.clientHeight - ROW; // the heading covers the first
    if (top < box.scrollTop || top + ROW > box.scrollTop + seen) box.scrollTop = Math.max(0, top - seen / 2);
  }

  let waiting = 0;
  function redraw() {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      drawHead();
      drawRows();
    });
  }

  function answered() {
    asked = false;
    requestAnimationFrame(() => requestAnimationFrame(ask));
  }

  function step(by) {
    const last = model.get("total") - 1;
    const current = model.get("current");
    const next = Math.min(last, Math.max(0, current < 0 ? 0 : current + by));
    if (next !== current && last >= 0) send({ kind: "pick", row: next });
  }

  // Before JupyterLab's own shortcuts, which listen on the document.
  function onKey(event) {
    const around = el.closest(".olmoearth-browser") ?? el;
    const target = event.target;
    if (!around.contains(target) || target.closest(TYPED_INTO)) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const by = STEPS[event.key] ?? (box.contains(target) ? TABLE_STEPS[event.key] : undefined);
    if (by === undefined) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!(event.repeat && asked)) step(by); // a key held down does not run ahead of the kernel
  }

  // A click on something that takes no keys leaves them to the table.
  function onClick(event) {
    const around = el.closest(".olmoearth-browser");
    if (!around?.contains(event.target) || event.target.closest(TYPED_INTO)) return;
    const take = () => around.contains(document.activeElement) || box.focus({ preventScroll: true });
    take();
    requestAnimationFrame(take); // in case the notebook took them meanwhile
  }

  body.addEventListener("click", (event) => {
    const row = event.target.closest("[data-row]");
    if (row) send({ kind: "pick", row: Number(row.dataset.row) });
  });
  box.addEventListener("scroll", ask);
  window.addEventListener("keydown", onKey, true);
  window.addEventListener("click", onClick, true);
  const onCurrent = () => requestAnimationFrame(reveal);
  for (const name of ["columns", "rows", "colors", "first", "total", "current", "sorted_by", "descending"]) {
    model.on(`change:${name}`, redraw);
  }
  model.on("change:current", onCurrent);
  model.on("change:total", onCurrent);
  model.on("change:served", answered);
  drawHead();
  drawRows();
  requestAnimationFrame(reveal);
  return () => {
    window.removeEventListener("keydown", onKey, true);
    window.removeEventListener("click", onClick, true);
    model.off("change:current", onCurrent);
    model.off("change:total", onCurrent);
    model.off("change:served", answered);
    for (const name of ["columns", "rows", "colors", "first", "total", "current", "sorted_by", "descending"]) {
      model.off(`change:${name}`, redraw);
    }
  };
}

export default { render };
