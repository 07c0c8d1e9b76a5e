// What the bake-off's table and the overlay share. Stands before either script; Gradio hands in `element`.
const PALETTE = ["#4f46e5", "#0d9488", "#d97706", "#db2777", "#0284c7", "#65a30d", "#9333ea", "#dc2626", "#0891b2", "#a16207", "#64748b", "#be185d"];
const root = element.querySelector(".versus");

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text; // never innerHTML: this text comes from data and models
  return node;
}

function button(text, className, clicked) {
  const node = make("button", className, text);
  node.type = "button";
  node.addEventListener("click", clicked);
  return node;
}

function choice(label, options, value, changed) {
  const wrap = make("label", "pick");
  const list = make("select");
  for (const [key, text] of options) list.append(new Option(text, key, false, key === value));
  list.addEventListener("change", () => changed(list.value));
  wrap.append(make("span", "label", label), list);
  return wrap;
}

const address = (rest) => `${window.gradio_config?.root || ""}/studio/${rest}`;
const color = (index) => PALETTE[index % PALETTE.length];
const drawn = new ResizeObserver((seen) => seen.forEach(({ target }) => target.data && target.offsetParent && Plotly.Plots.resize(target)));

function plot(node, traces, { title = "", x = {}, y = {}, legend = false }) {
  const css = getComputedStyle(root), ink = css.color, grid = css.getPropertyValue("--versus-grid").trim();
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true };
  drawn.observe(node); // a plot drawn while its tab was hidden has another size by now
  return Plotly.react(node, traces, {
    title: { text: title, x: 0.01, font: { size: 14 } }, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { color: ink, family: "system-ui, sans-serif", size: 11 }, margin: { l: 52, r: 16, t: title ? 36 : 12, b: 44 },
    xaxis: { ...axis, ...x }, yaxis: { ...axis, ...y }, showlegend: legend, uirevision: `${x.title.text} ${x.type} ${y.title.text} ${y.type}`,
    legend: { orientation: "h", y: -0.22 }, hovermode: "closest",
  }, { displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
}

// Asks again and again as long as there is something to wait for; a new value ends the loop of the one before.
let generation = 0;
async function follow(rest, show, wait) {
  const mine = ++generation;
  while (!window.Plotly) await new Promise((done) => setTimeout(done, 50));
  while (mine === generation && element.isConnected) {
    if (!document.hidden) {
      try {
        const answer = await fetch(address(rest()));
        const found = await answer.json();
        if (mine !== generation) return;
        root.classList.remove("offline");
        show(found, answer.ok);
        if (!answer.ok || !found.active) return;
      } catch (error) {
        if (mine !== generation) return;
        root.classList.add("offline"); // the server is away; the runs are not, and we ask again
      }
    }
    await new Promise((done) => setTimeout(done, wait));
  }
}
