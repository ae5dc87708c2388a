"use strict";
// The page is complete without this script: it adds search, sorting and pages to the table of
// concepts, and tells what the reader points at in a chart. Text is only ever set as text.

(() => {
  const byId = (id) => document.getElementById(id);
  const make = (name, text, kind) => {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    if (kind) node.className = kind;
    return node;
  };
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

  function table() {
    const source = byId("concept-data");
    if (!source) return;
    const data = JSON.parse(source.textContent);
    const PAGE = 50;
    const folded = data.names.map((name) => name.toLowerCase());
    const sides = new Map(data.sides.map((side) => [side.id, side]));
    const columns = new Map([...data.sides, ...data.extra].map((column) => [column.id, column]));
    const sorts = ["concept", ...columns.keys(), ...(data.share ? ["share"] : [])];
    const all = byId("all-columns");
    const start = { q: "", only: "", sort: "", dir: "", columns: "", page: 1 };
    let state = { ...start };

    const keep = (i) => {
      if (!folded[i].includes(state.q.trim().toLowerCase())) return false;
      if (state.only === "found") return data.sides.some((side) => side.n[i] > 0);
      if (!state.only.startsWith("never_")) return true;
      return sides.get(state.only.slice(6)).n[i] === 0;
    };

    const ordered = () => {
      const rows = [];
      for (let i = 0; i < folded.length; i++) if (keep(i)) rows.push(i);
      if (!state.sort) return rows;
      const turn = state.dir === "asc" ? 1 : -1;
      if (state.sort === "concept") {
        const order = new Intl.Collator("en", { numeric: true }).compare;
        return rows.sort((a, b) => turn * order(data.names[a], data.names[b]) || a - b);
      }
      const values = state.sort === "share" ? data.share : columns.get(state.sort).n;
      // what is unknown stays at the end in both directions
      return rows.sort((a, b) => {
        if (values[a] === null || values[b] === null) {
          return (values[a] === null) - (values[b] === null) || a - b;
        }
        return turn * (values[a] - values[b]) || a - b;
      });
    };

    const cell = (column, i, kind) => {
      if (column.n[i] === null) return make("td", "–", kind);
      const made = make("td", number.format(column.n[i]), kind);
      if (column.low && column.low[i] !== null) {
        made.append(make("small", `${number.format(column.low[i])}–${number.format(column.high[i])}`));
      }
      return made;
    };
    const row = (i) => {
      const line = make("tr");
      const name = make("th", data.names[i]);
      name.scope = "row";
      line.append(name, ...data.sides.map((side) => cell(side, i, "num")));
      if (data.share) {
        const share = data.share[i];
        line.append(make("td", share === null ? "–" : `${number.format(100 * share)}\u00a0%`, "num"));
      }
      line.append(...data.extra.map((column) => cell(column, i, "num extra")));
      return line;
    };

    const draw = () => {
      const rows = ordered();
      const pages = Math.max(1, Math.ceil(rows.length / PAGE));
      state.page = Math.min(Math.max(1, state.page), pages);
      const first = (state.page - 1) * PAGE;
      byId("concept-rows").replaceChildren(...rows.slice(first, first + PAGE).map(row));
      const total = number.format(folded.length);
      byId("concept-caption").textContent =
        rows.length === folded.length ? `${total} concepts` : `${number.format(rows.length)} of ${total} concepts`;
      byId("page-now").textContent = `page ${number.format(state.page)} of ${number.format(pages)}`;
      byId("page-back").disabled = state.page === 1;
      byId("page-on").disabled = state.page === pages;
      for (const head of document.querySelectorAll("#concept-table thead th")) {
        const sorted = head.firstElementChild.dataset.sort === state.sort;
        if (sorted) head.setAttribute("aria-sort", state.dir === "asc" ? "ascending" : "descending");
        else head.removeAttribute("aria-sort");
      }
    };

    // The state is in the address, so that a view can be kept as a bookmark or sent to somebody.
    const remember = () => {
      const hash = new URLSearchParams();
      for (const key of Object.keys(start)) {
        if (state[key] !== start[key]) hash.set(key, state[key]);
      }
      const text = hash.toString();
      history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    };
    const recall = () => {
      const hash = location.hash.slice(1);
      if (!hash.includes("=")) return false;
      const given = new URLSearchParams(hash);
      const only = given.get("only") || "";
      const sort = given.get("sort") || "";
      state = {
        q: given.get("q") || "",
        only: only === "found" || sides.has(only.slice(6)) ? only : "",
        sort: sorts.includes(sort) ? sort : "",
        dir: given.get("dir") || (sort === "concept" ? "asc" : "desc"),
        columns: all && given.get("columns") === "all" ? "all" : "",
        page: parseInt(given.get("page"), 10) || 1,
      };
      byId("q").value = state.q;
      byId("only").value = state.only;
      if (all) all.checked = state.columns === "all";
      return true;
    };
    const change = (what) => {
      state = { ...state, page: 1, ...what };
      draw();
      remember();
    };

    for (const button of document.querySelectorAll("#concept-table thead button")) {
      button.addEventListener("click", () => {
        const sort = button.dataset.sort;
        const usual = sort === "concept" ? "asc" : "desc";
        const again = state.sort === sort && state.dir === usual;
        change({ sort, dir: again ? (usual === "asc" ? "desc" : "asc") : usual });
      });
    }
    byId("q").addEventListener("input", (event) => change({ q: event.target.value }));
    byId("only").addEventListener("change", (event) => change({ only: event.target.value }));
    if (all) {
      all.addEventListener("change", () => {
        state.columns = all.checked ? "all" : "";
        remember();
      });
    }
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
    byId("page-back").addEventListener("click", () => change({ page: state.page - 1 }));
    byId("page-on").addEventListener("click", () => change({ page: state.page + 1 }));
    byId("controls").hidden = false;
    document.querySelector(".pager").hidden = false;
    const show = (scroll) => {
      const found = recall();
      draw();
      if (found && scroll) byId("concepts").scrollIntoView();
    };
    window.addEventListener("hashchange", () => show(true));
    show(true);
  }

  function chart(stage) {
    const source = byId(`${stage.id}-points`);
    if (!source) return;
    const points = JSON.parse(source.textContent);
    const tip = stage.querySelector(".tip");
    let at = -1;

    const drawing = () =>
      [...stage.querySelectorAll("svg")].find((svg) => svg.getClientRects().length > 0);
    const place = (svg, point) => {
      const plot = svg.querySelector(".plot");
      const side = (name) => parseFloat(plot.getAttribute(name));
      return [
        side("x") + side("width") * point[0],
        side("y") + side("height") * (1 - point[1]),
      ];
    };
    const hide = () => {
      tip.hidden = true;
      for (const ring of stage.querySelectorAll(".focus")) ring.classList.remove("on");
    };
    const show = (index) => {
      const svg = drawing();
      if (!svg || !points[index]) return;
      at = index;
      const [x, y] = place(svg, points[index]);
      const ring = svg.querySelector(".focus");
      ring.setAttribute("cx", x);
      ring.setAttribute("cy", y);
      ring.classList.add("on");
      tip.textContent = points[index][2];
      tip.hidden = false;
      const scale = svg.clientWidth / svg.viewBox.baseVal.width;
      const room = stage.clientWidth - tip.offsetWidth;
      tip.style.left = `${Math.max(0, Math.min(room, x * scale - tip.offsetWidth / 2))}px`;
      const above = y * scale - tip.offsetHeight - 14;
      tip.style.top = `${above > 0 ? above : y * scale + 14}px`;
    };
    const point = (event) => {
      const svg = drawing();
      if (!svg) return;
      const box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      const x = (event.clientX - box.left) * scale;
      const y = (event.clientY - box.top) * scale;
      let best = -1;
      let least = 40 * 40;
      points.forEach((candidate, i) => {
        const [px, py] = place(svg, candidate);
        const distance = (px - x) ** 2 + (py - y) ** 2;
        if (distance < least) [best, least] = [i, distance];
      });
      if (best < 0) hide();
      else show(best);
    };
    stage.addEventListener("pointermove", point);
    stage.addEventListener("pointerdown", point);
    // in the report a mark leads to its row of the table, in the explorer to its concept's page
    const go = () => {
      const concept = points[at] && points[at][3];
      const base = document.body.dataset.concept;
      if (concept && base && !tip.hidden) location.href = base + encodeURIComponent(concept);
    };
    stage.addEventListener("click", (event) => {
      point(event);
      go();
    });
    stage.addEventListener("pointerleave", hide);
    stage.addEventListener("blur", hide);
    stage.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20 };
      if (event.key === "Escape") hide();
      if (event.key === "Enter") go();
      if (event.key === "Home") show(0);
      if (event.key === "End") show(points.length - 1);
      if (event.key in steps) show(Math.min(points.length - 1, Math.max(0, at + steps[event.key])));
      if (event.key in steps || event.key === "Home" || event.key === "End") event.preventDefault();
    });
  }

  table();
  document.querySelectorAll(".stage").forEach(chart);
  // parts of a page that the explorer's server sends later
  document.addEventListener("htmx:load", (event) => event.target.querySelectorAll(".stage").forEach(chart));
})();
