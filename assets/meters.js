// The header's meters of the machine, and the button that gives memory back.
const ASK_MS = 2000; // as long as the studio keeps a sample
const TOLD_MS = 8000;
const UNITS = { load: "%", celsius: "°C", watts: "W" };

const root = element.querySelector(".meters");
const find = (name) => element.querySelector(`[data-meters="${CSS.escape(name)}"]`);
function size(gb) {
  const digits = gb < 9.95 ? 1 : 0; // always as many: what changes its width moves its neighbours
  return gb.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}


// A bar with its text. `parts` are shares of the whole, the first of them this studio's where there are two.
function gauge(name, label, text, more, parts) {
  let box = find(name);
  if (!box) {
    box = make("div", "gauge");
    box.dataset.meters = name;
    box.setAttribute("role", "meter");
    box.setAttribute("aria-valuemin", 0);
    box.setAttribute("aria-valuemax", 100);
    const track = make("span", "track");
    track.append(...parts.map(() => make("span")));
    box.append(make("span", "text"), make("span", "more"), track);
    find("gauges").append(box);
  }
  const [shown, detail, track] = box.children;
  shown.textContent = `${label} ${text}`;
  detail.textContent = more;
  parts.forEach((share, at) => { track.children[at].style.width = `${100 * Math.max(0, Math.min(1, share))}%`; });
  box.setAttribute("aria-label", label);
  box.setAttribute("aria-valuenow", Math.round(100 * parts.reduce((sum, share) => sum + share, 0)));
  box.setAttribute("aria-valuetext", `${text}${more ? `, ${more}` : ""}`);
  box.title = `${label} ${text}${more ? `\n${more}` : ""}`;
  return name;
}

function ram(now) {
  const own = Object.values(now.own).reduce((sum, gb) => sum + gb, 0), [used, total] = now.ram;
  const largest = Object.entries(now.own).sort((a, b) => b[1] - a[1]);
  const parts = largest.map(([name, gb]) => translated(`${name} ${size(gb)}`)).join(", ");
  const share = Math.min(own, used);
  return gauge("ram", "RAM", `${size(used)} of ${size(total)} GB`, `this studio ${size(own)}: ${parts}`, [share / total, (used - share) / total]);
}

function gpu(each, at, all) {
  const several = all.length > 1, [used, total] = each.memory || [0, 0];
  const facts = ["load", "celsius", "watts"].filter((fact) => each[fact] != null).map((fact) => `${each[fact]} ${UNITS[fact]}`);
  if (each.memory) facts.unshift(`${size(used)} of ${size(total)} GB`);
  const text = facts.splice(0, several ? 1 : facts.length).join(" · "); // of several there is room for one fact each
  return gauge(`gpu${at}`, several ? `GPU ${at}` : "GPU", text, [...facts, each.name].join(" · "),
    [each.memory ? used / total : (each.load || 0) / 100]);
}

function show(now) {
  const shown = [gauge("cpu", "CPU", `${now.cpu} %`, "", [now.cpu / 100]), ram(now), ...now.gpus.map(gpu)];
  for (const box of [...find("gauges").children]) if (!shown.includes(box.dataset.meters)) box.remove();
}

let hiding = 0;
function tell(text, ...buttons) {
  clearTimeout(hiding);
  find("told").replaceChildren(make("span", "", text), ...buttons);
  find("told").hidden = false;
  hiding = buttons.length ? 0 : setTimeout(hide, TOLD_MS); // a question waits for its answer
}

const hide = () => { find("told").hidden = true; };

async function free(busy) {
  find("free").disabled = true;
  try {
    const answer = await fetch(address(`memory/free?busy=${busy}`), { method: "POST" });
    const found = await answer.json();
    tell(found.told, ...(found.busy ? [button("End it too", "", () => free(true)), button("Leave it", "", hide)] : []));
  } catch { tell("The studio does not answer; nothing was freed."); }
  find("free").disabled = false;
}

find("free").addEventListener("click", () => free(false));
follow(() => "meters", (now, ok) => { if (ok) show(now); return false; }, ASK_MS, false);
