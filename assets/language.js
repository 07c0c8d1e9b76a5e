// The studio's own HTML in the language of whoever reads it. Gradio translates what it draws by itself; here the same
// table (English → theirs) is held against what handlers and scripts put on the page, as it appears. A text counts as a
// whole, with # for a number and {} for a name; what is not in the table stays English, and data and models are left alone.
(() => {
  const CHOSEN = "finetune-studio-language"; // in localStorage, where tabs/_swifter.py has Gradio look, too
  const store = (() => { try { return localStorage; } catch { return undefined; } })(); // forbidden in some frames
  const language = (store?.getItem(CHOSEN) ?? navigator.language).split("-")[0];
  const DATA = '[translate="no"], [role="log"], p.text, td.cell, .js-plotly-plot';
  const TYPED = "textarea, pre, code, blockquote, .answers td, .compared td, .shares th, .confusion th, #sql-answer *"; // their titles are ours
  const INLINE = new Set(["A", "B", "BR", "CODE", "EM", "I", "KBD", "STRONG", "SUB", "SUP"]);
  const ATTRIBUTES = ["title", "aria-label", "aria-valuetext", "placeholder", "data-title"]; // the last: in front of a cell
  const GAP = /((?<!#)#(?!#)|\{\})/; // several # begin a heading
  const GAPS = { "#": "(\\d+(?:[.,\u00a0\u202f]\\d+)*)", "{}": "((?:(?!\\. \\p{Lu}).)+?)" }; // a name holds no sentence's end
  const LONGEST = 600; // letters of what is told with gaps
  const LETTER = /\p{L}/u;
  const longest = (one, other) => other.told - one.told;
  let table = {}, any = []; // any: those that begin with a gap
  const open = new Map(); // first word → all that may be meant, what says most first

  function read(tables) {
    table = tables[language] ?? {};
    for (const [key, translation] of Object.entries(table)) {
      const parts = key.split(GAP);
      if (parts.length === 1) continue;
      const source = parts.map((part, at) => (at % 2 ? GAPS[part] : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))).join("");
      const fixed = parts.filter((_, at) => at % 2 === 0);
      const sure = fixed.reduce((one, other) => (other.length > one.length ? other : one));
      const first = GAP.test(key.split(" ", 1)[0]) ? "" : key.split(" ", 1)[0];
      const form = new RegExp(`^${source}$`, "su");
      open.set(first, [...(open.get(first) ?? []), { form, translation, sure, told: fixed.join("").length }]);
    }
    any = (open.get("") ?? []).sort(longest);
    open.delete("");
    for (const [first, meant] of open) open.set(first, [...meant, ...any].sort(longest));
  }

  function filled(text) {
    for (const { form, translation, sure } of open.get(text.split(" ", 1)[0]) ?? any) {
      const found = text.includes(sure) && form.exec(text);
      let next = 0;
      if (found) return translation.replace(/(?<!#)#(?!#)|\{(\d*)\}/g, (_, place) => found[place || ++next]);
    }
    return undefined;
  }

  function said(text) {
    if (Object.hasOwn(table, text)) return table[text];
    if (text.length > LONGEST || !LETTER.test(text)) return undefined;
    const found = filled(text);
    if (found !== undefined) return found;
    const sentences = text.split(/(?<=[.?!…]) (?=\p{Lu})/u); // what is wrong, and what to do
    const each = sentences.length > 1 ? sentences.map((one) => table[one] ?? filled(one)) : [undefined];
    return each.every((one) => one !== undefined) ? each.join(" ") : undefined;
  }

  window.translated = (text) => said(text) ?? text; // for a script that looks into its texts

  // What to write in place of the text of this element, if anything.
  function instead(text, element) {
    if (!text || element.closest(DATA)) return undefined;
    const found = said(text);
    return found === text ? undefined : found;
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

  function speakTitles(element) {
    for (const name of ATTRIBUTES) {
      const found = element.hasAttribute(name) && instead(element.getAttribute(name), element);
      if (found) element.setAttribute(name, found);
    }
  }

  // A sentence with a word in bold is one text, markup and all; whether it was one.
  function speakSentence(element) {
    if (!element.firstElementChild || INLINE.has(element.tagName) || element.closest(TYPED)) return false;
    if (![...element.children].every((each) => INLINE.has(each.tagName))) return false;
    const found = instead(element.innerHTML.trim(), element);
    if (found) element.innerHTML = found; // out of the table, so it is ours
    return Boolean(found);
  }

  function speak(node) {
    if (!node.isConnected) return;
    if (node.nodeType === Node.TEXT_NODE) speakText(node);
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    speakTitles(node);
    if (!speakSentence(node)) [...node.childNodes].forEach(speak); // a name in a sentence is no word of ours
  }

  // Gradio changes a sentence in its place, a piece at a time.
  function speakAround(node) {
    let box = node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement;
    while (box && INLINE.has(box.tagName)) box = box.parentElement;
    if (box?.isConnected) speakSentence(box);
  }

  function offer(header) {
    const select = document.createElement("select");
    select.className = "language";
    select.setAttribute("aria-label", window.translated("Language"));
    select.title = window.translated("The page is opened anew; what was typed and not saved is lost.");
    for (const code of ["en", ...Object.keys(window.gradio_config.i18n_translations)]) {
      const option = new Option(new Intl.DisplayNames([code], { type: "language" }).of(code), code, false, code === document.documentElement.lang);
      option.lang = code;
      select.add(option);
    }
    select.addEventListener("change", () => {
      store.setItem(CHOSEN, select.value);
      location.reload();
    });
    header.append(select);
  }

  const seen = new MutationObserver((changes) => {
    for (const { type, target } of changes) if (type !== "attributes") speakAround(target);
    for (const { type, target, addedNodes } of changes) {
      if (type === "childList") addedNodes.forEach(speak);
      else if (type === "characterData") speakText(target);
      else speakTitles(target);
    }
    seen.takeRecords(); // of what was written here
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
