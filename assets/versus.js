// What the bake-off's table and the overlay share. Stands before either script.
const PALETTE = ["#4f46e5", "#0d9488", "#d97706", "#db2777", "#0284c7", "#65a30d", "#9333ea", "#dc2626", "#0891b2", "#a16207", "#64748b", "#be185d"];
const root = element.querySelector(".versus");

function choice(label, options, value, changed) {
  const wrap = make("label", "pick");
  const list = make("select");
  for (const [key, text] of options) list.append(new Option(text, key, false, key === value));
  list.addEventListener("change", () => changed(list.value));
  wrap.append(make("span", "label", label), list);
  return wrap;
}

const color = (index) => PALETTE[index % PALETTE.length];

function plot(node, traces, { title = "", x = {}, y = {}, legend = false }) {
  const css = getComputedStyle(root), ink = css.color, grid = css.getPropertyValue("--versus-grid").trim();
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true };
  sizes.observe(node);
  return Plotly.react(node, traces, {
    title: { text: title, x: 0.01, font: { size: 14 } }, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { color: ink, family: "system-ui, sans-serif", size: 11 }, margin: { l: 52, r: 16, t: title ? 36 : 12, b: 44 },
    xaxis: { ...axis, ...x }, yaxis: { ...axis, ...y }, showlegend: legend, uirevision: `${x.title.text} ${x.type} ${y.title.text} ${y.type}`,
    legend: { orientation: "h", y: -0.22 }, hovermode: "closest",
  }, { displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
}
