// Whether fine-tuning was worth it. The value is {nothing} or what `_shown` of tabs/_worth.py gives. Stands behind
// whiskers.js.
const root = element.querySelector(".worth");

const gigabytes = (value) => (value ? `${round(value, 3)} GB` : "–");
const seconds = (value) => (value < 60 ? `${round(value, 2)} s` : duration(value));

function columns({ training }) {
  return [
    ["Score", (each) => round(each.mean, 3)],
    ["90 % interval", (each) => each.interval.map((end) => round(end, 3)).join(" to ")],
    ["Tokens a request", (each) => `${number(each.prompt_tokens, 0)} + ${number(each.answer_tokens, 0)}`],
    ["Time of a request", (each) => seconds(each.seconds)],
    ["Memory at most", (each) => gigabytes(each.memory)],
    ["Training", (each) => (each.tuned ? duration(training.seconds) : "none")],
    ["Search for the prompt", (each) => (each.searched ? duration(each.searched) : "none")],
  ];
}

function table(value) {
  const node = make("table", "measured"), head = node.createTHead().insertRow(), body = node.createTBody(), scroll = make("div", "scroll"), all = columns(value);
  for (const title of ["", ...all.map(([title]) => title)]) head.append(make("th", "", title));
  for (const each of value.lines) {
    const row = body.insertRow(), name = make("th", "", each.title);
    name.scope = "row";
    row.append(name);
    if (each.mean == null) {
      const cell = make("td", "told", each.note);
      cell.colSpan = all.length;
      row.append(cell);
    } else for (const [title, shown] of all) {
      const cell = make("td", "number", shown(each));
      cell.dataset.title = title;
      row.append(cell);
    }
  }
  scroll.append(node);
  return scroll;
}

function section(title, told, ...parts) {
  const node = make("section");
  node.append(make("h3", "", title), ...(told ? [make("p", "muted", told)] : []), ...parts);
  return node;
}

function advised({ text, because, good }) {
  const list = make("ul");
  list.append(...because.map((each) => make("li", "", each)));
  return section("What to make of it", "", make("p", good ? "ready" : "note", text), list);
}

function draw() {
  const value = props.value || {};
  if (!value.lines) return root.replaceChildren(...(value.nothing ? [make("p", "muted", value.nothing)] : []));
  const there = value.lines.filter((each) => each.mean != null), notes = there.filter((each) => each.note || each.left_out);
  root.replaceChildren(
    ...(value.outdated ? [make("p", "note", value.outdated)] : []),
    advised(value.advice),
    section("What the answers are worth", `${value.goal}, the mean over ${value.rows} rows that neither training nor search looked at; the whiskers hold the true mean 9 times of 10.`,
      whiskers(there.map((each) => ({ name: each.title, mean: each.mean, interval: each.interval, kind: each.tuned ? "after" : "" })))),
    section("What they cost", "Tokens are those of the prompt and of the answer, on the average; the time is of one request alone, the middle of a few.", table(value),
      ...notes.map((each) => make("p", "muted", `${each.title}: ${each.note}${each.left_out ? ` ${each.left_out} rows do not fit into what the model reads.` : ""}`))));
}

watch("value", draw);
draw();
