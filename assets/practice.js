// Good practice. The value is {summary, items: [Item of studio/checklist.py with `go`, its tab's title], cases: [Case of
// studio/edge_cases.py]}, or {nothing}; a click has `where` to go.
const point = (item) => {
  const node = make("li", item.applies ? (item.ticked ? "ticked" : "open") : "off");
  const mark = make("span", "mark", item.applies ? (item.ticked ? "✓" : "○") : "–"), body = make("div", "body"), head = make("div", "head");
  mark.setAttribute("aria-hidden", "true");
  head.append(make("strong", "", item.title), make("span", "state", item.applies ? (item.ticked ? "shown" : "not shown") : "does not apply"));
  body.append(head, make("p", "evidence", item.evidence), make("p", "muted", item.why));
  node.append(mark, body);
  if (item.applies && !item.ticked && item.go) node.append(button(item.go, "", () => trigger("click", { where: item.where })));
  return node;
};

function answered(cases) {
  const box = make("section", "cases");
  box.append(make("h3", "", "Its answers to odd prompts"), make("p", "muted", "There is no right answer to most of them: read whether they are harmless, and whether you would show them to somebody."));
  for (const each of cases) {
    const card = make("article"), head = make("div", "head");
    head.append(make("strong", "", each.title), make("span", "muted", each.why));
    const long = each.prompt.length > 240, prompt = long ? `${each.prompt.slice(0, 240)} … (${each.prompt.length.toLocaleString("en")} letters)` : each.prompt;
    const answer = each.answer == null ? "(longer than the model reads)" : each.answer.trim() || "(nothing)";
    const texts = [make("pre", "asked", prompt.trim() ? prompt : "(nothing)"), make("pre", "answer", answer)];
    texts.forEach((text) => { text.tabIndex = 0; }); // they scroll
    card.append(head, ...texts);
    box.append(card);
  }
  return box;
}

function draw() {
  const box = element.querySelector(".practice"), { items = [], cases = [], summary = "", nothing = "" } = props.value || {};
  if (!items.length) { box.replaceChildren(make("p", "muted", nothing || "Nothing is known of this run.")); return; }
  const list = make("ul", "points");
  list.append(...items.map(point));
  box.replaceChildren(make("p", "ready", summary), list);
  if (cases.length) box.append(answered(cases));
}

watch("value", draw);
draw();
