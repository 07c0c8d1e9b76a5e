// The studio's own HTML in the language of whoever reads it. Gradio translates what it draws by itself; here the same
// table (English → theirs) is held against what handlers and scripts put on the page, as it appears. A text counts as a
// whole, with # for a number and {} for a name; what is not in the table stays English, and data and models are left alone.
(() => {
  const CHOSEN = "finetune-studio-language"; // in localStorage, where tabs/_swifter.py has Gradio look, too
  const store = (() => { try { return localStorage; } catch { return undefined; } })(); // forbidden in some frames
  const language = (store?.getItem(CHOSEN) ?? navigator.language).split("-")[0];
  const DATA = '[translate="no"], [role="log"], p.text, td.cell, .js-plotly-plot';
  const TYPED = "textarea, pre, code, blockquote"; // what stands in them; their titles are ours
  const INLINE = new Set(["A", "B", "BR", "CODE", "EM", "I", "KBD", "STRONG", "SUB", "SUP"]);
  const ATTRIBUTES = ["title", "aria-label", "placeholder", "data-title"]; // the last one stands in front of a cell
  const GAPS = { "#": "(\\d+(?:[.,\u00a0\u202f]\\d+)*)", "{}": "(.+?)" };
  const LONGEST = 600; // letters of what is told with gaps
  let table = {};
  const open = new Map(); // first word, or "" where that is a gap → those with gaps that begin so

  function read(tables) {
    table = tables[language] ?? {};
    for (const [key, translation] of Object.entries(table)) {
      if (!/#|\{\}/.test(key)) continue;
      const source = key.split(/(#|\{\})/).map((part) => GAPS[part] ?? part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("");
      const word = key.split(" ", 1)[0];
      const first = /#|\{\}/.test(word) ? "" : word;
      open.set(first, [...(open.get(first) ?? []), [new RegExp(`^${source}$`, "s"), translation]]);
    }
  }

  function said(text) {
    if (Object.hasOwn(table, text)) return table[text];
    if (text.length > LONGEST) return undefined;
    for (const [form, translation] of [...(open.get(text.split(" ", 1)[0]) ?? []), ...(open.get("") ?? [])]) {
      const found = form.exec(text);
      let next = 0;
      if (found) return translation.replace(/#|\{(\d*)\}/g, (_, place) => found[place || ++next]);
    }
    return undefined;
  }

  window.translated = (text) => said(text) ?? text; // for a script that looks into its texts

  // What to write in place of the text within this element, if anything.
  function instead(text, element) {
    const found = said(text);
    return found === undefined || found === text || element.closest(DATA) ? undefined : found;
  }

  // What was written or copied, and a word or two in a cell.
  const somebodys = (text, element) =>
    element.closest(TYPED) || (text.split(/\s+/).length < 3 && element.closest("td") && !element.closest(".chip"));

  function speakText(node) {
    const text = node.data.trim();
    const box = node.parentElement;
    const found = text && box && !somebodys(text, box) && instead(text, box);
    if (found) node.data = node.data.replace(text, () => found);
  }

  function speakElement(element) {
    for (const name of ATTRIBUTES) {
      const found = instead(element.getAttribute(name) ?? "", element);
      if (found) element.setAttribute(name, found);
    }
    // A sentence with a word in bold is one text, markup and all.
    if (element.firstElementChild && !INLINE.has(element.tagName) && !element.closest(TYPED) && [...element.children].every((each) => INLINE.has(each.tagName))) {
      const found = instead(element.innerHTML.trim(), element);
      if (found) element.innerHTML = found; // out of the table, so it is ours
    }
  }

  function speak(root) {
    if (!root.isConnected) return;
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    for (let node = root; node; node = walker.nextNode()) {
      if (node.nodeType === Node.TEXT_NODE) speakText(node);
      else if (node.nodeType === Node.ELEMENT_NODE) speakElement(node); // the first may be a comment
    }
  }

  function offer(header) {
    const select = document.createElement("select");
    select.className = "language";
    select.setAttribute("aria-label", said("Language") ?? "Language");
    for (const code of ["en", ...Object.keys(window.gradio_config.i18n_translations)])
      select.add(new Option(new Intl.DisplayNames([code], { type: "language" }).of(code), code, false, code === document.documentElement.lang));
    select.addEventListener("change", () => {
      store.setItem(CHOSEN, select.value);
      location.reload();
    });
    header.append(select);
  }

  const seen = new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) {
      if (type === "childList") addedNodes.forEach(speak);
      else if (type === "characterData") speakText(target);
      else speakElement(target);
    }
  });
  // Gradio puts this script on a page that has its config and a body.
  const tables = window.gradio_config?.i18n_translations ?? {};
  read(tables);
  const spoken = tables[language] ? language : "en";
  const root = document.documentElement;
  root.lang = spoken;
  new MutationObserver(() => root.lang === spoken || (root.lang = spoken)).observe(root, { attributeFilter: ["lang"] }); // Gradio names the browser's
  const wait = new MutationObserver(() => {
    const header = document.querySelector("header.studio");
    if (!header) return;
    wait.disconnect();
    if (store) offer(header);
  });
  wait.observe(document.body, { subtree: true, childList: true });
  if (spoken === "en") return;
  speak(document.body);
  seen.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ATTRIBUTES });
})();
