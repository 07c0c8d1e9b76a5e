// Recipes as cards. The value is a list of {name, title, about, columns, sample, reasons: [[setting, value, why]], then, yaml, command}.
const card = (recipe) => {
  const node = make("article", "recipe"), facts = make("dl", "pairs");
  facts.append(make("dt", "", "Columns"), make("dd", "", recipe.columns), make("dt", "", "Sample"), make("dd", "", recipe.sample));
  const take = button("Put it into Train", "primary", () => trigger("click", { recipe: recipe.name }));
  take.dataset.recipe = recipe.name;
  const why = make("details"), file = make("details"), list = make("dl", "reasons"), code = make("pre", "", recipe.yaml);
  why.append(make("summary", "", "Why these values"), list, make("p", "then", `Afterwards: ${recipe.then}`));
  for (const [setting, value, text] of recipe.reasons) {
    const term = make("dt");
    term.append(make("code", "", setting), ` ${value}`);
    list.append(term, make("dd", "", text));
  }
  code.tabIndex = 0; // it scrolls
  file.append(make("summary", "", "As a file"), make("p", "muted", recipe.command), code);
  node.append(make("h3", "", recipe.title), make("p", "", recipe.about), facts, take, why, file);
  return node;
};

const draw = () => element.querySelector(".recipes").replaceChildren(...(props.value || []).map(card));
watch("value", draw);
draw();
