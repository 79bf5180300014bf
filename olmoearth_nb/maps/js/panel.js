// Lies in a control of a leaflet map: scrolling the control must not zoom the map.
function render({ el }) {
  el.style.display = "none";
  let waiting = requestAnimationFrame(function find() {
    const control = el.closest(".leaflet-control");
    if (control) control.addEventListener("wheel", (event) => event.stopPropagation());
    else waiting = requestAnimationFrame(find);
  });
  return () => cancelAnimationFrame(waiting);
}

export default { render };
