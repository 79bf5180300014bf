// A line across a leaflet map: what lies in the panes of the left is seen left of it, of the right on its other side.
// It sits in a control of the map and finds the map around it; the panes are leaflet's own, cut with CSS.
const STEP = 0.02;

function render({ model, el }) {
  let stop = () => {};
  let waiting = requestAnimationFrame(function find() {
    const map = el.closest(".leaflet-container");
    if (map) stop = attach(model, map);
    else waiting = requestAnimationFrame(find);
  });
  return () => {
    cancelAnimationFrame(waiting);
    stop();
  };
}

function attach(model, map) {
  const moving = map.querySelector(".leaflet-map-pane");
  const line = piece("olmoearth-swipe", "outline:none;top:0;bottom:0;width:24px;margin-left:-12px;cursor:ew-resize;touch-action:none");
  line.append(piece("", "top:0;bottom:0;left:11px;width:3px;background:white;box-shadow:0 0 3px #000a"));
  const grip = piece("", "top:50%;left:-4px;width:32px;height:32px;margin-top:-16px;border-radius:50%;background:white;"
    + "box-shadow:0 1px 4px #0008;font:15px/31px sans-serif;text-align:center;color:#333");
  grip.textContent = "◂▸";
  line.append(grip);
  line.tabIndex = 0;
  line.setAttribute("role", "slider");
  line.setAttribute("aria-label", "between left and right");
  const names = ["left", "right"].map((side) => {
    const name = piece("olmoearth-swipe-name", `top:10px;${side === "left" ? "right" : "left"}:22px;white-space:nowrap;`
      + "max-width:260px;overflow:hidden;text-overflow:ellipsis;"
      + "background:#ffffffeb;color:#222;padding:1px 8px;border-radius:4px;font:12px/1.6 sans-serif;pointer-events:none");
    line.append(name);
    return name;
  });
  map.append(line);

  function draw() {
    const { width, height } = map.getBoundingClientRect();
    const x = model.get("position") * width;
    line.style.left = `${x}px`;
    line.setAttribute("aria-valuenow", Math.round(model.get("position") * 100));
    names[0].textContent = model.get("left");
    names[1].textContent = model.get("right");
    const outer = map.getBoundingClientRect();
    const inner = moving.getBoundingClientRect();
    const [dx, dy] = [outer.left - inner.left, outer.top - inner.top];
    cut("left", dx, dy, dx + x, dy + height);
    cut("right", dx + x, dy, dx + width, dy + height);
  }

  function cut(side, left, top, right, bottom) {
    const shape = `polygon(${left}px ${top}px,${right}px ${top}px,${right}px ${bottom}px,${left}px ${bottom}px)`;
    for (const pane of map.querySelectorAll(`[class*="leaflet-olmoearth-${side}-"]`)) pane.style.clipPath = shape;
  }

  function move(position) {
    model.set("position", Math.min(1, Math.max(0, position)));
    draw();
  }

  let held = false;
  const events = {
    pointerdown: (event) => {
      held = true;
      line.setPointerCapture(event.pointerId);
      line.focus();
    },
    pointermove: (event) => {
      const { left, width } = map.getBoundingClientRect();
      if (held) move((event.clientX - left) / width);
    },
    pointerup: () => {
      held = false;
      model.save_changes();
    },
    keydown: (event) => {
      const step = { ArrowLeft: -STEP, ArrowRight: STEP }[event.key];
      if (!step) return;
      move(model.get("position") + step);
      model.save_changes();
    },
  };
  for (const [name, listener] of Object.entries(events)) line.addEventListener(name, listener);
  // The map must not pan, zoom or select while the line is moved.
  for (const name of ["mousedown", "click", "dblclick", "pointerdown", "pointermove", "touchstart", "keydown"]) {
    line.addEventListener(name, (event) => event.stopPropagation());
  }
  const watch = new MutationObserver(draw);
  watch.observe(moving, { attributes: true, attributeFilter: ["style"], childList: true });
  const size = new ResizeObserver(draw);
  size.observe(map);
  model.on("change:position change:left change:right", draw);
  draw();
  return () => {
    watch.disconnect();
    size.disconnect();
    model.off("change:position change:left change:right", draw);
    line.remove();
    for (const pane of map.querySelectorAll('[class*="leaflet-olmoearth-"]')) pane.style.clipPath = "";
  };
}

function piece(name, style) {
  const made = document.createElement("div");
  made.className = name;
  made.style.cssText = `position:absolute;z-index:900;${style}`;
  return made;
}

export default { render };
