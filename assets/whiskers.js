// Means as bars that begin at 0, with their intervals as whiskers. A bar is {name, mean, interval: [low, high], kind}.
function whiskers(bars) {
  const ends = bars.flatMap(({ mean, interval }) => [mean, ...interval]);
  const low = Math.min(0, ...ends), high = Math.max(low + 1e-9, 0, ...ends), at = (value) => (100 * (value - low)) / (high - low);
  const node = make("div", "whiskers");
  for (const { name, mean, interval, kind } of bars) {
    const track = make("span", "track"), fill = make("span", "fill"), range = make("span", "range");
    const place = (part, from, to) => { part.style.left = `${at(from)}%`; part.style.width = `${at(to) - at(from)}%`; };
    place(fill, Math.min(0, mean), Math.max(0, mean));
    place(range, ...interval);
    track.append(fill, range);
    const line = make("div", `line ${kind || ""}`);
    line.append(make("span", "name", name), track, make("span", "value", round(mean, 3)), make("span", "muted", `${round(interval[0], 3)} to ${round(interval[1], 3)}`));
    node.append(line);
  }
  return node;
}
