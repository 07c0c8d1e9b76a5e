// A search for a prompt. The value is {nothing} or what `board` of tabs/_study.py gives. A click on a line or a point comes
// back as {name, key, against}: the prompt to open, and the one it is held against. Stands behind along.js, diff.js and whiskers.js.
const FIRST_LINES = 12;
const GUIDES = { goal: "Score on the search’s rows", likelihood: "Nats a token of the right answer, on the search’s rows" };
const root = element.querySelector(".prompts");
const slots = {}; // part of the panel → its node, and what it shows: what did not change is left alone, as it may be read
let wanted = ""; // key of the prompt that was clicked
let beside = ""; // key of the prompt that it is held against; empty: the first one
let all = false; // whether the whole leaderboard is shown

const figure = (value) => (value == null ? "–" : round(value, 3));
const open = (key, against = beside) => { wanted = key; beside = against; trigger("click", { name: props.value.name, key, against }); };

function slot(name, value, fill) {
  if (!slots[name]) root.append((slots[name] = { node: make("section", name) }).node);
  const { node, said } = slots[name], now = JSON.stringify(value ?? null);
  if (said === now) return;
  slots[name].said = now;
  node.hidden = value == null;
  if (value == null) return;
  const key = node.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  fill(node, value);
  if (key) node.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

function headline(node, { about, tried, calls, seconds, end, goal, guide }) {
  const spent = `${number(tried)} prompts tried with ${number(calls[0])} of ${number(calls[1])} calls in ${duration(seconds)}.`;
  const guided = guide === "likelihood" ? " The search looks at how likely the right answer is; the choice at what the answers get." : "";
  node.replaceChildren(make("p", "", `${about}. ${spent} ${end}`), make("p", "muted", `A good answer: ${goal}.${guided}`));
}

function judged(node, { rows, bars, gained, words }) {
  node.replaceChildren(
    make("h3", "", "On rows that nobody had looked at"), whiskers(bars.map((bar, at) => ({ ...bar, kind: at ? "after" : "" }))),
    make("p", "muted", `Means over ${rows} sealed rows; the whiskers hold the true mean 9 times of 10.`), make("p", gained ? "ready" : "note", words));
}

// The prompts that no other beats with as few tokens, from the shortest.
const front = (lines) => [...lines].sort((a, b) => a.tokens - b.tokens || b.search - a.search)
  .filter(((most) => ({ search }) => search > most && ((most = search), true))(-Infinity));

function plot(node, { lines, guide }) {
  if (!node.firstChild) node.append(make("h3", "", "What a better score costs"), make("p", "muted", "Each point is a prompt; click one to open it. On the line no other prompt is both shorter and better; the faint ones were scored on few rows."), make("div", "chart"));
  const box = node.querySelector(".chart"), grid = themed("--border-color-primary"), axis = { gridcolor: grid, zerolinecolor: grid, automargin: true };
  const points = (some, name, marker, more) => ({
    type: "scatter", mode: "markers", name, x: some.map((each) => each.tokens), y: some.map((each) => each.search), customdata: some.map((each) => each.key), marker,
    text: some.map((each) => plain(each.how)), hovertemplate: "%{text}<br>%{y:.3g} with %{x:.0f} tokens<extra></extra>", ...more,
  });
  const most = Math.max(...lines.map((each) => each.rows)), others = lines.filter((each) => !each.first && !each.best);
  const best = front(lines.filter((each) => each.rows === most)); // a few rows may flatter
  Plotly.react(box, [
    points(best, "Pareto front", {}, { mode: "lines", line: { color: themed("--live-a"), width: 2, dash: "dot", shape: "hv" }, hoverinfo: "skip", hovertemplate: null }),
    points(others, "tried", { size: 8, color: themed("--live-b"), opacity: others.map((each) => (each.rows < most ? 0.35 : 0.9)) }),
    points(lines.filter((each) => each.first), "the first", { size: 12, symbol: "diamond", color: themed("--warn") }),
    points(lines.filter((each) => each.best && !each.first), "the best", { size: 15, symbol: "star", color: themed("--live-a") }),
  ], {
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", margin: { l: 50, r: 14, t: 30, b: 46 }, hovermode: "closest",
    font: { color: themed("--body-text-color"), family: "system-ui, sans-serif", size: 11 }, legend: { orientation: "h", y: 1.14, x: 0 },
    xaxis: { ...axis, title: { text: "tokens of a prompt with its row", standoff: 8 } }, yaxis: { ...axis, title: { text: guide === "goal" ? "score" : "nats a token" } },
  }, { displayModeBar: false, responsive: true });
  if (!box.dataset.heard) box.on("plotly_click", ({ points: [point] }) => open(point.customdata));
  box.dataset.heard = "yes";
  sizes.observe(box);
}

function line(body, each, place) {
  const row = body.insertRow();
  row.classList.toggle("winner", each.best);
  row.classList.toggle("here", each.key === (wanted || props.value.open?.key));
  const unread = each.rows && each.tokens == null; // it fits into no row's window
  const name = button(each.how, "name", () => open(each.key));
  name.dataset.key = each.key;
  const cell = make("td", "how");
  cell.append(name, ...(each.first ? [" ", make("span", "chip", "first")] : []), ...(each.best ? [" ", make("span", "chip done", "best")] : []));
  row.append(make("td", "number", `${place + 1}`), cell);
  for (const [title, value, more] of [["chosen by", figure(each.select), ""], ["search", unread ? "too long to read" : figure(each.search), ` on ${each.rows}`], ["tokens", number(each.tokens, 0), ""], ["seconds", figure(each.seconds), ""], ["examples", each.shots || "–", ""]]) {
    const number = make("td", "number", value);
    number.dataset.title = title;
    if (more) number.append(make("span", "muted", more));
    row.append(number);
  }
}

function ranking(node, { lines, guide, tried }) {
  const table = make("table", "measured"), head = table.createTHead().insertRow(), body = table.createTBody(), scroll = make("div", "scroll");
  for (const title of ["", "How it came about", "Score on the rows to choose on", GUIDES[guide], "Tokens a request", "Seconds an answer", "Examples"]) head.append(make("th", "", title));
  lines.slice(0, all ? lines.length : FIRST_LINES).forEach((each, place) => line(body, each, place));
  scroll.append(table);
  const rest = lines.length - FIRST_LINES;
  const more = rest > 0 ? [button(all ? "Show the first ones only" : `Show ${rest} more`, "more", () => { all = !all; draw(); })] : [];
  const cut = tried > lines.length ? [make("p", "muted", `The best ${lines.length} of ${tried}.`)] : [];
  node.replaceChildren(make("h3", "", "Leaderboard"), make("p", "muted", "Click a line to read its prompt. The few best of the search are scored anew on rows to choose on; on rows it has not seen a lucky one falls back."), scroll, ...more, ...cut);
}

function shots(before, after) {
  const known = new Set(before.map(JSON.stringify)), node = make("details", "shots");
  node.open = after.length > 0 && after.length <= 2;
  node.append(make("summary", "", `${after.length} ${after.length === 1 ? "example" : "examples"} before the row`));
  for (const [asked, answer] of after) {
    const pair = make("div", known.has(JSON.stringify([asked, answer])) ? "pair" : "pair fresh");
    pair.append(make("p", "text", asked), make("p", "text answer", answer));
    node.append(pair);
  }
  return after.length || before.length ? [node] : [];
}

function rows(found, other) {
  if (!found) return [];
  const { of, wins, losses, ties, answers, list } = found, told = make("div", "tally");
  for (const [kind, count, text] of [["win", wins, "better"], ["tie", ties, "the same"], ["loss", losses, "worse"]]) {
    const part = make("span", kind, `${count} ${text}`);
    part.style.flexGrow = count;
    if (count) told.append(part);
  }
  const table = make("table", "answers"), head = table.createTHead().insertRow(), body = table.createTBody();
  const columns = ["Asked", "Right answer", ...(answers ? [`With ${other}`, "With this one"] : []), "Score"];
  for (const title of columns) head.append(make("th", "", title));
  for (const each of list) {
    const row = body.insertRow(), score = `${round(each.before, 3)} → ${round(each.after, 3)}`;
    [each.asked, each.right, ...(answers ? [each.was || "(nothing)", each.now || "(nothing)"] : []), score].forEach((text, at) => {
      const cell = row.insertCell();
      cell.textContent = text;
      cell.dataset.title = columns[at];
      if (at === columns.length - 1) cell.className = each.after > each.before ? "right" : "wrong";
    });
  }
  const all = make("details");
  all.append(make("summary", "", `Row by row: the ${list.length} that changed most`), table);
  return [make("h4", "", `Against ${other}, on ${of}`), told, ...(list.length ? [all] : [])];
}

// A choice of the prompt that the open one is held against: what differs is marked, rows are compared.
function versus(key, against) {
  const select = make("select"), label = make("label", "muted", "Held against ");
  props.value.lines.forEach((each, place) => {
    if (each.key === key) return;
    const option = make("option", "", each.first ? "the first prompt" : `${place + 1}: ${each.how}`);
    option.value = each.key;
    option.selected = against ? each.key === against : each.first;
    select.append(option);
  });
  select.dataset.key = "against";
  select.addEventListener("change", () => open(key, select.value));
  label.append(select);
  return select.options.length ? [label] : [];
}

function detail(node, { key, how, first, best, against, before, after, rows: found }) {
  const title = first ? "The first prompt" : best ? "The best prompt" : "The prompt that is open";
  const at = props.value.lines.findIndex((each) => each.key === against), alone = first && at < 0;
  const other = at < 0 || props.value.lines[at].first ? "the first prompt" : `number ${at + 1}`;
  const texts = make("div", "texts");
  texts.append(changed("System text", before.system, after.system), changed("Instruction", before.template, after.template));
  const told = alone ? "The others are held against it." : `${how}. What differs from ${other} is marked.`;
  node.replaceChildren(make("h3", "", title), make("p", "muted", told), ...(alone ? [] : versus(key, against)), texts, ...shots(before.shots, after.shots), ...rows(found, other));
}

// Plots that go must be let go of: they listen to the window.
function clear() {
  for (const box of root.querySelectorAll(".chart")) { sizes.unobserve(box); Plotly.purge(box); }
  for (const each of Object.keys(slots)) delete slots[each];
  delete root.dataset.name;
  root.replaceChildren();
}

async function draw() {
  const value = props.value || {};
  if (!value.lines) {
    clear();
    return root.replaceChildren(...(value.nothing ? [make("p", "muted", value.nothing)] : []));
  }
  await drawing();
  if (value !== props.value && props.value?.name !== value.name) return;
  if (root.dataset.name !== value.name) { // another search than the one drawn
    wanted = beside = "";
    all = false;
    clear();
    root.dataset.name = value.name;
  }
  const { about, tried, calls, seconds, end, goal, guide, lines } = value;
  slot("headline", { about, tried, calls, seconds, end, goal, guide }, headline);
  slot("verdict", value.verdict, judged);
  const scored = lines.filter((each) => each.tokens != null && each.search != null);
  slot("pareto", scored.length > 1 ? { lines: scored, guide } : null, plot);
  slot("ranking", lines.length ? { lines, guide, tried, all, wanted, open: value.open?.key } : null, ranking);
  if (!value.open || !wanted || (value.open.key === wanted && value.open.against === beside)) slot("detail", value.open, detail);
}

watch("value", draw);
draw();
