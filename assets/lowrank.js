// A matrix W, its best approximation B A of a rank, and what that misses. The value is {pictures: [Picture of
// studio/lowrank.py]}: patch ≈ left × diag(values) × right. B is left × √values, A is √values × right.
let at = 0, rank = 4;

const product = (left, right, count) =>
  left.map((row) => right[0].map((_, j) => { let sum = 0; for (let k = 0; k < count; k++) sum += row[k] * right[k][j]; return sum; }));

// #rrggbb, rgb(…) and names alike → [r, g, b]
function numbers(colour) {
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = colour;
  probe.fillRect(0, 0, 1, 1);
  return [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3);
}

// Below 0 one colour, above 0 the other, 0 the page's own. `most` is what counts as full colour.
function paint(canvas, values, most, colours) {
  const rows = values.length, columns = rows ? values[0].length : 0;
  canvas.width = Math.max(1, columns);
  canvas.height = Math.max(1, rows);
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) {
    const share = Math.max(-1, Math.min(1, values[i][j] / most)), strength = Math.sqrt(Math.abs(share));
    const full = share < 0 ? colours.below : colours.above, place = 4 * (i * columns + j);
    for (let c = 0; c < 3; c++) image.data[place + c] = colours.zero[c] + strength * (full[c] - colours.zero[c]);
    image.data[place + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function drawn(name, caption) {
  const figure = make("figure", name), canvas = make("canvas"), label = make("figcaption", "", caption);
  canvas.setAttribute("role", "img");
  figure.append(canvas, label);
  return { figure, canvas, label };
}

function values(box, picture, width) {
  const shown = picture.values.slice(0, width), top = shown[0] || 1;
  box.replaceChildren(...shown.map((value, i) => {
    const bar = make("span", i < rank ? "kept" : "");
    bar.style.height = `${Math.max(1.5, (100 * value) / top)}%`;
    bar.title = `singular value ${i + 1}: ${round(value, 3)}`;
    return bar;
  }));
  const more = picture.values.length - shown.length;
  box.setAttribute("aria-label", `Singular values, the first ${rank} kept${more > 0 ? `; ${more} more are not shown` : ""}`);
}

function show(parts, picture) {
  const side = picture.patch.length, most = Math.max(...picture.patch.flat().map(Math.abs)) || 1;
  const colours = { below: numbers(themed("--live-b")), above: numbers(themed("--live-a")), zero: numbers(themed("--background-fill-secondary")) };
  const roots = picture.values.slice(0, rank).map(Math.sqrt);
  const b = picture.left.map((row) => roots.map((root, k) => row[k] * root)), a = roots.map((root, k) => picture.right[k].map((value) => root * value));
  const ba = product(b, a, rank), missed = picture.patch.map((row, i) => row.map((value, j) => value - ba[i][j]));
  const widest = (matrix) => Math.max(...matrix.flat().map(Math.abs)) || 1;
  paint(parts.w.canvas, picture.patch, most, colours);
  paint(parts.ba.canvas, ba, most, colours);
  paint(parts.e.canvas, missed, most, colours);
  paint(parts.b.canvas, b, widest(b), colours);
  paint(parts.a.canvas, a, widest(a), colours);
  parts.grid.style.setProperty("--rank", rank / side);
  values(parts.bars, picture, picture.left[0].length);
  const [m, n] = picture.shape, few = rank * (m + n), all = m * n;
  const lost = Math.sqrt(picture.values.slice(rank).reduce((sum, value) => sum + value * value, 0)) / (picture.norm || 1);
  parts.rank.textContent = `rank ${rank}`;
  const tiles = [
    ["Numbers in B and A", few.toLocaleString("en"), `${rank} × (${m.toLocaleString("en")} + ${n.toLocaleString("en")})`],
    ["Numbers in W", all.toLocaleString("en"), `${m.toLocaleString("en")} × ${n.toLocaleString("en")}`],
    ["Share", `${round((100 * few) / all, 2)} %`, few < all ? `${round(all / few, 2)} times fewer` : "no longer fewer"],
    ["Missed: ‖W − B A‖ / ‖W‖", `${round(100 * lost, 3)} %`, `${round(100 * (1 - lost * lost), 3)} % of ‖W‖² is held`],
  ];
  parts.tiles.replaceChildren(...tiles.map(([name, value, more]) => {
    const tile = make("div", "tile");
    tile.append(make("span", "label", name), make("strong", "", value), make("span", "label", more));
    return tile;
  }));
  parts.w.canvas.setAttribute("aria-label", `W: ${side} of ${m} rows and ${side} of ${n} columns`);
  parts.ba.canvas.setAttribute("aria-label", `B A of rank ${rank}`);
  parts.e.canvas.setAttribute("aria-label", `What is missed: ${round(100 * lost, 3)} % of the norm`);
  parts.b.canvas.setAttribute("aria-label", `B: ${m} by ${rank}`);
  parts.a.canvas.setAttribute("aria-label", `A: ${rank} by ${n}`);
  parts.b.label.textContent = `B: ${m.toLocaleString("en")} × ${rank}`;
  parts.a.label.textContent = `A: ${rank} × ${n.toLocaleString("en")}`;
  root.dataset.error = lost;
  root.dataset.parameters = few;
}

let root = element.querySelector(".lowrank");
function draw() {
  root = element.querySelector(".lowrank");
  const pictures = props.value?.pictures || [];
  if (!pictures.length) { root.replaceChildren(); return; }
  at = Math.min(at, pictures.length - 1);
  const tools = make("div", "rowtools"), choice = make("select"), about = make("p", "muted about");
  choice.setAttribute("aria-label", "Which matrix");
  pictures.forEach((picture, i) => { const option = make("option", "", picture.title); option.value = i; choice.append(option); });
  choice.value = at;
  const slider = make("input"), line = make("div", "rank"), readout = make("output");
  slider.type = "range";
  slider.min = 1;
  slider.setAttribute("aria-label", "Rank");
  line.append(readout, slider);
  tools.append(choice, line);
  const grid = make("div", "matrices"), parts = {
    w: drawn("w", "W: what is to be written"), b: drawn("b", ""), a: drawn("a", ""), ba: drawn("ba", "B A: what the rank can write"),
    e: drawn("e", "W − B A: what it misses"), bars: make("div", "bars"), tiles: make("div", "tiles"), grid, rank: readout,
  };
  parts.bars.setAttribute("role", "img");
  const built = make("div", "built"), equals = make("span", "sign", "≈"), minus = make("span", "sign", "→");
  built.append(parts.a.figure, parts.b.figure, parts.ba.figure);
  grid.append(parts.w.figure, equals, built, minus, parts.e.figure);
  const spectrum = make("div", "values");
  spectrum.append(make("p", "label", "Singular values of W, largest first; those that the rank keeps are coloured"), parts.bars);
  const pick = () => {
    const picture = pictures[at];
    slider.max = Math.min(picture.left[0].length, picture.patch.length);
    rank = Math.min(rank, Number(slider.max));
    slider.value = rank;
    about.textContent = `${picture.about} Drawn are the ${picture.patch.length} rows and columns with the largest numbers; what is counted is the whole.`;
    show(parts, picture);
  };
  choice.addEventListener("change", () => { at = Number(choice.value); pick(); });
  slider.addEventListener("input", () => { rank = Number(slider.value); show(parts, pictures[at]); });
  root.replaceChildren(tools, about, grid, parts.tiles, spectrum);
  pick();
}

watch("value", draw);
draw();
