// What came of a run, as elements; live.js, which follows in the same script, puts them into its panel. Stands behind
// confusion.js.
function outcome(result) {
  const parts = [make("h3", "", "Was it worth it?")];
  for (const each of result.headlines) {
    const p = make("p", "headline");
    p.append(`${each.what} `, make("strong", "", number(each.before, 3)), " → ", make("strong", "", number(each.after, 3)), ` ${each.verdict}`);
    parts.push(p);
  }
  if (result.answers) parts.push(...answered(result.answers));
  if (result.preferences) parts.push(...preferred(result.preferences));
  for (const head of result.heads) parts.push(...labelled(head));
  if (result.examples.length) parts.push(...labelledRows(result.examples, result.heads.length > 1));
  return parts;
}

function answered(answers) {
  const columns = [["prompt", "Prompt"], ["reference", "Right answer"], ["base", "Base model"], ["tuned", "Tuned model"]];
  const right = (row, key) => key === "tuned" && row.tuned.trim() === row.reference.trim();
  return [
    make("p", "", answers.sentence),
    ...answers.bars.map(bars),
    ...(answers.shared_prompt ? [make("p", "muted", `Every prompt begins: ${answers.shared_prompt}`)] : []),
    ...fewFirst(answers.examples, 3, (rows) => table("answers", columns, rows, right)),
  ];
}

function labelled(head) {
  const parts = [make("p", "headline", head.sentence), ...head.bars.map(bars)];
  if (head.name) parts.unshift(make("h4", "", head.name));
  if (head.confusion.length) parts.push(confusion(head.labels, head.confusion));
  if (head.per_label.length) {
    const columns = [["label", "Label"], ["rows", "Rows"], ["precision", "Precision"], ["recall", "Recall"], ["f1", "F1"]];
    const shown = head.per_label.map((each) => ({ ...each, rows: number(each.rows, 0),
      precision: percent(each.precision), recall: percent(each.recall), f1: percent(each.f1) }));
    parts.push(folded("Label by label", table("figures", columns, shown)));
  }
  return parts;
}

function labelledRows(examples, several) {
  const columns = [["text", "Text"], ...(several ? [["head", "Task"]] : []), ["right", "Right"], ["predicted", "Predicted"], ["sure", "Probability"]];
  const rows = examples.map((each) => ({ ...each, sure: each.probability == null ? "–" : percent(each.probability) }));
  const right = (row, key) => key === "predicted" && row.predicted === row.right;
  return [make("p", "", "Held-out rows, wrong ones first:"), ...fewFirst(rows, 4, (some) => table("answers", columns, some, right))];
}

// How a reward model tells the better of two answers: two pictures, each with a sentence on what it shows.
function preferred(found) {
  const box = make("div", "pictures");
  box.append(picture(margins(found), found.margins_say), picture(calibration(found.calibration), found.calibration_says));
  return [make("p", "headline", found.sentence), box];
}

function picture(svg, caption) {
  const figure = make("figure");
  figure.append(svg, make("figcaption", "", caption));
  return figure;
}

const WIDE = 340, HIGH = 190, LEFT = 46, BASE = 158, TOP = 12; // of a picture, in its own units

function drawn(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function frame(label, below, ...children) {
  const ends = drawn("line", { class: "axis", x1: LEFT, x2: WIDE - 6, y1: BASE, y2: BASE });
  const name = drawn("text", { x: (LEFT + WIDE) / 2, y: HIGH - 4, "text-anchor": "middle" }, below);
  return drawn("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": label }, ends, name, ...children);
}

const tick = (x, y, anchor, text) => drawn("text", { x, y, "text-anchor": anchor }, text);

function margins({ edges, counts }) {
  const most = Math.max(...counts), first = edges[0], span = edges.at(-1) - first;
  const x = (value) => LEFT + ((WIDE - 6 - LEFT) * (value - first)) / span;
  const bars = counts.map((count, i) => {
    const height = ((BASE - TOP) * count) / most;
    const size = { x: x(edges[i]) + 0.5, y: BASE - height, width: Math.max(1, x(edges[i + 1]) - x(edges[i]) - 1), height };
    const said = `${count} pairs from ${round(edges[i], 2)} to ${round(edges[i + 1], 2)}`;
    return drawn("rect", { class: edges[i] < 0 ? "wrong" : "right", ...size }, drawn("title", {}, said));
  });
  const zero = drawn("line", { class: "zero", x1: x(0), x2: x(0), y1: TOP, y2: BASE });
  const marks = [[first, "start"], [edges.at(-1), "end"], [0, "middle"]].filter(([value], i) => i === 2 || Math.abs(value) > 0.15 * span);
  return frame("Margins of held-out pairs", "margin: reward of the chosen less the rejected", zero, ...bars,
    ...marks.map(([value, anchor]) => tick(x(value), BASE + 13, anchor, round(value, 2))), tick(LEFT - 4, TOP + 8, "end", number(most, 0)));
}

function calibration(points) {
  const x = (sure) => LEFT + (WIDE - 20 - LEFT) * (sure - 0.5) * 2, y = (right) => BASE - (BASE - TOP) * right;
  const most = Math.max(...points.map((each) => each.rows));
  const ideal = drawn("line", { class: "zero", x1: x(0.5), y1: y(0.5), x2: x(1), y2: y(1) });
  const dots = points.map(({ sure, right, rows }) => drawn("circle", { class: "right", cx: x(sure), cy: y(right), r: 3 + 7 * Math.sqrt(rows / most) },
    drawn("title", {}, `Where it claims ${percent(sure)}, ${percent(right)} of ${rows} pairs are right`)));
  return frame("Calibration on held-out pairs", "how sure it is", ideal, ...dots, tick(x(0.5), BASE + 13, "start", "50 %"), tick(x(1), BASE + 13, "end", "100 %"),
    ...[0, 0.5, 1].map((share) => tick(LEFT - 4, y(share) + 4, "end", percent(share))));
}

// One metric of two sides, one above the other.
function bars({ label, help, values, share }) {
  const row = make("div", "bars");
  const name = make("div", "name", label);
  name.title = help;
  row.append(name);
  const most = share ? 1 : Math.max(...values.map(([, value]) => value ?? 0), 1e-9);
  for (const [who, value] of values) {
    const line = make("div", `line ${who}`);
    const fill = make("span", "fill");
    fill.style.width = `${Math.min(100, Math.max(0.5, (100 * (value ?? 0)) / most))}%`;
    const track = make("span", "track");
    track.append(fill);
    line.append(make("span", "who", who), track, make("span", "value", share ? percent(value ?? 0) : number(value, 3)));
    row.append(line);
  }
  return row;
}

function terms(vocabulary) {
  const columns = [["term", "Term"], ["count", "Occurrences"], ["pieces", "Tokens before"]];
  return folded(vocabulary.sentence, table("figures", columns, vocabulary.terms));
}

// What a run was made of beside its settings.
function ingredients(made) {
  const rows = made.map(([name, value]) => ({ name, value }));
  return folded("What it was made of", table("figures", [["name", "What"], ["value", "Which"]], rows));
}

function table(className, columns, rows, right = () => false) {
  const made = make("table", className);
  const head = made.createTHead().insertRow();
  for (const [, title] of columns) head.append(scoped(title, "col"));
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const [key, title] of columns) {
      const text = row[key] ?? "";
      const cell = make("td", right(row, key) ? "right" : "", text === "" ? "(nothing)" : text);
      cell.dataset.title = title;
      line.append(cell);
    }
  }
  return scrolling(made);
}

function fewFirst(rows, most, shown) {
  const rest = rows.slice(most);
  return [shown(rows.slice(0, most)), ...(rest.length ? [folded(`${rest.length} more`, shown(rest))] : [])];
}
