"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const list = byId("flags");
  const items = [...list.children];
  const controls = byId("controls");
  const dialog = byId("details");
  const ROWS_PER_FILE = 250;

  // "aland" finds Åland: marks are taken off the letters on both sides.
  const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const nameOf = (item) => item.querySelector("b").textContent;
  const places = new Map(items.map((item, place) => [item, place]));
  const haystacks = new Map(
    items.map((item) => [item, fold(`${item.id}\n.${item.id}\n${nameOf(item)}\n${item.dataset.q ?? ""}`)]),
  );

  // The items by name, as in the file, by code, or by a number in the details, the largest first.
  const NUMBERS = {
    changed: (one) => Date.parse(one.changed) || 0,
    changes: (one) => one.nChanges,
    size: (one) => one.size ?? 0,
    ratio: (one) => one.decimal ?? 0,
  };
  async function arranged(order) {
    if (order === "code") return [...items].sort((a, b) => (a.id < b.id ? -1 : 1));
    if (!(order in NUMBERS)) return items;
    await Promise.all(items.filter((_item, place) => place % ROWS_PER_FILE === 0).map(load));
    const numbers = new Map(items.map((item) => [item, details.has(item.id) ? NUMBERS[order](details.get(item.id)) : 0]));
    return [...items].sort((a, b) => numbers.get(b) - numbers.get(a));
  }
  let order = "";
  async function arrange(wanted) {
    order = wanted;
    const inOrder = await arranged(wanted);
    if (order === wanted) list.append(...inOrder);
  }

  function refresh() {
    const wanted = new FormData(controls);
    const words = fold(wanted.get("q")).split(/\s+/).filter(Boolean);
    const classes = [wanted.get("status"), wanted.get("ratio"), ...wanted.getAll("colour")].filter(Boolean);
    let shown = 0;
    for (const item of items) {
      const haystack = haystacks.get(item);
      const isShown = classes.every((name) => item.classList.contains(name)) && words.every((word) => haystack.includes(word));
      if (item.hidden === isShown) item.hidden = !isShown;
      shown += isShown;
    }
    if (order !== wanted.get("sort")) arrange(wanted.get("sort"));
    byId("count").textContent = `${shown} of ${items.length} shown`;
    byId("none").hidden = shown > 0;
    byId("clear").hidden = ![...wanted.values()].some(Boolean);
  }

  // The address holds search, filters, order and the opened flag, so that it can be kept and sent.
  function address(code) {
    const state = new URLSearchParams([...new FormData(controls)].filter(([, value]) => value));
    if (code) state.set("flag", code);
    return `#${state}`;
  }
  const opened = () => (dialog.open ? dialog.dataset.code : "");
  // Browsers refuse an address that changes with each key for long.
  let later = 0;
  function keepAddress() {
    clearTimeout(later);
    later = setTimeout(() => history.replaceState(null, "", address(opened())), 200);
  }

  function applyAddress() {
    const state = new URLSearchParams(location.hash.slice(1));
    for (const field of controls.elements) {
      if (field.type === "checkbox") field.checked = state.getAll("colour").includes(field.value);
      else if (field.name) field.value = state.get(field.name) ?? "";
      // Of an unknown value, a list shows nothing.
      if (field.selectedIndex === -1) field.selectedIndex = 0;
    }
    refresh();
    const item = byId(state.get("flag") ?? "");
    if (item && places.has(item)) show(item);
    else if (dialog.open) dialog.close();
  }

  function element(name, text, attributes = {}) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  const day = (moment) => (moment ? `${moment.slice(0, 10)} ${moment.slice(11, 16)} UTC` : "");
  const percent = (share) => `${Math.round(share * 100)} %`;
  const bytes = (size) => (size < 1000 ? `${size} bytes` : `${(size / 1000).toFixed(size < 10000 ? 1 : 0)} kB`);

  // Details arrive in scripts that call this; a page from a local file may not fetch JSON.
  const details = new Map();
  const requested = new Map();
  window.flagDetails = (rows) => {
    for (const [code, row] of Object.entries(rows)) details.set(code, row);
  };
  function load(item) {
    const number = Math.floor(places.get(item) / ROWS_PER_FILE);
    if (!requested.has(number)) {
      requested.set(number, new Promise((resolve) => {
        const script = element("script", "", { src: `details/${number}.js?${list.dataset.details}` });
        script.addEventListener("load", resolve);
        script.addEventListener("error", resolve);
        document.head.append(script);
      }));
    }
    return requested.get(number);
  }

  function band(colours) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    const total = colours.reduce((sum, [, share]) => sum + share, 0) || 1;
    let x = 0;
    const attributes = { class: "band", viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true" };
    for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
    for (const [hex, share] of colours) {
      const rect = document.createElementNS(space, "rect");
      const width = (share / total) * 100;
      for (const [key, value] of [["x", x], ["width", width], ["height", 1], ["fill", hex]]) rect.setAttribute(key, value);
      x += width;
      svg.append(rect);
    }
    return svg;
  }

  function facts(code, one) {
    const source = /^https?:\/\//.test(one.url) ? element("a", one.url, { href: one.url, rel: "noreferrer" }) : one.url;
    const rows = [
      ["Official name", one.official],
      ["Codes", [code, one.alpha3, one.numeric].filter(Boolean).join(", ")],
      ["Domain", one.tld],
      ["Size", one.width ? `${one.width} × ${one.height} px, ${one.size} bytes` : ""],
      ["Aspect ratio", one.ratio ? `${one.ratio} (${one.decimal})` : ""],
      ["Frames", one.frames > 1 ? String(one.frames) : ""],
      ["First seen", day(one.firstSeen)],
      ["Changed", one.nChanges ? `${day(one.changed)}, ${one.nChanges} in all` : one.file ? "never" : ""],
      ["File", one.file],
      ["Source", source],
      ["Licence", one.licence],
      ["SHA-256", one.sha256],
    ];
    const terms = element("dl");
    for (const [term, value] of rows) {
      if (!value) continue;
      const cell = element("dd");
      cell.append(value);
      terms.append(element("dt", term), cell);
    }
    return terms;
  }

  function earlier(changes) {
    const entries = element("ol", "", { class: "history" });
    for (const change of changes) {
      const entry = element("li");
      const distance = change.distance === null ? "" : `, perceptual distance ${change.distance} of 64`;
      const text = `Replaced ${day(change.at)}: ${change.oldSize} → ${change.newSize} bytes${distance}`;
      if (change.old) entry.append(element("img", "", { src: change.old, alt: `The flag until ${day(change.at)}` }));
      entry.append(element("span", text));
      entries.append(entry);
    }
    return entries;
  }

  function downloads(item, one) {
    const links = element("p", "", { class: "actions" });
    const add = (href, label) => links.append(element("a", label, { href, download: "", class: "action" }));
    if (one.file) add(item.querySelector("a").getAttribute("href"), `${one.format.toUpperCase()}, ${bytes(one.size)}`);
    for (const [label, href] of Object.entries(one.downloads)) add(href, label);
    return links;
  }

  // Only secure pages have a clipboard; a selected text can be copied everywhere.
  async function copy(text) {
    if (navigator.clipboard) {
      try {
        await navigator.clipboard.writeText(text);
        return true;
      } catch {
        // No permission: try the old way.
      }
    }
    const field = element("textarea", text, { class: "unseen", readonly: "" });
    dialog.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }

  function copies(code, one) {
    const quoted = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
    const size = one.width ? ` width="${one.width}" height="${one.height}"` : "";
    const file = one.file.replace(/^.*\//, "");
    const texts = [
      ["Code", code],
      ["Emoji", /^[A-Z]{2}$/.test(code) ? String.fromCodePoint(...[...code].map((letter) => 0x1f1a5 + letter.charCodeAt(0))) : ""],
      ["File name", file],
      ["HTML", file && `<img src="${quoted(encodeURI(file).replace(/[?#]/g, encodeURIComponent))}"${size} alt="${quoted(`Flag of ${one.name}`)}">`],
    ];
    const buttons = element("p", "", { class: "actions" });
    const said = element("span", "", { class: "said", role: "status" });
    for (const [label, text] of texts) {
      if (!text) continue;
      const button = element("button", label, { type: "button", class: "action" });
      button.addEventListener("click", async () => {
        const done = await copy(text);
        button.focus();
        said.textContent = done ? `Copied ${text}` : `This browser does not allow copying: ${text}`;
      });
      buttons.append(button);
    }
    buttons.append(said);
    return buttons;
  }

  function section(title, ...parts) {
    const made = element("section");
    made.append(element("h3", title), ...parts);
    return made;
  }

  function describe(item, one) {
    const parts = [];
    if (one.reason) parts.push(element("p", one.reason, { class: "reason" }));
    if (one.file) {
      const shades = element("ul", "", { class: "shades", "aria-label": "Dominant colours" });
      shades.append(...one.colours.map(([hex, share]) => element("li", `${hex} ${percent(share)}`)));
      if (one.colours.length) parts.push(band(one.colours), shades);
      parts.push(section("Download", downloads(item, one)));
    }
    parts.push(section("Copy", copies(item.id, one)), facts(item.id, one));
    if (one.history.length) parts.push(section("Earlier flags", earlier(one.history)));
    return parts;
  }

  // The stored file at full size; of an SVG, the picture that was drawn from it. Where that is missing, the thumbnail.
  function portrait(item) {
    const small = item.querySelector("img");
    if (!small) return element("p", "There is no flag.", { class: "no-portrait" });
    const file = item.querySelector("a").getAttribute("href");
    const drawn = small.getAttribute("src").replace("thumbnails/", "pictures/");
    const made = element("img", "", { src: file.endsWith(".svg") ? drawn : file, alt: `Flag of ${nameOf(item)}`, class: "portrait" });
    made.classList.toggle("tiny", item.classList.contains("tiny"));
    made.addEventListener("error", () => { made.src = small.src; }, { once: true });
    return made;
  }

  const visible = () => [...list.children].filter((item) => !item.hidden);

  async function show(item) {
    dialog.dataset.code = item.id;
    byId("details-name").replaceChildren(nameOf(item), " ", element("small", item.id));
    byId("stage").replaceChildren(portrait(item));
    byId("details-body").replaceChildren();
    const around = visible();
    const place = around.indexOf(item);
    byId("previous").ariaDisabled = place <= 0;
    byId("next").ariaDisabled = place < 0 || place === around.length - 1;
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    await load(item);
    if (dialog.dataset.code !== item.id) return;
    const one = details.get(item.id);
    const parts = one ? describe(item, one) : [element("p", "The details could not be loaded from the folder details.", { class: "reason" })];
    byId("details-body").replaceChildren(...parts);
  }

  function step(distance) {
    const around = visible();
    const item = around[around.indexOf(byId(dialog.dataset.code)) + distance];
    if (!item) return;
    show(item);
    history.replaceState(null, "", address(item.id));
  }

  list.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    // With these keys, browsers open the file in a new tab or save it.
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    history.pushState(null, "", address(link.parentElement.id));
    show(link.parentElement);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => {
    const link = byId(dialog.dataset.code).querySelector("a");
    link.focus();
    history.replaceState(null, "", address(""));
  });
  byId("close").addEventListener("click", () => dialog.close());
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (dialog.open && event.key === "ArrowLeft") step(-1);
    else if (dialog.open && event.key === "ArrowRight") step(1);
    else if (!dialog.open && event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) byId("search").focus();
    else return;
    event.preventDefault();
  });
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", () => { refresh(); keepAddress(); });
  // The fields are empty only after the event.
  controls.addEventListener("reset", () => setTimeout(() => { refresh(); keepAddress(); }));
  window.addEventListener("hashchange", () => {
    // Not for the link that skips to the flags.
    if (!byId(location.hash.slice(1))) applyAddress();
  });
  for (const item of items) item.querySelector("a").setAttribute("aria-haspopup", "dialog");
  controls.hidden = false;
  applyAddress();
})();
