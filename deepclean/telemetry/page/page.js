// The page of a running daemon. It only reads: status, spectra, timeline and events, each again
// and again, and draws what it finds. Nothing comes from elsewhere, and nothing is written.
"use strict";

(() => {
  const EVERY = { status: 2000, events: 2000, spectra: 4000, timeline: 10000 };
  const LOST = 10000; // milliseconds without an answer after which the daemon counts as away
  const SVG = "http://www.w3.org/2000/svg";
  const LEVELS = ["OK", "WARNING", "CRITICAL", "UNKNOWN"];

  const state = {
    status: null, spectra: null, minutes: new Map(), events: [], since: 0,
    answered: performance.now(), hours: 4, asked: false, chosen: null, software: null, drawn: "",
  };
  const byId = (id) => document.getElementById(id);

  // ---- elements

  function put(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  function shape(name, attributes = {}, text = null) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== null) made.textContent = text;
    return made;
  }

  const entry = (term, ...found) =>
    put("div", {}, put("dt", {}, term), put("dd", {}, ...found));

  // ---- words

  const number = (value, digits) => (value === null || value === undefined
    ? "–" : value.toFixed(digits).replace(/^-(0(\.0*)?)$/, "$1"));
  const seconds = (value) => (value < 120 ? `${value.toFixed(0)} s`
    : value < 7200 ? `${(value / 60).toFixed(0)} min` : `${(value / 3600).toFixed(1)} h`);
  const counted = (counts) => Object.entries(counts).filter(([, n]) => n)
    .map(([why, n]) => `${n} ${why}`).join(", ");
  const total = (counts) => Object.values(counts).reduce((sum, n) => sum + n, 0);
  const clock = (unix, full) => new Date(1000 * unix).toISOString().slice(11, full ? 19 : 16);
  const gps = (ns) => (ns === null ? "–" : String(Math.round(ns / 1e9)));

  // ---- the head and the figures

  function drawHead() {
    const status = state.status;
    const away = performance.now() - state.answered;
    const lost = away > LOST;
    document.body.classList.toggle("lost", lost);
    const pill = byId("health");
    const level = lost ? 3 : status ? status.health.num_status : 1;
    const word = lost ? "not reachable" : status ? LEVELS[level] : "starting";
    if (pill.textContent !== word) pill.textContent = word;
    pill.className = `pill level-${level}`;
    const why = lost
      ? [`the daemon has not answered for ${seconds(away / 1000)}; this page goes on asking`]
      : status ? status.health.why : [];
    const list = byId("why");
    if (list.textContent !== why.join("")) {
      list.replaceChildren(...why.map((text) => put("li", {}, text)));
    }
    const age = (away / 1000 + (status ? status.age : 0)).toFixed(0);
    byId("fresh").textContent = status
      ? `${clock(status.written + (lost ? 0 : status.age), true)} UTC, updated ${age} s ago` : "";
    document.title = status ? `${status.interferometer} ${word} – DeepClean` : "DeepClean";
  }

  function drawFigures() {
    const status = state.status;
    const { ledger, latency } = status;
    const cleaned = ledger.written.cleaned || 0;
    const reduced = total(ledger.written) - cleaned;
    const others = { ...ledger.written };
    delete others.cleaned;
    const small = (text) => put("small", {}, text);
    const waiting = status.waiting.strain || 0;
    byId("interferometer").textContent = status.interferometer;
    byId("software").textContent = `deepclean ${status.software}, process ${status.process}, `
      + `up ${seconds(status.written - status.started)}, look-ahead ${status.lookahead.toFixed(3)} s`;
    byId("figures").replaceChildren(
      entry("latency", latency ? `${latency.median.toFixed(3)} s` : "–", small(latency
        ? `last ${latency.last.toFixed(3)}, worst ${latency.worst.toFixed(3)} of ${latency.frames}`
        : "no frame yet")),
      entry("backlog", `${ledger.inside} frame${ledger.inside === 1 ? "" : "s"}`,
        small(waiting > 1 ? `waiting for strain for ${seconds(waiting)}` : "taken, not yet written")),
      entry("last output", gps(ledger.last_out), small(`input to ${gps(ledger.last_in)} GPS`)),
      entry("cleaned", String(cleaned), small("frames since the start")),
      entry("reduced", String(reduced), small(counted(others) || "none")),
      entry("lost", String(total(ledger.lost)), small(counted(ledger.lost) || "none")),
      entry("without strain", `${total(ledger.gaps)} s`, small(counted(ledger.gaps) || "none")),
      entry("state bits", status.state
        ? `${Object.values(status.state).filter(Boolean).length} of `
          + `${Object.keys(status.state).length} set` : "–",
      small(status.state ? Object.keys(status.state).filter((bit) => !status.state[bit])
        .map((bit) => `${bit} is 0`).join(", ") || "all good" : "no frame yet")),
    );
  }

  // ---- spectra

  function ticks(low, high) {
    // Powers of ten, and 2 and 5 between them where there are few of those.
    const fine = high - low < 2 ? [1, 2, 5] : [1];
    const found = [];
    for (let power = Math.floor(low); power <= high; power += 1) {
      for (const digit of fine) {
        const at = power + Math.log10(digit);
        if (at >= low && at <= high) found.push([at, `${digit}e${power}`]);
      }
    }
    const step = Math.ceil(found.length / 6);
    return found.filter((_, index) => index % step === 0);
  }

  function frequencyTicks(low, high, logarithmic, most) {
    if (logarithmic) {
      return [10, 20, 50, 100, 200, 500, 1000, 2000, 5000].filter((f) => f >= low && f <= high);
    }
    const raw = (high - low) / most;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
    const found = [];
    for (let f = Math.ceil(low / step) * step; f <= high; f += step) found.push(f);
    return found;
  }

  function drawSpectrum(svg, spectrum, bands, logarithmic, height, about) {
    const width = Math.max(svg.clientWidth, 200);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    svg.setAttribute("aria-label", about);
    if (!spectrum) {
      svg.replaceChildren(shape("text", { x: 12, y: 24 }, "no spectrum yet"));
      return;
    }
    const [left, right, top, bottom] = [44, width - 8, 8, height - 22];
    const values = [...spectrum.raw, ...spectrum.cleaned].filter((v) => v !== null);
    const peak = Math.max(...(spectrum.estimate || []).filter((v) => v !== null), -Infinity);
    let low = Math.min(...values);
    let high = Math.max(...values, peak);
    if (!Number.isFinite(low)) [low, high] = [-1, 0];
    const margin = Math.max(0.05 * (high - low), 0.05);
    [low, high] = [low - margin, high + margin];
    const scale = logarithmic ? Math.log10 : (f) => f;
    const first = scale(spectrum.frequency[0]);
    const last = scale(spectrum.frequency[spectrum.frequency.length - 1]);
    const x = (f) => left + (right - left) * (scale(f) - first) / (last - first || 1);
    const y = (v) => bottom - (bottom - top) * (v - low) / (high - low);
    const parts = [];
    for (const [from, to] of bands) {
      const [a, b] = [Math.max(x(from), left), Math.min(x(to), right)];
      if (b > a) {
        parts.push(shape("rect", { x: a, y: top, width: b - a, height: bottom - top,
          class: "band" }));
      }
    }
    for (const [at, text] of ticks(low, high)) {
      parts.push(shape("line", { x1: left, x2: right, y1: y(at), y2: y(at), class: "grid" }));
      parts.push(shape("text", { x: left - 4, y: y(at) + 4, "text-anchor": "end" }, text));
    }
    const edges = [spectrum.frequency[0], spectrum.frequency[spectrum.frequency.length - 1]];
    for (const f of frequencyTicks(...edges, logarithmic, width / 70)) {
      parts.push(shape("line", { x1: x(f), x2: x(f), y1: top, y2: bottom, class: "grid" }));
      parts.push(shape("text", { x: x(f), y: bottom + 15, "text-anchor": "middle" },
        `${Number(f.toFixed(2))}`));
    }
    for (const name of ["estimate", "raw", "cleaned"]) {
      const curve = spectrum[name];
      if (!curve) continue;
      let path = "";
      let pen = "M";
      curve.forEach((value, index) => {
        if (value === null || value < low) {
          pen = "M";
          return;
        }
        path += `${pen}${x(spectrum.frequency[index]).toFixed(1)} ${y(value).toFixed(1)}`;
        pen = "L";
      });
      parts.push(shape("path", { d: path, class: `curve ${name}` }));
    }
    svg.replaceChildren(...parts);
  }

  // ---- couplings

  function gateBadge(coupling) {
    if (!coupling) return ["part", "no frame yet"];
    if (coupling.gate === null) return ["", "no gate"];
    return coupling.closed > 0 ? ["bad", "gate closed"] : ["ok", "gate open"];
  }

  function makeCard(name, settings) {
    const card = put("article", { class: "card", "data-coupling": name, "aria-label": name },
      put("div", { class: "bar" }, put("h3", {}, name), put("span", { class: "badge" })),
      put("p", { class: "quiet about" }));
    const bands = settings.bands.map(([low, high]) => `${low}–${high} Hz`).join(", ");
    const about = [settings.about, bands,
      `${settings.witnesses} witness${settings.witnesses === 1 ? "" : "es"}`];
    card.querySelector(".about").textContent = about.filter(Boolean).join("; ");
    card.append(shape("svg", { role: "img", class: "spectrum" }), put("dl", {}),
      put("div", { class: "trial" }));
    return card;
  }

  function drawCouplings() {
    const status = state.status;
    const names = Object.keys(status.configured);
    const box = byId("couplings");
    const cards = new Map([...box.children].map((card) => [card.dataset.coupling, card]));
    if (names.join() !== [...cards.keys()].join()) {
      box.replaceChildren(...names.map((name) => makeCard(name, status.configured[name])));
    }
    for (const card of box.children) {
      drawCard(card, status.couplings[card.dataset.coupling], status.models);
    }
  }

  function drawCard(card, coupling, models) {
    const name = card.dataset.coupling;
    const badge = card.querySelector(".badge");
    const [kind, word] = gateBadge(coupling);
    badge.className = `badge ${kind}`;
    badge.textContent = word;
    const rows = [];
    const row = (term, text) => rows.push(put("dt", {}, term), put("dd", {}, text));
    if (coupling) {
      row("in-band ratio", `${number(coupling.asd_ratio, 3)} cleaned over raw, net effect `
        + number(coupling.net, 3));
      row("gain", number(coupling.gain, 2)
        + (coupling.reasons.length ? `: ${coupling.reasons.join(", ")}` : ""));
      if (coupling.amplitude !== null) {
        row("adaptation", `× ${number(coupling.amplitude, 3)}, `
          + `${number(coupling.phase * 180 / Math.PI, 1)}°`);
      }
      if (coupling.gate !== null) {
        row("gate", coupling.gate + (coupling.closings ? `; closed ${coupling.closings} time`
          + `${coupling.closings === 1 ? "" : "s"} since the start` : ""));
      }
      if (coupling.without.length) row("goes on without", coupling.without.join(", "));
    }
    row("model", `version ${models[name] || "–"}`
      + (coupling && coupling.hash ? `, ${coupling.hash.slice(0, 8)}` : ""));
    card.querySelector("dl").replaceChildren(...rows);
    const trial = coupling && coupling.canary;
    card.querySelector(".trial").replaceChildren(...(trial ? [
      put("p", {}, `Canary ${trial.version} on trial: in spec for ${seconds(trial.in_spec)} of `
        + `${seconds(trial.wanted)}, ratio ${number(trial.asd_ratio, 3)} against production's `
        + number(trial.production_asd_ratio, 3)),
      put("progress", { max: trial.wanted, value: trial.in_spec,
        "aria-label": `trial of canary ${trial.version}` })] : []));
  }

  function drawSpectra() {
    const { spectra, status } = state;
    if (!spectra || !status) return;
    byId("averaged").textContent = spectra.averaged
      ? `median of ${spectra.averaged} × 2 s, to GPS ${Math.round(spectra.gps)}` : "";
    const bands = [];
    for (const card of byId("couplings").children) {
      const name = card.dataset.coupling;
      const own = status.configured[name].bands;
      bands.push(...own);
      drawSpectrum(card.querySelector("svg"), spectra.couplings[name], own, false, 190,
        `Spectra around the bands of ${name}: raw, cleaned and estimate`);
    }
    drawSpectrum(byId("strain"), spectra.whole, bands, true, 240,
      "Spectra of the whole strain, raw and cleaned");
  }

  // ---- the timeline

  function lane(minute, name) {
    if (name === "output") {
      const frames = total(minute.frames);
      if (total(minute.lost)) return "bad";
      if (!frames) return minute.starts ? "none" : "bad";
      return minute.frames.cleaned === frames ? "ok" : minute.frames.cleaned ? "part" : "bad";
    }
    if (name === "input") {
      const without = Math.max(total(minute.gaps), minute.waiting);
      return without >= 50 ? "bad" : without ? "part" : "ok";
    }
    if (name === "witnesses") return minute.witnesses.length ? "part" : "ok";
    const coupling = minute.couplings[name.slice(5)];
    if (!coupling) return "none";
    return coupling.closed === 1 ? "bad" : coupling.closed ? "part" : "ok";
  }

  function drawTimeline() {
    if (!state.status) return;
    const svg = byId("timeline");
    const width = Math.max(svg.clientWidth, 200);
    const names = ["output", "input", "witnesses",
      ...Object.keys(state.status.configured).map((name) => `gate ${name}`)];
    const [left, right, step, top] = [Math.min(110, width / 3.4), width - 6, 18, 6];
    const plot = 40;
    const height = top + names.length * step + plot + 28;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    const now = Math.floor((state.status.written) / 60) * 60;
    const first = now - 3600 * state.hours + 60;
    const x = (t) => left + (right - left) * (t - first) / (now + 60 - first);
    const minutes = [...state.minutes.values()].filter((m) => m.t >= first && m.t <= now);
    const parts = [];
    names.forEach((name, index) => {
      const y = top + index * step;
      parts.push(shape("text", { x: 6, y: y + 12, class: "name" }, name));
      let run = null;
      const close = () => {
        if (!run) return;
        const tall = { ok: 5, part: 9, bad: 14, none: 2 }[run.kind];
        parts.push(shape("rect", { x: x(run.from), width: Math.max(x(run.to) - x(run.from), 1),
          y: y + 1 + (14 - tall), height: tall, class: run.kind }));
        run = null;
      };
      for (const minute of minutes) {
        const kind = lane(minute, name);
        if (run && (run.kind !== kind || run.to !== minute.t)) close();
        run = run || { kind, from: minute.t };
        run.to = minute.t + 60;
      }
      close();
    });
    const base = top + names.length * step + plot;
    parts.push(shape("text", { x: 6, y: base - plot / 2 + 8, class: "name" }, "latency"));
    const known = minutes.filter((m) => m.latency !== null);
    const most = Math.max(...known.map((m) => m.latency), 1);
    let path = "";
    let before = null;
    for (const minute of known) {
      const y = base - (plot - 8) * minute.latency / most;
      path += `${before === minute.t - 60 ? "L" : "M"}${x(minute.t).toFixed(1)} ${y.toFixed(1)}`;
      path += `L${x(minute.t + 60).toFixed(1)} ${y.toFixed(1)}`;
      before = minute.t;
    }
    parts.push(shape("line", { x1: left, x2: right, y1: base, y2: base, class: "grid" }));
    parts.push(shape("path", { d: path, class: "latency" }));
    parts.push(shape("text", { x: left - 4, y: base - plot + 14, "text-anchor": "end" },
      `${most.toFixed(1)} s`));
    for (const minute of minutes.filter((m) => m.starts)) {
      parts.push(shape("line", { x1: x(minute.t), x2: x(minute.t), y1: top, y2: base,
        class: "restart" }));
    }
    const every = state.hours <= 1 ? 600 : state.hours <= 4 ? 3600 : 10800;
    for (let t = Math.ceil(first / every) * every; t <= now; t += every) {
      parts.push(shape("line", { x1: x(t), x2: x(t), y1: base, y2: base + 4, class: "grid" }));
      if (x(t) > left + 14 && x(t) < right - 14) {
        parts.push(shape("text", { x: x(t), y: base + 16, "text-anchor": "middle" }, clock(t)));
      }
    }
    if (state.chosen !== null && state.chosen >= first) {
      const at = x(state.chosen + 30);
      parts.push(shape("line", { x1: at, x2: at, y1: top, y2: base, class: "cursor" }));
    }
    svg.replaceChildren(...parts);
    svg.setAttribute("aria-label",
      `The last ${state.hours} hours by minute: output, input, witnesses, gates, latency`);
    svg.minuteAt = (px) => Math.floor((first + (px - left) / (right - left) * (now + 60 - first))
      / 60) * 60;
    svg.limits = [first, now];
    drawMinute();
  }

  function drawMinute() {
    if (state.chosen === null) return;
    const minute = state.minutes.get(state.chosen);
    const said = [`${clock(state.chosen)} UTC`];
    if (!minute) {
      said.push("nothing is known: the daemon did not run, or before its memory");
    } else {
      said.push(`${total(minute.frames)} frames (${counted(minute.frames) || "none"})`);
      if (total(minute.gaps)) said.push(`without strain: ${counted(minute.gaps)} s`);
      else if (minute.waiting) said.push(`waited for strain for ${minute.waiting} s`);
      if (total(minute.lost)) said.push(`lost: ${counted(minute.lost)}`);
      if (minute.latency !== null) said.push(`latency at most ${minute.latency.toFixed(2)} s`);
      if (minute.witnesses.length) said.push(`in trouble: ${minute.witnesses.join(", ")}`);
      for (const [name, one] of Object.entries(minute.couplings)) {
        said.push(`${name}: gate ${one.closed === 1 ? "closed" : one.closed ? "closed in part"
          : "open"}, gain ${one.gain.toFixed(2)}, ratio ${number(one.asd_ratio, 3)}`);
      }
      if (minute.starts) said.push("the daemon started");
    }
    byId("minute").textContent = said.join(" · ");
  }

  // ---- witnesses and events

  function drawWitnesses() {
    const box = byId("witnesses");
    const found = state.status.witnesses;
    if (!found.length) {
      box.replaceChildren(put("p", { class: "quiet" }, "None within the last hour."));
      return;
    }
    const head = put("tr", {}, ...["witness", "trouble", "frames", "last"].map((text) =>
      put("th", { scope: "col" }, text)));
    box.replaceChildren(put("table", {}, put("thead", {}, head), put("tbody", {},
      ...found.map((one) => put("tr", {}, put("td", {}, one.channel), put("td", {}, one.reason),
        put("td", {}, String(one.frames)),
        put("td", {}, one.now ? put("b", { class: "ERROR" }, "now") : `GPS ${one.last}`))))));
  }

  function drawEvents() {
    byId("events").replaceChildren(...state.events.slice(-100).reverse().map((event) =>
      put("li", {}, put("time", {}, clock(event.time, true)),
        event.level === "INFO" ? null : put("b", { class: event.level }, event.level.toLowerCase()),
        event.message)));
  }

  // ---- asking

  async function ask(path) {
    const answer = await fetch(path, { signal: AbortSignal.timeout(8000), cache: "no-store" });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return answer.json();
  }

  function takeStatus(status) {
    const before = state.status;
    if (state.software !== null && status.software !== state.software) {
      window.location.reload(); // another release: its page may be another too
      return;
    }
    state.software = status.software;
    state.answered = performance.now();
    if (before && before.started !== status.started) {
      state.since = 0;
      state.events.push({ time: status.started, level: "WARNING",
        message: "the daemon started again" });
    }
    state.status = status;
    drawHead();
    drawFigures();
    drawCouplings();
    drawWitnesses();
    if (!before) {
      drawTimeline();
      drawSpectra();
    }
  }

  const takes = {
    status: async () => takeStatus(await ask("status")),
    spectra: async () => {
      state.spectra = await ask("spectra");
      drawSpectra();
    },
    timeline: async () => {
      const known = Math.max(0, ...state.minutes.keys());
      for (const one of (await ask(`timeline?since=${Math.max(known - 120, 0)}`)).minutes) {
        state.minutes.set(one.t, one);
      }
      for (const t of state.minutes.keys()) {
        if (t < known - 13 * 3600) state.minutes.delete(t);
      }
      if (!state.asked && state.status) {
        // A young daemon has little to show: the shortest range that holds it all.
        const age = (state.status.written - Math.min(...state.minutes.keys())) / 3600;
        state.hours = [1, 4, 12].find((hours) => age < hours) || 12;
        document.querySelector(`input[name=hours][value="${state.hours}"]`).checked = true;
      }
      drawTimeline();
    },
    events: async () => {
      const { events } = await ask(`events?since=${state.since}`);
      if (!events.length) return;
      state.since = events[events.length - 1].id;
      state.events = [...state.events, ...events].slice(-300);
      drawEvents();
    },
  };

  function again(what) {
    const next = () => window.setTimeout(() => again(what), EVERY[what]);
    if (document.hidden && state[what === "timeline" ? "status" : what]) {
      next();
      return;
    }
    takes[what]().catch(() => drawHead()).finally(next);
  }

  function choose(minute) {
    const [first, last] = byId("timeline").limits || [minute, minute];
    state.chosen = Math.min(Math.max(minute, first), last);
    drawTimeline();
  }

  for (const kind of ["pointermove", "pointerdown"]) {
    byId("timeline").addEventListener(kind, (event) => {
      const svg = byId("timeline");
      if (!svg.minuteAt) return;
      const minute = svg.minuteAt(event.clientX - svg.getBoundingClientRect().left);
      if (minute !== state.chosen) choose(minute);
    });
  }
  byId("timeline").addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -60, ArrowRight: 60, PageUp: -3600, PageDown: 3600 }[event.key];
    if (!by || !byId("timeline").limits) return;
    event.preventDefault();
    choose(state.chosen === null ? byId("timeline").limits[1] : state.chosen + by);
  });
  byId("range").addEventListener("change", (event) => {
    [state.hours, state.asked] = [Number(event.target.value), true];
    drawTimeline();
  });
  window.addEventListener("resize", () => {
    drawTimeline();
    drawSpectra();
  });
  window.setInterval(drawHead, 1000);
  for (const what of Object.keys(takes)) again(what);
})();
