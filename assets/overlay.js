// Curves of several runs over one another. The value is the list of their ids.
const POLL_MS = 3000;
const AXES = [["step", "step"], ["tokens", "tokens seen"], ["seconds", "training time (s)"]];
let metric = "", axis = "step", smooth = 0, log = false, all = false;
let shown = null;

function smoothed(values) {
  let kept = 0, weight = 0; // without its start weighed in, a smoothed curve would begin near zero
  return values.map((value) => {
    kept = smooth * kept + (1 - smooth) * value;
    weight = smooth * weight + (1 - smooth);
    return kept / weight;
  });
}

const nameOf = (key) => key.replace(/^eval_/, "held-out ").replaceAll("_", " ");

function drawCurves() {
  const traces = shown.runs.map((run, index) => ({
    x: run.curve[axis], y: smoothed(run.curve.y), name: plain(run.name), type: "scatter",
    mode: run.curve.y.length < 30 ? "lines+markers" : "lines", line: { color: color(index), width: 2 },
    hovertemplate: "%{y:.4g} at %{x}<extra>%{fullData.name}</extra>",
  }));
  plot(root.querySelector("[data-plot=overlay]"), traces, { legend: true,
    x: { title: { text: AXES.find(([key]) => key === axis)[1], standoff: 6 }, rangemode: "tozero" },
    y: { title: { text: plain(nameOf(shown.metric)) }, type: log ? "log" : "linear" } });
}

function drawTools() {
  const slider = make("label", "pick");
  const range = make("input");
  Object.assign(range, { type: "range", min: 0, max: 0.98, step: 0.02, value: smooth });
  range.addEventListener("input", () => { smooth = Number(range.value); drawCurves(); });
  slider.append(make("span", "label", "Smoothing"), range);
  const tick = (text, value, changed) => {
    const wrap = make("label", "tick");
    const box = make("input");
    Object.assign(box, { type: "checkbox", checked: value });
    box.addEventListener("change", () => changed(box.checked));
    wrap.append(box, ` ${text}`);
    return wrap;
  };
  root.querySelector(".controls").replaceChildren(
    choice("Curve", shown.metrics.map((key) => [key, nameOf(key)]), shown.metric, (key) => { metric = key; load(); }),
    choice("Over", AXES, axis, (key) => { axis = key; drawCurves(); }),
    slider, tick("Log scale", log, (value) => { log = value; drawCurves(); }));
  root.querySelector(".switch").replaceChildren(tick("Show all settings", all, (value) => { all = value; drawTable(); }));
}

function drawTable() {
  const lines = all ? shown.everything : shown.differences;
  const table = make("table", "measured");
  const head = table.createTHead().insertRow();
  head.append(make("th", "", "Setting"));
  shown.runs.forEach((run, index) => {
    const cell = make("th", "", run.name);
    cell.title = run.title;
    cell.style.borderBottom = `3px solid ${color(index)}`;
    head.append(cell);
  });
  const body = table.createTBody();
  for (const [key, values] of lines) {
    const line = body.insertRow();
    line.classList.toggle("differs", new Set(values).size > 1);
    line.append(make("td", "method", key), ...values.map((value) => make("td", "", value)));
  }
  const box = root.querySelector(".scroll");
  box.replaceChildren(lines.length ? table : make("p", "muted", "In nothing that is known: the same settings and seed, rows, versions and machine."));
}

function show(found, ok) {
  if (!ok) {
    root.replaceChildren(make("p", "nothing", found.problem || "One of these runs is gone. Choose others."));
    return;
  }
  const fresh = !shown || shown.metrics.join() !== found.metrics.join() || shown.metric !== found.metric;
  const settings = JSON.stringify([shown?.everything, shown?.runs.map((run) => run.name)]);
  shown = found;
  if (fresh) drawTools(); // what is being used must not be replaced
  drawCurves();
  if (settings !== JSON.stringify([found.everything, found.runs.map((run) => run.name)])) drawTable();
}

function load() {
  const runs = (props.value || []).map((id) => `run=${encodeURIComponent(id)}`).join("&");
  follow(() => `overlay?${runs}&metric=${encodeURIComponent(metric)}`, show, POLL_MS);
}

function start() {
  generation++;
  shown = null;
  if ((props.value || []).length < 2) return root.replaceChildren();
  const chart = make("div", "chart wide");
  chart.dataset.plot = "overlay";
  root.replaceChildren(make("p", "fault away", "The studio does not answer. Runs in progress go on; this page tries again."),
    make("div", "controls"), chart, make("h3", "", "In what they differ"), make("div", "switch"), make("div", "scroll"));
  load();
}

watch("value", start);
start();
