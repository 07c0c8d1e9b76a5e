// A benchmark: what to take, the plots, each variant's figures. The value is {nothing} or what `board` of tabs/_bench.py
// gives; a click is {run}, to be asked in the chat. Stands behind versus.js.
const seconds = (value) => (value == null ? "–" : value < 1 ? `${round(1000 * value, 3)} ms` : value < 120 ? `${round(value, 3)} s` : duration(value));
const gigabytes = (value) => (value ? `${round(value, 3)} GB` : "–");
const figure = (value) => (value == null ? "–" : round(value, 4));
const WIDE = 50; // between the least and the most of an axis, from which it is logarithmic

const COLUMNS = [
  ["First token", "Time to first token: from asking until the first token came, the prompt being read. The middle one.", (each) => seconds(each.first.p50)],
  ["A token", "Time per output token: (latency − time to first token) / (tokens − 1), of each request. The middle one; below it the time between two tokens, 95 of 100 of them.", (each) => seconds(each.each?.p50), (each) => `95 %: ${seconds(each.between?.p95)}`],
  ["Latency", "End to end: from asking until the answer's last token. Middle; mean ± standard deviation.", (each) => seconds(each.latency.p50), (each) => `${seconds(each.latency.mean)} ± ${seconds(each.latency.sd)}`],
  ["95 %, 99 %", "95 and 99 of 100 answers were there after that time.", (each) => seconds(each.latency.p95), (each) => seconds(each.latency.p99)],
  ["Tokens/s", "Tokens written a second, those that really came, and from the slowest to the quickest round; with those read beside them.", (each) => figure(each.rate), (each) => `${figure(each.rates[0])}–${figure(each.rates[1])}; ${figure(each.total)} with prompts`],
  ["Requests/s", "Requests a second, as many at once as the batch holds.", (each) => figure(each.requests), (each) => `${each.asked} of ${figure(each.wrote)} tokens`],
  ["Loading", "From the files on disk to a model that answers, at best; below it the warm-up, compiling included.", (each) => seconds(each.loading), (each) => `warm-up ${seconds(each.warming)}`],
  ["Memory", "At most, loading included: of the GPU where there is one, else of the whole process, libraries included.", (each) => gigabytes(each.memory), (each) => (each.memory === each.host ? "" : `host ${gigabytes(each.host)}`)],
  ["Perplexity", "Of the right answers, weighted by tokens: exp(nats / tokens), for models with the same tokens. Bits per byte compare all.", (each) => figure(each.perplexity), (each) => [`${figure(each.bits)} bits/byte`, ...(each.scored ? [each.scored] : [])].join("; ")],
];

function measured(lines) {
  const node = make("table", "measured"), head = node.createTHead().insertRow(), body = node.createTBody(), scroll = make("div", "scroll");
  for (const [title, help] of [["", ""], ["Variant", ""], ...COLUMNS, ["", ""]]) head.append(Object.assign(make("th", "", title), { title: help }));
  for (const each of lines) {
    const row = body.insertRow(), name = make("td", "method"), number = make("td", "number", `${each.number}`);
    row.classList.toggle("winner", each.front && !each.other);
    name.append(make("div", "", each.title), make("div", "muted", `${each.how} · ${each.load}`));
    if (each.front) name.append(make("span", "chip done", "Pareto front"));
    if (each.other) name.append(make("span", "chip", "earlier"));
    if (each.measured && each.why) name.append(make("div", "problem", each.why)); // not in all rounds
    row.append(number, name);
    if (!each.measured) {
      const cell = make("td", each.why ? "problem" : "told", each.why || "Not measured yet.");
      cell.colSpan = COLUMNS.length + 1;
      row.append(cell);
      continue;
    }
    for (const [title, , shown, more] of COLUMNS) {
      const cell = make("td", "number", shown(each));
      cell.dataset.title = title;
      if (more) cell.append(make("div", "muted", more(each)));
      row.append(cell);
    }
    const last = make("td", "actions"), said = make("details");
    said.append(make("summary", "", "First answer"), make("pre", "", each.answer || "(it said nothing)"));
    if (each.run && !each.other) {
      const chat = button("Use in the chat", "", () => trigger("click", { run: each.run }));
      chat.title = "Asks this run's model in the chat, loaded as it was trained.";
      last.append(chat);
    }
    last.append(said);
    row.append(last);
  }
  scroll.append(node);
  return scroll;
}

// -- plots: numbers are those of the table --

function scale(title, values) {
  const there = values.filter((value) => value > 0);
  return { title: { text: title, standoff: 6 }, type: there.length && Math.max(...there) > WIDE * Math.min(...there) ? "log" : "linear" };
}

const said = (each) => `${each.number}: ${plain(each.title)}<br>${plain(each.how)}<br>${plain(each.load)}`;

function points(lines, x, y, colours, more = {}) {
  return {
    type: "scatter", mode: "markers+text", x: lines.map(x), y: lines.map(y), text: lines.map((each) => `${each.number}`), textposition: lines.map((_, at) => ["top center", "bottom center", "middle right", "middle left"][at % 4]), // neighbours may lie on one another
    customdata: lines.map(said), cliponaxis: false,
    marker: { size: 12, color: lines.map((each) => colours[each.setup]), symbol: lines.map((each) => `${each.front ? "star" : "circle"}${each.other ? "-open" : ""}`), line: { width: 1.5, color: lines.map((each) => colours[each.setup]) } },
    ...more,
  };
}

// Of these two axes alone, from the best on the first: each next one is better on the other.
function front(lines, x, y, more) {
  const some = lines.filter((each) => !each.other).sort((a, b) => (more ? x(b) - x(a) : x(a) - x(b)) || y(a) - y(b))
    .filter(((least) => (each) => y(each) < least && ((least = y(each)), true))(Infinity));
  return { type: "scatter", mode: "lines", x: some.map(x), y: some.map(y), line: { color: themed("--live-a"), width: 2, dash: "dot", shape: "vh" }, hoverinfo: "skip" };
}

function quality(node, lines, colours, x, label, title, more) {
  const bits = (each) => each.bits, known = lines.filter((each) => x(each) > 0);
  const hover = `%{customdata}<br>%{y:.4g} bits per byte, %{x:.4g} ${label}<extra></extra>`;
  plot(node, [front(known, x, bits, more), points(known, x, bits, colours, { hovertemplate: hover })],
    { title, x: scale(label, known.map(x)), y: { ...scale("bits per byte (less is better)", known.map(bits)), autorange: true } });
}

function throughput(node, lines, colours) {
  const latency = (each) => each.latency.p50, rate = (each) => each.rate, groups = grouped(lines);
  const traces = [...groups.values()].map((some) => points([...some].sort((a, b) => a.batch - b.batch), latency, rate, colours, {
    mode: "lines+markers+text", text: [...some].sort((a, b) => a.batch - b.batch).map((each) => `×${each.batch}`), line: { color: colours[some[0].setup], width: 2, dash: some[0].other ? "dot" : "solid" },
    hovertemplate: "%{customdata}<br>%{y:.4g} tokens/s, %{x:.4g} s an answer<extra></extra>",
  }));
  plot(node, traces, { title: "Throughput against latency, by batch", x: scale("seconds an answer, the middle one", lines.map(latency)), y: scale("tokens/s", lines.map(rate)) });
}

function grouped(lines) {
  const groups = new Map();
  for (const each of lines) {
    const key = `${each.setup} ${each.other}`;
    groups.set(key, [...(groups.get(key) || []), each]);
  }
  return groups;
}

function distribution(node, lines, colours) {
  const traces = lines.map((each) => ({
    type: "box", y: each.latencies, name: `${each.number}`, boxpoints: "all", jitter: 0.4, pointpos: 0, marker: { size: 4, color: colours[each.setup], opacity: 0.6 }, line: { color: colours[each.setup], width: 1.5 },
    text: each.latencies.map(() => said(each)), hovertemplate: "%{text}<br>%{y:.4g} s<extra></extra>",
  }));
  plot(node, traces, { title: "Latency of the answers", x: { title: { text: "variant", standoff: 6 }, type: "category" }, y: scale("seconds", lines.flatMap((each) => each.latencies)) });
}

function plots(box, lines) {
  const colours = {}, draws = [];
  for (const each of lines) colours[each.setup] ??= color(Object.keys(colours).length);
  const known = lines.filter((each) => each.compared && each.bits != null); // of the same texts
  if (known.length) draws.push(
    ["speed", (node) => quality(node, known, colours, (each) => each.rate, "tokens/s", "Quality against speed", true)],
    ["memory", (node) => quality(node, known, colours, (each) => each.memory, "GB at most", "Quality against memory", false)]);
  draws.push(["throughput", (node) => throughput(node, lines, colours)], ["latency", (node) => distribution(node, lines, colours)]);
  for (const [name, draw] of draws) {
    const node = make("div", "chart");
    node.dataset.plot = name;
    box.append(node);
    draw(node);
  }
}

function advised({ load, text, because }) {
  const node = make("section", "advised"), list = make("ul");
  list.append(...because.map((each) => make("li", "", each)));
  node.append(...(load ? [make("h3", "", load)] : []), make("p", "ready", text), list);
  return node;
}

async function draw() {
  const value = props.value || {}, mine = ++generation;
  for (const node of root.querySelectorAll(".chart")) { sizes.unobserve(node); window.Plotly?.purge(node); }
  if (!value.lines) return root.replaceChildren(...(value.nothing ? [make("p", "nothing", value.nothing)] : []));
  const there = value.lines.filter((each) => each.measured), box = make("div", "plots");
  const told = "★ No other of the same load is better in quality, tokens a second and memory at once. Numbers are those of the table; on the dotted line none is better on both axes.";
  root.replaceChildren(
    make("p", "muted", value.about), ...(value.beside ? [make("p", "note", value.beside)] : []), ...value.advice.map(advised),
    ...(there.length ? [make("p", "muted", told), box] : []), measured(value.lines));
  if (!there.length) return;
  await drawing();
  if (mine === generation && element.isConnected) plots(box, there);
}

watch("value", draw);
draw();
