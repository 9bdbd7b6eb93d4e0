// The page of a running daemon. It only reads: status, spectra, timeline and events, each again
// and again, and draws what it finds. Nothing comes from elsewhere, and nothing is written.

import {
  clock, counted, entry, gps, number, put, seconds, shape, total,
} from "./elements.js";
import { drawSpectrum } from "./spectrum.js";
import { drawTimeline as drawLanes, minuteInWords } from "./timeline.js";

const EVERY = { status: 2000, events: 2000, spectra: 4000, timeline: 10000 };
const LOST = 10000; // milliseconds without an answer after which the daemon counts as away
const LEVELS = ["OK", "WARNING", "CRITICAL", "UNKNOWN"];

const state = {
  status: null, spectra: null, minutes: new Map(), events: [], since: 0,
  answered: performance.now(), hours: 4, asked: false, chosen: null, software: null,
};
const byId = (id) => document.getElementById(id);

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

function drawTimeline() {
  if (!state.status) return;
  drawLanes(byId("timeline"), state);
  if (state.chosen !== null) {
    byId("minute").textContent = minuteInWords(state.chosen, state.minutes.get(state.chosen));
  }
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
    state.events = [];
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
    // The daemon keeps its last lines over a restart: after one they are all asked for again.
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
