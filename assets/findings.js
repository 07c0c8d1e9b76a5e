// The quality report. The value is a list of findings; a button's click comes back as an event with an `action`.
const act = (text, action, check) => {
  const node = button(text, "", () => trigger("click", { action, check }));
  node.dataset.check = check;
  node.dataset.action = action;
  return node;
};

const card = (finding) => {
  const node = make("div", `finding ${finding.severity}`);
  const head = make("div", "head");
  head.append(make("strong", "", finding.title), make("span", "count", finding.count));
  const buttons = make("div", "buttons");
  buttons.append(act("Show the rows", "show", finding.check));
  if (finding.remedy) buttons.append(act(`${finding.remedy}: preview`, "fix", finding.check));
  const list = make("ul");
  list.translate = false; // words out of the rows
  finding.examples.forEach((text) => list.append(make("li", "", text)));
  node.append(head, make("p", "muted", finding.about), list, buttons);
  return node;
};

const draw = () => element.querySelector(".findings").replaceChildren(...(props.value || []).map(card));
watch("value", draw);
draw();
