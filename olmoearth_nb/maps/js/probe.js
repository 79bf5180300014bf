// Asks from where the map is looked at: which of these addresses gives a picture? Behind a hub, a proxy or in another
// program's web view the kernel can't know.
const PATIENCE = 5000;

function base() {
  const config = document.getElementById("jupyter-config-data");
  const told = config ? JSON.parse(config.textContent).baseUrl : document.body.dataset.baseUrl;
  return told || "/";
}

function gives(address) {
  return new Promise((resolve) => {
    const picture = new Image();
    const timer = setTimeout(() => resolve(false), PATIENCE);
    picture.onload = () => {
      clearTimeout(timer);
      resolve(picture.naturalWidth > 0);
    };
    picture.onerror = () => {
      clearTimeout(timer);
      resolve(false);
    };
    picture.src = address;
  });
}

async function render({ model }) {
  if (model.get("found") !== null) return;
  const port = model.get("port");
  const places = [
    `http://127.0.0.1:${port}`,
    `${base()}localtileserver-proxy/${port}`,
    `${base()}proxy/${port}`,
  ];
  let found = "";
  for (const place of places) {
    if (!found && (await gives(place + model.get("sample")))) found = place;
  }
  model.set("found", found);
  model.save_changes();
}

export default { render };
