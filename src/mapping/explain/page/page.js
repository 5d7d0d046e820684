
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const detail = document.getElementById("detail");
  const hint = detail.firstElementChild;
  const panes = ["message", "bundle"].map((id) => document.getElementById(id));
  const values = panes.map((pane) => [...pane.querySelectorAll(".v, .j")]);
  const ends = data.assignments.map(() => []);
  for (const value of values.flat()) {
    for (const n of numbers(value)) ends[n].push(value);
    const fixed = numbers(value).every((n) => data.assignments[n].kind === "fixed");
    if (value.classList.contains("j") && fixed) value.classList.add("c");
  }
  let lit = [];
  let kept = null;

  function numbers(value) {
    return (value.dataset.a || "").split(" ").filter(Boolean).map(Number);
  }

  // What the value itself became, before what was made of the whole field.
  function nearest(value) {
    const last = (n) => (data.assignments[n].kind === "reference" ? 1 : 0);
    return numbers(value).sort((a, b) => last(a) - last(b));
  }

  function side(value) {
    return panes[0].contains(value) ? 0 : 1;
  }

  function light(value, scroll) {
    dark();
    const own = side(value);
    const all = new Set([value]);
    for (const n of nearest(value)) for (const end of ends[n]) if (side(end) !== own) all.add(end);
    lit = [...all];
    for (const end of lit) end.classList.add("lit");
    const other = lit.find((end) => side(end) !== own);
    if (other) show(other);
    if (scroll) show(value);
    tell(value);
  }

  function dark() {
    for (const end of lit) end.classList.remove("lit");
    lit = [];
  }

  // Scrolls the pane, never the page, and only when the value is out of sight.
  function show(value) {
    const fold = value.closest("details");
    if (fold) fold.open = true;
    const box = value.closest(".scroll");
    const outer = box.getBoundingClientRect();
    const inner = value.getBoundingClientRect();
    if (inner.top < outer.top + 8 || inner.bottom > outer.bottom - 8) {
      box.scrollTop += inner.top - outer.top - outer.height / 3;
    }
  }

  function make(tag, name, text) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function origin([path, name, raw]) {
    const box = make("span");
    box.append(make("span", "place", path));
    if (name) box.append(make("span", "name", name));
    box.append(make("span", "value", raw));
    return box;
  }

  function rules(list, kind) {
    const box = make("span", "rules");
    if (!list.length && kind === "envelope") box.append(make("span", "name", "Stoker itself"));
    list.forEach((rule, n) => {
      if (n) box.append(" \u203a ");
      box.append(make("code", "", rule));
    });
    return box;
  }

  function way(assignment) {
    const line = make("div", "way");
    const from = make("span");
    if (!assignment.from.length) from.append(make("span", "name", "no field: a rule sets it"));
    assignment.from.forEach((one, n) => {
      if (n) from.append(make("br"));
      from.append(origin(one));
    });
    const to = make("span");
    to.append(make("span", "place", assignment.to));
    if (assignment.in) to.append(make("span", "name", assignment.in));
    to.append(make("span", "value", assignment.value));
    to.append(rules(assignment.rules, assignment.kind));
    line.append(from, make("span", "arrow", "\u2192"), to);
    return line;
  }

  function left(unmapped) {
    const line = make("div", unmapped.loss ? "way lost" : "way");
    const why = make("span");
    why.append(make("span", "why", (unmapped.loss ? "not mapped: " : "") + unmapped.why), rules(unmapped.rules));
    line.append(origin(unmapped.from), make("span", "arrow", "\u2205"), why);
    return line;
  }

  function tell(value) {
    const lines = [];
    if (value.dataset.u !== undefined) lines.push(left(data.unmapped[Number(value.dataset.u)]));
    const own = nearest(value).map((n) => data.assignments[n]);
    for (const assignment of own.slice(0, 12)) lines.push(way(assignment));
    if (own.length > 12) lines.push(make("p", "more", `and ${own.length - 12} more elements`));
    detail.replaceChildren(...lines);
    if (!lines.length) detail.replaceChildren(hint);
  }

  function keep(value) {
    kept = value;
    for (const other of values[side(value)]) other.tabIndex = -1;
    value.tabIndex = 0;
    value.focus({ preventScroll: true });
    light(value, true);
  }

  function release() {
    kept = null;
    dark();
    detail.replaceChildren(hint);
  }

  function nextUnmapped() {
    const lost = values[0].filter((value) => value.classList.contains("u"));
    if (!lost.length) return;
    const at = lost.indexOf(kept);
    keep(lost[(at + 1) % lost.length]);
  }

  function step(by) {
    const list = values[kept ? side(kept) : 0];
    const at = list.indexOf(kept);
    const next = list[Math.min(list.length - 1, Math.max(0, at + by))];
    if (next) keep(next);
  }

  function across() {
    const other = kept && lit.find((end) => side(end) !== side(kept));
    if (other) keep(other);
  }

  for (const pane of panes) {
    pane.addEventListener("pointerover", (event) => {
      const value = event.target.closest(".v, .j");
      if (value && !kept) light(value, false);
    });
    pane.addEventListener("pointerleave", () => {
      if (!kept) release();
    });
    pane.addEventListener("click", (event) => {
      const go = event.target.closest("[data-go]");
      if (go) {
        const id = go.dataset.go;
        const value = id.startsWith("u")
          ? values[0].find((one) => one.dataset.u === id.slice(1))
          : document.getElementById(id);
        if (value) keep(value);
        return;
      }
      const value = event.target.closest(".v, .j");
      if (value && value !== kept) keep(value);
      else if (!event.target.closest("summary, button")) release();
    });
    pane.addEventListener("focusin", (event) => {
      if (event.target.matches(".v, .j") && event.target !== kept) keep(event.target);
    });
  }
  values.forEach((list) => {
    if (list.length) list[0].tabIndex = 0;
  });
  document.getElementById("next")?.addEventListener("click", nextUnmapped);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const keys = {
      ArrowRight: () => step(1),
      ArrowLeft: () => step(-1),
      Enter: across,
      Escape: release,
      n: nextUnmapped,
    };
    const act = keys[event.key];
    if (!act || (event.key === "Enter" && !event.target.matches(".v, .j"))) return;
    if (event.key.startsWith("Arrow") && event.target.matches("summary")) return;
    event.preventDefault();
    act();
  });
  // A page can be opened on a value: page.html#o120 is the value at that offset of the message.
  const start = location.hash && document.getElementById(location.hash.slice(1));
  if (start && start.matches(".v")) keep(start);
})();
