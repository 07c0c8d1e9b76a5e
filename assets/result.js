// What came of a run, as elements; live.js, which follows in the same script, puts them into its panel.
function outcome(result) {
  const parts = [make("h3", "", "Was it worth it?")];
  for (const each of result.headlines) {
    const p = make("p", "headline");
    p.append(`${each.what} `, make("strong", "", number(each.before, 3)), " → ", make("strong", "", number(each.after, 3)), ` ${each.verdict}`);
    parts.push(p);
  }
  if (result.answers) parts.push(...answered(result.answers));
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

// Rows are right labels, columns predicted ones. Colour is the share of the row: green where right, red where not.
function confusion(labels, counts) {
  const grid = make("table", "confusion");
  grid.createCaption().textContent = "How many held-out rows with the label on the left were given the label above";
  const head = grid.createTHead().insertRow();
  head.append(make("td", "corner", "right \\ predicted"), ...labels.map((label) => scoped(label, "col")));
  const body = grid.createTBody();
  counts.forEach((row, at) => {
    const line = body.insertRow();
    line.append(scoped(labels[at], "row"));
    const total = row.reduce((sum, count) => sum + count, 0);
    row.forEach((count, column) => {
      const share = total ? count / total : 0;
      const cell = make("td", column === at ? "hit" : "miss");
      cell.style.setProperty("--share", `${Math.round(85 * share)}%`);
      cell.append(make("strong", "", number(count, 0)), make("span", "share", total ? percent(share) : ""));
      line.append(cell);
    });
  });
  const box = scrolling(grid);
  return labels.length > 12 ? folded("Which labels are mistaken for which", box) : box;
}

function scoped(text, scope) {
  const cell = make("th", "", text);
  cell.scope = scope;
  return cell;
}

function terms(vocabulary) {
  const columns = [["term", "Term"], ["count", "Occurrences"], ["pieces", "Tokens before"]];
  return folded(vocabulary.sentence, table("figures", columns, vocabulary.terms));
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

function scrolling(content) {
  const box = make("div", "scroll");
  box.append(content);
  return box;
}

function folded(title, content) {
  const box = make("details");
  box.append(make("summary", "", title), content);
  return box;
}

function fewFirst(rows, most, shown) {
  const rest = rows.slice(most);
  return [shown(rows.slice(0, most)), ...(rest.length ? [folded(`${rest.length} more`, shown(rest))] : [])];
}
