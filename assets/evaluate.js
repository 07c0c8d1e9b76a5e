// Models beside one another. The value is {nothing} or what `_shown` of tabs/evaluate.py gives. What rows are wanted comes
// back as {name, set, filter, who, at}. Stands behind confusion.js, along.js, diff.js and whiskers.js.
const FILTERS = [["all", "All rows"], ["worse", "Got worse"], ["better", "Got better"], ["changed", "Answers differ"]];
const VERDICTS = { better: "better", worse: "worse", same: "no significant difference", "": "" };
const root = element.querySelector(".evaluated");

const shown = (share, value) => (share ? `${number(100 * value, 1)} %` : round(value, 4));
const signed = (share, value) => `${value >= 0 ? "+" : "−"}${share ? `${number(100 * Math.abs(value), 1)} points` : round(Math.abs(value), 3)}`;
const chance = (p) => (p < 0.001 ? "p < 0.001" : `p = ${round(p, 2)}`);

const onRows = (measure, rows) => (measure.rows < rows ? `, on ${number(measure.rows, 0)} of ${number(rows, 0)} rows` : "");

function section(title, told, ...parts) {
  const node = make("section");
  node.append(make("h3", "", title), ...(told ? [make("p", "muted", told)] : []), ...parts);
  return node;
}

// The measure that is spoken of first, as bars.
function bars(titles, measure, rows) {
  const drawn = titles.flatMap((name, who) => (measure.values[who] ? [{ name, mean: measure.values[who].value, interval: [measure.values[who].low, measure.values[who].high], kind: who ? "after" : "" }] : []));
  const which = measure.higher ? "More is better" : "Less is better";
  return [make("h4", "", measure.title), make("p", "muted", `${measure.about} ${which}${onRows(measure, rows)}; the whiskers hold the true value 19 times of 20.`), whiskers(drawn)];
}

function table(titles, { measures, rows }) {
  const node = make("table", "measured"), head = node.createTHead().insertRow(), body = node.createTBody();
  for (const title of ["Metric", ...titles]) head.append(scoped(title, "col"));
  for (const measure of measures) {
    const row = body.insertRow(), name = scoped(measure.title, "row");
    name.append(make("span", "muted", `${measure.higher ? "more" : "less"} is better${onRows(measure, rows)}`));
    name.title = measure.about;
    row.append(name);
    titles.forEach((title, who) => {
      const value = measure.values[who], change = measure.changes[who], cell = make("td", "number", value ? shown(measure.share, value.value) : "–");
      cell.dataset.title = title;
      if (value) cell.append(make("span", "muted", `${shown(measure.share, value.low)} to ${shown(measure.share, value.high)}`));
      if (change) cell.append(make("span", `change ${change.verdict}`, `${signed(measure.share, change.gain)}, ${chance(change.p)}: ${VERDICTS[change.verdict]}`));
      row.append(cell);
    });
  }
  return scrolling(node);
}

function labels(titles, found) {
  return titles.flatMap((title, who) => {
    if (!found[who]) return [];
    const each = make("table", "measured"), head = each.createTHead().insertRow(), body = each.createTBody();
    for (const column of ["Label", "Precision", "Recall", "F1", "Rows"]) head.append(scoped(column, "col"));
    for (const line of found[who].per_label) {
      const row = body.insertRow();
      const label = scoped(line.label, "row");
      label.translate = false;
      row.append(label);
      for (const [column, text] of [["Precision", percent(line.precision)], ["Recall", percent(line.recall)], ["F1", percent(line.f1)], ["Rows", number(line.rows, 0)]]) {
        const cell = make("td", "number", text);
        cell.dataset.title = column;
        row.append(cell);
      }
    }
    return [make("h4", "", title), confusion(found[who].labels, found[who].matrix), folded("Label by label", scrolling(each))];
  });
}

function gaps(titles, { silent, unread, unlikely, unfit, ran }) {
  return titles.flatMap((title, who) => [
    ...(unread[who] ? [make("p", "note", `${title}: ${number(unread[who], 0)} rows do not fit into what it reads; they count as unanswered.`)] : []),
    ...(silent[who] ? [make("p", "note", `${title} wrote nothing to ${number(silent[who], 0)} rows. A model without training may not know when it is asked.`)] : []),
    ...(unlikely[who] ? [make("p", "note", `${number(unlikely[who], 0)} right answers are too long for ${title}, or labels that it does not know. Loss and the like are of the other rows, for all models.`)] : []),
    ...(unfit[who] ? [make("p", "note", `${number(unfit[who], 0)} answers of ${title} hold no number. The error is of the other rows, for all models that gave any.`)] : []),
    ...(ran[who] ? [make("p", "note", `Programs of ${title}: ${Object.entries(ran[who]).map(([what, count]) => `${number(count, 0)} ${what}`).join("; ")}.`)] : []),
  ]);
}

function part(value, set) {
  const { candidates: titles } = value, [first, ...others] = set.measures;
  const title = `${set.name === "old" ? "Old data: " : ""}${set.title}`, told = [`${number(set.rows, 0)} rows.`, ...set.notes].join(" ");
  if (!first) return section(title, `${told} ${value.done < value.total ? "No model has been asked all of them yet." : "Nothing of them could be measured."}`, ...gaps(titles, set));
  const signatures = set.measures.filter((each) => each.signature).map((each) => `${each.title}: ${each.signature}`);
  return section(title, told, ...gaps(titles, set), ...bars(titles, first, set.rows),
    ...(others.length ? [make("h4", "", "All measures"), table(titles, set)] : []),
    make("p", "muted", `Intervals are of rows drawn anew, with replacement; p is how often chance alone would bring about as large a difference from ${titles[0]}, by swapping the two answers of a row, with several models at once taken into account (Holm).`),
    ...signatures.map((each) => make("p", "muted signature", each)),
    ...(Object.keys(set.labels).length ? [make("h4", "", "What is mistaken for what"), ...labels(titles, set.labels)] : []));
}

// Tasks of lm-eval: each number with its standard error, a column for each model.
function task(titles, { name, notes, rows }) {
  const node = make("table", "measured"), head = node.createTHead().insertRow(), body = node.createTBody();
  for (const title of ["Metric", ...titles]) head.append(scoped(title, "col"));
  for (const { task, metric, filter, higher, values } of rows) {
    const row = body.insertRow(), label = scoped(task === name ? metric : `${task}: ${metric}`, "row");
    label.append(make("span", "muted", [...(higher == null ? [] : [`${higher ? "more" : "less"} is better`]), ...(filter === "none" ? [] : [`filter ${filter}`])].join(", ")));
    row.append(label);
    titles.forEach((title, who) => {
      const [value, stderr] = values[who] ?? [null, null], cell = make("td", "number", value == null ? "–" : round(value, 4));
      cell.dataset.title = title;
      if (stderr != null) cell.append(make("span", "muted", `± ${round(stderr, 2)}`));
      row.append(cell);
    });
  }
  return section(`Task: ${name}`, [...notes, ...(rows.length ? ["Beside each number its standard error (±)."] : ["No model has been asked it yet."])].join(" "), ...(rows.length ? [scrolling(node)] : []));
}

// -- row by row ---------------------------------------------------------------------------------------------------

function chosen(label, options, value, taken) {
  const node = make("select");
  node.setAttribute("aria-label", label);
  options.forEach((text, at) => { const option = make("option", "", text); option.value = at; node.append(option); });
  node.value = value;
  node.addEventListener("change", () => taken(Number(node.value)));
  return node;
}

function tools(value, ask) {
  const { rows, candidates, sets } = value, node = make("div", "rowtools");
  if (sets.length > 1) node.append(chosen("Data set", sets.map((each) => each.title), rows.set, (set) => ask({ set, at: 0 })));
  if (candidates.length > 2) node.append(chosen("Held against the first", candidates, rows.who, (who) => ask({ who, at: 0 })));
  if (candidates.length > 1) for (const [filter, text] of FILTERS) {
    const each = button(text, "filter", () => ask({ filter, at: 0 }));
    each.setAttribute("aria-pressed", String(filter === rows.filter));
    node.append(each);
  }
  return node;
}

function pager({ at, count, total }, ask) {
  const node = make("div", "pager"), back = button("Back", "page", () => ask({ at: Math.max(0, at - count) })), on = button("Further", "page", () => ask({ at: at + count }));
  back.disabled = at === 0;
  on.disabled = at + count >= total;
  node.append(back, make("span", "muted", total ? `${number(at + 1, 0)}–${number(Math.min(at + count, total), 0)} of ${number(total, 0)}` : "none"), on);
  return node;
}

// What differs is marked in answers that say much the same; where little is, each is easier read by itself.
const ALIKE = 0.5; // of their words
const words = (text) => pieces(text).filter((each) => /[\p{L}\p{N}]/u.test(each));

function beside(before, text) {
  if (before == null) return [text];
  const a = words(before), b = words(text);
  return common(a, b).size < ALIKE * Math.max(a.length, b.length) ? [text] : changes(before, text);
}

function answer(title, text, before, score, kind, ran) {
  const node = make("div", "answer"), said = make("p", "text");
  said.append(...(text ? beside(before, text) : [text === null ? "(it does not fit into what this model reads)" : "(nothing)"]));
  const label = make("span", "label", title);
  if (score != null) label.append(make("span", `score ${kind}`, round(score, 3)));
  node.append(label, said, ...(ran ? [make("p", "muted", `Its program: ${ran}.`)] : []));
  return node;
}

function row({ place, asked, right, said, ran, scores }, titles, higher) {
  const node = make("div", "one");
  if (asked) node.append(answer(`${number(place + 1, 0)}. Asked`, asked));
  node.append(answer(asked ? "Right answer" : `${number(place + 1, 0)}. Text`, right));
  titles.forEach((title, who) => {
    const gain = (scores[who] - scores[0]) * (higher ? 1 : -1), kind = gain > 0 ? "better" : gain < 0 ? "worse" : "";
    if (who in said) node.append(answer(title, said[who], who && said[0] ? said[0] : null, scores[who], who ? kind : "", ran[who]));
    else if (who in scores) node.append(make("p", `score ${who ? kind : ""}`, `${title}: ${round(scores[who], 3)}`));
  });
  return node;
}

function rows(value) {
  const { rows: found, candidates, sets, name } = value, higher = sets[found.set].measures.find((each) => each.title === found.measure)?.higher ?? false;
  const ask = (change) => trigger("click", { name, set: found.set, filter: found.filter, who: found.who, at: found.at, ...change });
  const node = section("Row by row", `The number beside each answer: ${found.measure} of that row.${candidates.length > 1 ? ` What differs from the answer of ${candidates[0]} is marked, where the two are much alike.` : ""}`,
    tools(value, ask), ...found.lines.map((each) => row(each, candidates, higher)), ...(found.total ? [] : [make("p", "muted", "No such rows.")]), pager(found, ask));
  node.className = "rows";
  return node;
}

let drawn = ""; // the report on the page: where other rows of it are wanted, only these are drawn anew
function draw() {
  const value = props.value || {}, { rows: _, ...rest } = value, now = JSON.stringify(rest), before = root.querySelector(".rows");
  if (value.sets && now === drawn && before) {
    const controls = (box) => [...box.querySelectorAll("button, select")];
    const focused = controls(before).indexOf(document.activeElement), after = rows(value);
    before.replaceWith(after);
    if (focused >= 0) controls(after)[focused]?.focus({ preventScroll: true });
    return;
  }
  drawn = now;
  if (!value.sets) return root.replaceChildren(...(value.nothing ? [make("p", "muted", value.nothing)] : []));
  const asked = value.sets.some((each) => each.measures.length);
  root.replaceChildren(
    make("p", "muted", value.title),
    ...(value.done < value.total ? [make("p", "note", `Not at its end: ${number(value.done, 0)} of ${number(value.total, 0)} requests are made.`)] : []),
    ...value.words.map(([text, verdict]) => make("p", verdict === "better" ? "ready" : verdict === "worse" ? "fault" : "note", text)),
    ...value.sets.map((each) => part(value, each)),
    ...value.tasks.map((each) => task(value.candidates, each)),
    ...(asked ? [rows(value)] : []));
}

watch("value", draw);
draw();
