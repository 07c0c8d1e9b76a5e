// Answers held against principles. The value is {nothing} or {name, at, size, total, principles, rows: [{prompt, answer,
// verdicts: [{wordings, mean, violated (null: undecided), critique, after, mark}], revision, changed, skipped, done}]}. A click comes back
// as {name, at} with the first row of another page, or with {row, number, right} of a verdict that was marked. Stands
// behind along.js, whose `marked` shows what a revision changed.
const turn = (at) => trigger("click", { name: props.value.name, at });
const judge = (row, number, right) => trigger("click", { name: props.value.name, at: props.value.at, row, number, right });

const part = (title, ...children) => {
  const node = make("div", "part");
  node.append(make("span", "label", title), ...children);
  return node;
};

const VERDICTS = {
  kept: "keeps to it:", violated: "goes against it:", open: "undecided, as the two wordings contradict each other:",
};

const likely = (share, kind) => {
  const bar = make("span", `likely ${kind}`);
  const fill = make("span");
  fill.style.width = `${Math.round(100 * share)}%`;
  bar.append(fill);
  return bar;
};

const mark = (verdict, row, number, right) => {
  const text = right ? "right" : "wrong";
  const node = button(right ? "✓ right" : "✗ wrong", text, () => judge(row, number, right));
  node.setAttribute("aria-pressed", verdict.mark === right);
  node.setAttribute("aria-label", `This verdict is ${text}: ${props.value.principles[number]}`);
  node.dataset.key = `${row} ${number} ${text}`;
  return node;
};

const line = (verdict, row, number) => {
  const open = verdict.violated == null;
  const kind = open ? "open" : verdict.violated ? "violated" : "kept";
  const item = make("li", kind);
  const head = make("div", "verdict");
  const sure = make("span", "sure");
  const both = verdict.wordings.map(percent).join(" and ");
  const after = verdict.after == null ? "" : `; of its revision ${percent(verdict.after)}`;
  sure.append(likely(verdict.mean, kind), VERDICTS[kind]);
  sure.append(make("span", "muted", ` ${percent(verdict.mean)} against it (${both} in the two wordings${after})`));
  const marks = make("span", "marks");
  if (!open) marks.append(mark(verdict, row, number, true), mark(verdict, row, number, false));
  head.append(make("span", "principle", props.value.principles[number]), sure, marks);
  item.append(head);
  if (verdict.critique) item.append(make("blockquote", "", verdict.critique));
  return item;
};

const revision = (row) => {
  if (row.revision == null) return null;
  if (!row.revision) return part("Revision", make("p", "muted", "The model wrote none."));
  if (!row.changed) return part("Revision", make("p", "muted", "It says the same as the answer."));
  const text = make("p", "text");
  text.append(...marked(row.answer || "", row.revision));
  return part("Revision, what is new marked", text);
};

const review = (row, place) => {
  const number = props.value.at + place;
  const node = make("article");
  const texts = make("div", "texts");
  texts.append(part(`Prompt ${number + 1}`, make("p", "text", row.prompt)));
  texts.append(part("Answer", make("p", row.answer == null ? "muted" : "text", row.answer ?? "Not written yet.")));
  node.append(texts);
  if (row.skipped) node.append(make("p", "note", row.skipped));
  if (row.verdicts.length) {
    const list = make("ul");
    list.append(...row.verdicts.map((verdict, at) => line(verdict, number, at)));
    node.append(list);
  } else if (!row.skipped) node.append(make("p", "muted", "Not looked at yet."));
  const revised = revision(row);
  if (revised) node.append(revised);
  return node;
};

const pages = ({ at, size, total }) => {
  const node = make("div", "pages");
  const before = button("Rows before", "", () => turn(at - size)), behind = button("Rows behind", "", () => turn(at + size));
  before.disabled = at === 0;
  behind.disabled = at + size >= total;
  node.append(before, make("span", "muted", `${at + 1}–${Math.min(at + size, total)} of ${total}`), behind);
  return node;
};

const draw = () => {
  const value = props.value || {}, root = element.querySelector(".critique");
  if (!value.rows) return root.replaceChildren(...(value.nothing ? [make("p", "muted", value.nothing)] : []));
  const key = element.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  root.replaceChildren(...value.rows.map(review), ...(value.total > value.size ? [pages(value)] : []));
  if (key) root.querySelector(`[data-key="${key}"]`)?.focus({ preventScroll: true });
};
watch("value", draw);
draw();
