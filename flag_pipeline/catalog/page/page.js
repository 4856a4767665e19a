"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const countries = JSON.parse(byId("data").textContent);
  const list = byId("flags");
  const items = [...list.children];
  const dialog = byId("details");
  const controls = byId("controls");

  // "aland" finds Åland: marks are taken off the letters on both sides.
  const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const haystacks = new Map(
    Object.entries(countries).map(([code, one]) => [code, fold([code, one.alpha3, one.numeric, one.tld, one.name, one.official, one.aliases].join("\n"))]),
  );
  const alphabet = new Intl.Collator("en");
  const byName = (a, b) => alphabet.compare(countries[a].name, countries[b].name);
  const descending = (cell) => (a, b) => {
    const [left, right] = [cell(countries[a]), cell(countries[b])];
    return left === right ? byName(a, b) : left < right ? 1 : -1;
  };
  const orders = {
    name: byName,
    code: (a, b) => (a < b ? -1 : 1),
    changed: descending((one) => one.changed),
    changes: descending((one) => one.nChanges),
    size: descending((one) => one.size ?? -1),
    ratio: descending((one) => one.decimal ?? -1),
  };

  function matches(code) {
    const one = countries[code];
    const colours = [...controls.querySelectorAll("input[name=colour]:checked")].map((box) => box.value);
    return (
      haystacks.get(code).includes(fold(byId("search").value.trim())) &&
      ["", one.status].includes(byId("status").value) &&
      ["", one.ratioGroup].includes(byId("ratio").value) &&
      colours.every((colour) => one.families.includes(colour))
    );
  }

  function refresh() {
    let shown = 0;
    for (const item of items) {
      item.hidden = !matches(item.dataset.code);
      shown += !item.hidden;
    }
    byId("count").textContent = `${shown} of ${items.length} shown`;
    byId("none").hidden = shown > 0;
  }

  function arrange() {
    const order = orders[byId("sort").value];
    items.sort((a, b) => order(a.dataset.code, b.dataset.code));
    list.append(...items);
  }

  function element(name, text, attributes = {}) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  const day = (moment) => (moment ? `${moment.slice(0, 10)} ${moment.slice(11, 16)} UTC` : "");
  const percent = (share) => `${Math.round(share * 100)} %`;

  function band(colours) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    const total = colours.reduce((sum, [, share]) => sum + share, 0) || 1;
    let x = 0;
    svg.setAttribute("class", "band");
    svg.setAttribute("viewBox", "0 0 100 1");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
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

  function history(changes) {
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

  function show(item) {
    const code = item.dataset.code;
    const one = countries[code];
    const picture = item.querySelector("img");
    const body = byId("details-body");
    byId("details-name").textContent = `${code} ${one.name}`;
    body.replaceChildren();
    if (picture) {
      const portrait = element("img", "", { src: picture.src, alt: `Flag of ${one.name}`, class: `portrait ${picture.className}` });
      body.append(portrait, band(one.colours));
      const shades = element("ul", "", { class: "shades", "aria-label": "Dominant colours" });
      shades.append(...one.colours.map(([hex, share]) => element("li", `${hex} ${percent(share)}`)));
      body.append(shades);
    }
    if (one.reason) body.append(element("p", one.reason, { class: "reason" }));
    body.append(facts(code, one));
    if (one.history.length) body.append(element("h3", "Earlier flags"), history(one.history));
    dialog.showModal();
    dialog.scrollTop = 0;
  }

  list.addEventListener("click", (event) => {
    const card = event.target.closest(".card");
    if (card) show(card.parentElement);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", refresh);
  byId("sort").addEventListener("change", arrange);
  controls.addEventListener("reset", () => setTimeout(() => { arrange(); refresh(); }));
  controls.hidden = false;
  arrange();
  refresh();
})();
