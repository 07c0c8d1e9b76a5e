// The trials and the plots of a search. The value is its id; clicks come back as events with an `action`.
const POLL_MS = 1500;
const IMPORTANT = "How much each setting decides whether a run is among the better ones:";
let shown = null; // the last answer
let last = "";

const figure = (value) => (value == null ? "–" : Math.abs(value) < 0.001 && value !== 0 ? Number(value).toExponential(2) : round(value, 4));
const worded = (value) => (typeof value === "number" ? figure(value) : value === true ? "on" : value === false ? "off" : String(value));

function drawHead() {
  root.querySelector(".progress").textContent = shown.progress;
  root.querySelector(".why").textContent = shown.why;
  root.querySelector(".why").hidden = !shown.why;
  root.querySelector(".stop").hidden = !shown.going;
  root.querySelector(".resume").hidden = !shown.resumable;
  root.querySelector(".use").hidden = !shown.best;
  root.querySelector("details").hidden = !shown.best;
  root.querySelector("pre").textContent = shown.yaml;
}

function line(body, trial, number) {
  const row = body.insertRow();
  row.classList.toggle("winner", trial.run === shown.best && trial.run !== "");
  row.append(make("td", "number", `${trial.run && trial.run === shown.best ? "★ " : ""}${number}`));
  const status = make("td"), training = trial.status === "training" ? ` ${percent(trial.progress)}` : "";
  status.append(make("span", `chip ${trial.status}`, trial.status + training));
  if (trial.reason) status.append(make("div", trial.status === "pruned" ? "told" : "problem", trial.reason));
  row.append(status, make("td", "number", figure(trial.value)), make("td", "number", figure(trial.loss)));
  for (const each of shown.dimensions) row.append(make("td", "number", worded(trial.params[each.key])));
  const actions = make("td", "actions");
  if (trial.run) {
    actions.append(button("Curves", "", () => trigger("click", { action: "curves", run: trial.run })), button("Use", "", () => use(trial.run)));
    actions.lastChild.title = "Put these settings into the Train tab.";
  }
  row.append(actions);
}

const use = (run) => trigger("click", { action: "use", run, search: props.value });

function drawTable() {
  const table = make("table", "measured"), head = table.createTHead().insertRow();
  for (const title of ["Run", "Status", shown.goal, "Last held-out loss", ...shown.dimensions.map((each) => each.label), ""]) head.append(make("th", "", title));
  const body = table.createTBody();
  shown.trials.forEach((trial, index) => line(body, trial, index + 1));
  root.querySelector(".table").replaceChildren(table);
}

// A setting as an axis: numbers as they are, or their logarithms; words by their place.
function axis(each, trials) {
  const label = plain(each.label), values = trials.map((trial) => trial.params[each.key]);
  if (each.choices.length) {
    const places = each.choices.map((_, index) => index);
    return { label, values: values.map((value) => each.choices.indexOf(value)), tickvals: places, ticktext: each.choices.map((choice) => plain(worded(choice))), range: [0, places.length - 1] };
  }
  return each.log
    ? scaled(label, values.map(Math.log10), Math.log10(each.low), Math.log10(each.high), (tick) => 10 ** tick)
    : scaled(label, values, each.low, each.high);
}

function scaled(label, values, low, high, shown = (tick) => tick) {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => low + part * (high - low));
  return { label, values, range: [low, high], tickvals: ticks, ticktext: ticks.map((tick) => figure(Number(shown(tick).toPrecision(3)))) };
}

function drawLines(box, done) {
  const values = done.map((trial) => trial.value), css = getComputedStyle(root);
  const colors = [[0, "#6366f1"], [0.5, "#14b8a6"], [1, "#f59e0b"]];
  sizes.observe(box);
  Plotly.react(box, [{
    type: "parcoords", labelangle: -12, labelside: "bottom",
    line: { color: values, colorscale: shown.higher ? colors.map(([at], i) => [at, colors[2 - i][1]]) : colors },
    dimensions: [...shown.dimensions.map((each) => axis(each, done)), scaled(plain(shown.goal), values, Math.min(...values), Math.max(...values))],
    labelfont: { color: css.color, size: 11 }, tickfont: { color: css.color, size: 10 }, rangefont: { color: css.color, size: 10 },
    unselected: { line: { opacity: 0.08 } },
  }], { paper_bgcolor: "transparent", margin: { l: 60, r: 60, t: 24, b: 56 }, font: { family: "system-ui, sans-serif" } }, { displayModeBar: false });
}

function drawPlots() {
  const done = shown.trials.filter((trial) => trial.value != null), parts = Object.entries(shown.importances).sort((a, b) => a[1] - b[1]);
  const lines = root.querySelector("[data-plot=lines]"), bars = root.querySelector("[data-plot=bars]");
  lines.parentNode.hidden = done.length < 2;
  if (done.length >= 2) drawLines(lines, done);
  bars.hidden = root.querySelector(".important").hidden = !parts.length;
  if (!parts.length) return;
  const named = Object.fromEntries(shown.dimensions.map((each) => [each.key, plain(each.label)]));
  plot(bars, [{ type: "bar", orientation: "h", x: parts.map(([, share]) => share), y: parts.map(([key]) => named[key]), marker: { color: color(1) }, hovertemplate: "%{y}: %{x:.0%}<extra></extra>" }],
    { x: { title: { text: "" }, tickformat: ".0%", range: [0, 1] }, y: { title: { text: "" }, type: "category" } });
}

function act(action, node) {
  node.disabled = true; // not through Gradio: its session is gone after a server's restart
  const told = root.querySelector(".refused");
  fetch(address(`searches/${encodeURIComponent(props.value)}/${action}`), { method: "POST" })
    .then(async (answer) => { told.textContent = answer.ok ? "" : (await answer.json()).problem; })
    .catch(() => { told.textContent = "The studio does not answer."; })
    .finally(() => { node.disabled = false; ask(); });
}

function frame() {
  const head = make("div", "head"), buttons = make("span", "actions"), progress = make("span", "progress");
  progress.setAttribute("aria-live", "polite");
  const best = button("Take the best over into the form", "use primary", () => use(shown.best));
  const stop = button("Stop the search", "stop", () => act("stop", stop)), resume = button("Go on", "resume", () => act("resume", resume));
  buttons.append(best, resume, stop);
  head.append(progress, buttons);
  const wide = make("div", "scroll lines"), yaml = make("details"), [lines, bars] = ["lines", "bars"].map((name) => {
    const box = make("div", "chart");
    box.dataset.plot = name;
    return box;
  });
  wide.append(lines);
  yaml.append(make("summary", "", "The best config as YAML"), make("pre"));
  root.replaceChildren(make("p", "fault away", "The studio does not answer. Runs in progress go on; this page tries again."), head,
    make("p", "ready why"), make("p", "fault refused"), make("div", "scroll table"), wide, make("p", "muted important", IMPORTANT), bars, yaml);
}

function show(found, ok) {
  shown = ok ? found : null;
  if (!ok) {
    root.replaceChildren(make("p", "nothing", "This search is gone. Choose another one, or start one above."));
    return;
  }
  drawHead();
  const text = JSON.stringify([shown.trials, shown.best, shown.importances]);
  if (text === last) return;
  last = text;
  drawTable();
  drawPlots();
}

const ask = () => follow(() => `searches/${encodeURIComponent(props.value)}`, show, POLL_MS);

function start() {
  generation++;
  [shown, last] = [null, ""];
  if (!props.value) {
    return root.replaceChildren(make("p", "nothing", "No search yet. Tick a few settings above and press “Start the search”: the table fills as its runs train, and the best one's settings can be taken over into the Train tab."));
  }
  frame();
  ask();
}

watch("value", start);
start();
