// The quality report. The value is a list of findings; a button's click comes back as an event with an `action`.
const make = (tag, cls, text) => {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text; // never innerHTML: examples come from data
  return node;
};

const button = (text, action, check) => {
  const node = make("button", "", text);
  node.type = "button";
  node.dataset.check = check;
  node.dataset.action = action;
  node.addEventListener("click", () => trigger("click", { action, check }));
  return node;
};

const card = (finding) => {
  const node = make("div", `finding ${finding.severity}`);
  const head = make("div", "head");
  head.append(make("strong", "", finding.title), make("span", "count", finding.count));
  const buttons = make("div", "buttons");
  buttons.append(button("Show the rows", "show", finding.check));
  if (finding.remedy) buttons.append(button(`${finding.remedy}: preview`, "fix", finding.check));
  const list = make("ul");
  finding.examples.forEach((text) => list.append(make("li", "", text)));
  node.append(head, make("p", "muted", finding.about), list, buttons);
  return node;
};

const draw = () => element.querySelector(".findings").replaceChildren(...(props.value || []).map(card));
watch("value", draw);
draw();
