// What is measured of each axis. The value is {axes: [{key, label, help, choices: [{value, label, why, on}]}]}; a choice
// with a `why` cannot be had on this machine. What is ticked goes out as {picked: {key: [values]}}.
const root = element.querySelector(".axes");
const ticked = {}; // key → values, as a person left them

function chip(axis, choice) {
  const label = make("label", choice.why ? "off" : ""), input = make("input");
  input.type = "checkbox";
  input.disabled = Boolean(choice.why);
  input.checked = !choice.why && ticked[axis.key].has(choice.value);
  input.addEventListener("change", () => {
    ticked[axis.key][input.checked ? "add" : "delete"](choice.value);
    trigger("input", { picked: Object.fromEntries(Object.entries(ticked).map(([key, values]) => [key, [...values]])) });
  });
  label.append(input, make("span", "", choice.label));
  if (choice.why) label.title = choice.why;
  return label;
}

function draw() {
  root.replaceChildren(...(props.value?.axes || []).map((axis) => {
    ticked[axis.key] ??= new Set(axis.choices.filter((each) => each.on && !each.why).map((each) => each.value));
    const line = make("fieldset"), chips = make("div", "chips"), missing = axis.choices.filter((each) => each.why);
    line.dataset.key = axis.key;
    chips.append(...axis.choices.map((choice) => chip(axis, choice)));
    line.append(make("legend", "", axis.label), make("p", "muted", axis.help), chips);
    for (const each of missing) line.append(make("p", "muted why", `${each.label}: ${each.why}`));
    return line;
  }));
}

watch("value", draw);
draw();
