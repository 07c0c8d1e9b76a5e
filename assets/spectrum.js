// A run's update: a heat map of layers × kinds, the spectrum of the chosen layer, the most changed ones as a table.
// The value is {layers: [Layer of studio/evaluation/spectrum.py]}, kinds shortened.
const MEASURES = [
  ["relative", "Relative norm", "‖ΔW‖ / ‖W‖"],
  ["norm", "Norm", "‖ΔW‖, Frobenius"],
  ["effective_rank", "Effective rank", "Directions the update uses"],
];
const MOST = 10; // rows of the table
let measure = "relative", chosen = 0;

const shown = (layer, key) => (key === "relative" ? `${round(100 * layer[key], 3)} %` : round(layer[key], 3));
const title = (layer) => (layer.block == null ? layer.kind : `Layer ${layer.block} · ${layer.kind}`);

function layout(name) {
  const grid = themed("--border-color-primary"), axis = { gridcolor: grid, zerolinecolor: grid, automargin: true };
  return {
    title: { text: name, x: 0.01, font: { size: 14 } }, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { color: themed("--body-text-color"), family: "system-ui, sans-serif", size: 11 },
    margin: { l: 48, r: 12, t: 40, b: 44 }, xaxis: { ...axis }, yaxis: { ...axis }, showlegend: false,
  };
}
const SIMPLE = { displayModeBar: false, responsive: true };

function drawMap(box, layers, pick) {
  const kinds = [...new Set(layers.map((layer) => layer.kind))];
  const blocks = [...new Set(layers.map((layer) => layer.block))].sort((a, b) => (a ?? 1e9) - (b ?? 1e9));
  const cells = blocks.map(() => kinds.map(() => null)), at = cells.map((row) => [...row]), said = cells.map((row) => row.map(() => ""));
  layers.forEach((layer, i) => {
    const y = blocks.indexOf(layer.block), x = kinds.indexOf(layer.kind);
    cells[y][x] = layer[measure];
    at[y][x] = i;
    said[y][x] = `${layer.shape.join(" × ")}<br>relative norm ${shown(layer, "relative")}, norm ${shown(layer, "norm")}<br>effective rank ${shown(layer, "effective_rank")}; 99 % in rank ${layer.rank99}`;
  });
  const look = layout(MEASURES.find(([key]) => key === measure)[2]);
  const names = blocks.map((block) => (block == null ? "outside" : String(block)));
  Plotly.react(box, [{
    type: "heatmap", x: kinds.map(plain), y: names, z: cells, text: said, hovertemplate: "<b>layer %{y}, %{x}</b><br>%{text}<extra></extra>", hoverongaps: false,
    xgap: 1, ygap: 1, colorscale: [[0, themed("--background-fill-secondary")], [0.5, themed("--live-b")], [1, themed("--live-a")]],
    zmin: 0, colorbar: { thickness: 10, tickformat: measure === "relative" ? ".2%" : "", outlinewidth: 0 },
  }], { ...look, xaxis: { ...look.xaxis, type: "category", showgrid: false, side: "bottom" },
    yaxis: { ...look.yaxis, type: "category", showgrid: false, autorange: "reversed", title: { text: "layer" } } }, SIMPLE);
  box.removeAllListeners?.("plotly_click");
  box.on("plotly_click", (event) => {
    const [y, x] = event.points[0].pointIndex;
    if (at[y][x] != null) pick(at[y][x]);
  });
}

function drawSpectrum(box, layer) {
  const values = layer.values.filter((value) => value > 0), places = values.map((_, i) => i + 1);
  let sum = 0;
  const held = values.map((value) => 100 * (sum += value * value) / (layer.norm * layer.norm));
  const look = layout(`${plain(title(layer))}: singular values`);
  const marks = [[layer.rank90, "90 %"], [layer.rank99, "99 %"]].filter(([rank]) => rank && rank <= values.length);
  Plotly.react(box, [
    { type: "bar", x: places, y: values, name: "singular value", marker: { color: themed("--live-b") }, hovertemplate: "value %{x}: %{y:.3g}<extra></extra>" },
    { type: "scatter", mode: "lines", x: places, y: held, yaxis: "y2", name: "held", line: { color: themed("--live-a"), width: 2.5 }, hovertemplate: "rank %{x} holds %{y:.1f} %<extra></extra>" },
  ], {
    ...look, margin: { ...look.margin, r: 48 },
    xaxis: { ...look.xaxis, title: { text: "rank" }, range: [0.4, values.length + 0.6] },
    yaxis: { ...look.yaxis, type: "log", title: { text: "singular value" }, exponentformat: "power" },
    yaxis2: { overlaying: "y", side: "right", range: [0, 104], tickmode: "array", tickvals: [0, 25, 50, 75, 90, 99], title: { text: "held of ‖ΔW‖², %" }, showgrid: false, automargin: true },
    shapes: marks.map(([rank]) => ({ type: "line", x0: rank, x1: rank, yref: "paper", y0: 0, y1: 1, line: { color: "#d97706", width: 1.5, dash: "dash" } })),
    annotations: marks.map(([rank, text], i) => ({ x: rank, y: 0.04 + 0.1 * i, yref: "paper", text: ` ${text}: rank ${rank}`, showarrow: false, xanchor: 2 * rank > values.length ? "right" : "left", bgcolor: themed("--background-fill-primary") })),
  }, SIMPLE);
}

function table(layers, pick) {
  const columns = [["Layer", title], ["Relative norm", (each) => shown(each, "relative")], ["Norm", (each) => shown(each, "norm")],
    ["Effective rank", (each) => shown(each, "effective_rank")], ["Stable rank", (each) => shown(each, "stable_rank")], ["90 % in rank", (each) => each.rank90], ["99 % in rank", (each) => each.rank99]];
  const node = make("table", "history");
  node.append(make("caption", "", "Most changed"));
  const head = node.createTHead().insertRow();
  for (const [name] of columns) head.append(make("th", "", name));
  const body = node.createTBody();
  const order = layers.map((_, i) => i).sort((a, b) => layers[b].relative - layers[a].relative).slice(0, MOST);
  for (const i of order) {
    const row = body.insertRow();
    columns.forEach(([, value], column) => {
      const cell = row.insertCell();
      if (column) { cell.textContent = value(layers[i]); return; }
      cell.append(button(value(layers[i]), "", () => pick(i)));
    });
  }
  const scroll = make("div", "scroll");
  scroll.append(node);
  return scroll;
}

async function draw() {
  const layers = props.value?.layers || [], box = element.querySelector(".spectrum");
  if (!layers.length) { box.replaceChildren(); return; }
  await drawing();
  if (layers !== props.value?.layers) return;
  chosen = layers.reduce((best, layer, i) => (layer.relative > layers[best].relative ? i : best), 0);
  const map = make("div", "chart map"), spectrum = make("div", "chart values"), charts = make("div", "charts");
  map.style.height = `${Math.max(260, 110 + 14 * new Set(layers.map((layer) => layer.block)).size)}px`;
  charts.append(map, spectrum);
  const pick = (i) => { chosen = i; drawSpectrum(spectrum, layers[i]); };
  const buttons = make("div", "measures");
  buttons.setAttribute("role", "group");
  buttons.setAttribute("aria-label", "What the colours show");
  buttons.append(...MEASURES.map(([key, name]) => {
    const choice = button(name, "", () => {
      measure = key;
      for (const each of buttons.children) each.setAttribute("aria-pressed", each === choice);
      drawMap(map, layers, pick);
    });
    choice.setAttribute("aria-pressed", key === measure);
    return choice;
  }));
  box.replaceChildren(buttons, charts, make("p", "muted", "Click on a cell, or a name in the table, to see that layer's spectrum."), table(layers, pick));
  drawMap(map, layers, pick);
  pick(chosen);
}

watch("value", draw);
draw();
