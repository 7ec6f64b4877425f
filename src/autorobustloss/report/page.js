"use strict";
(() => {
  const root = document.documentElement, all = (where, what) => [...where.querySelectorAll(what)];

  // A switch between light and dark, which remembers what was chosen; without one the system's choice holds.
  const button = document.getElementById("theme"), dark = matchMedia("(prefers-color-scheme: dark)");
  const kept = (...values) => { try { return values.length ? localStorage.setItem("arl-theme", values[0]) : localStorage.getItem("arl-theme"); } catch { return null; } };
  const theme = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const label = () => { button.textContent = theme() === "dark" ? "Light theme" : "Dark theme"; };
  if (["light", "dark"].includes(kept())) root.dataset.theme = kept();
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = theme() === "dark" ? "light" : "dark"; kept(root.dataset.theme); label(); });
  dark.addEventListener("change", label);
  label();

  // Heads of columns become buttons that sort: numbers by data-value, absent ones last, else texts.
  const value = (row, column) => row.cells[column].dataset.value ?? null;
  const order = (column, sign, numeric) => (a, b) => {
    const [x, y] = [value(a, column), value(b, column)];
    if (!numeric) return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent, "en", { numeric: true });
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (x - y);
  };
  for (const table of all(document, "table.sortable")) {
    const heads = all(table, "thead th"), body = table.tBodies[0];
    heads.forEach((head, column) => {
      const sorter = document.createElement("button");
      sorter.type = "button";
      sorter.append(...head.childNodes);
      head.append(sorter);
      sorter.addEventListener("click", () => {
        const rows = [...body.rows], numeric = rows.some((row) => value(row, column) !== null);
        const falling = head.hasAttribute("aria-sort") ? head.ariaSort === "ascending" : numeric && !/^(rank|p|cost)$/.test(head.textContent);
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        body.append(...rows.sort(order(column, falling ? -1 : 1, numeric)));
      });
    });
  }

  // Charts: what a place says is shown below its panel, for the place pointed at or the one the slider stands at.
  for (const figure of all(document, "figure.chart")) {
    const panels = all(figure, ".panel").map((panel) => ({
      guide: panel.querySelector(".guide"), readout: panel.querySelector(".readout"), name: panel.querySelector(".panel-title").textContent,
      zones: all(panel, ".zone").map((zone) => {
        const text = zone.textContent;
        zone.replaceChildren();
        return { zone, text, x: Number(zone.dataset.x), at: zone.dataset.at };
      }),
    }));
    const places = [...new Set(panels.flatMap((panel) => panel.zones.map((zone) => zone.x)))].sort((a, b) => a - b);
    const slider = figure.querySelector("input");
    const show = () => {
      const x = places[slider.value], nearest = (a, b) => (Math.abs(b.x - x) < Math.abs(a.x - x) ? b : a);
      slider.setAttribute("aria-valuetext", panels.map((panel) => {
        const zone = panel.zones.reduce(nearest);
        panel.guide.setAttribute("x1", zone.at);
        panel.guide.setAttribute("x2", zone.at);
        panel.guide.classList.add("on");
        panel.readout.textContent = zone.text;
        return `${panel.name}, ${zone.text}`;
      }).join("; "));
    };
    slider.max = places.length - 1;
    slider.value = slider.max;
    slider.closest("label").hidden = places.length < 2;
    slider.addEventListener("input", show);
    slider.addEventListener("focus", show);
    for (const { zone, x } of panels.flatMap((panel) => panel.zones)) {
      for (const event of ["pointerenter", "pointerdown"]) zone.addEventListener(event, () => { slider.value = places.indexOf(x); show(); });
    }
  }

  // On paper nothing is folded.
  let folded = [];
  addEventListener("beforeprint", () => { folded = all(document, "details:not([open])"); folded.forEach((each) => { each.open = true; }); });
  addEventListener("afterprint", () => folded.forEach((each) => { each.open = false; }));
})();
