// The frame of the page, and which view an address means.
import { empty, fill, h } from "./dom.js";
import { load, open } from "./data.js";
import { disposeGone, redraw } from "./charts.js";
import { State } from "./state.js";
import { overview } from "./overview.js";
import { experimentPage } from "./experiment.js";
import { comparePage, runPage } from "./run.js";
import { registryPage } from "./registry.js";
import { backupsPage, changesPage } from "./history.js";

const TABS = [
  ["#/", "Overview"],
  ["#/models", "Models"],
  ["#/changes", "Changes"],
  ["#/backups", "Backups"],
];
const SCHEMES = ["auto", "light", "dark"];
const KEPT = "mlmeta-report-scheme";

const states = new Map();

function view(data, words) {
  const [name, word = ""] = words;
  const views = {
    "": () => overview(data),
    experiment: () => ofExperiment(data, word),
    run: () => ofRun(data, word),
    compare: () => ofRuns(data, word.split(",")),
    models: () => registryPage(data),
    changes: () => changesPage(data),
    backups: () => backupsPage(data),
  };
  return Object.hasOwn(views, name) ? views[name]() : nothing("no such view");
}

function nothing(what) {
  return empty("Nothing here.", `This page has ${what}. `, h("a", { href: "#/" }, "To the overview"));
}

function ofExperiment(data, id) {
  const found = data.experiments.find((experiment) => experiment.id === id);
  if (!found) return nothing("no such experiment");
  const experiment = open(found);
  if (!states.has(id)) states.set(id, new State(experiment));
  return experimentPage(experiment, states.get(id));
}

function ofRun(data, id) {
  const home = data.homes.get(id);
  if (!home) return nothing("no such run");
  const experiment = open(home[0]);
  return runPage(data, experiment, experiment.runs[home[1]]);
}

function ofRuns(data, ids) {
  const homes = ids.map((id) => data.homes.get(id)).filter(Boolean);
  if (homes.length === 0) return nothing("none of these runs");
  const experiment = open(homes[0][0]);
  const runs = homes.filter(([own]) => own === homes[0][0]).map(([, place]) => experiment.runs[place]);
  return comparePage(experiment, runs, ids.length - runs.length);
}

/** The words of an address such as #/run/abc; decoded, and unharmed by one that can't be. */
function words() {
  try {
    return location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    return ["?"];
  }
}

function scheme() {
  try {
    return SCHEMES.includes(localStorage.getItem(KEPT)) ? localStorage.getItem(KEPT) : "auto";
  } catch {
    return "auto"; // a browser that keeps nothing for files
  }
}

/** Light or dark: as chosen, else as the system has it, and light on paper. */
function applyScheme(chosen, isPaper = false) {
  const isDark = chosen === "dark" || (chosen === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.scheme = isDark && !isPaper ? "dark" : "light";
  document.documentElement.classList.toggle("paper", isPaper); // before charts measure how wide they are
  redraw();
}

function schemeButton() {
  let chosen = scheme();
  const button = h("button.small", { type: "button", id: "scheme", onclick: () => turn() });
  const show = () => {
    button.textContent = { auto: "Auto", light: "Light", dark: "Dark" }[chosen];
    button.setAttribute("aria-label", `Colours: ${chosen}`);
    applyScheme(chosen);
  };
  const turn = () => {
    chosen = SCHEMES[(SCHEMES.indexOf(chosen) + 1) % SCHEMES.length];
    try {
      localStorage.setItem(KEPT, chosen);
    } catch {
      // it holds until the page is closed
    }
    show();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  addEventListener("beforeprint", () => applyScheme(chosen, true));
  addEventListener("afterprint", show);
  show();
  return button;
}

function frame(data) {
  const tabs = TABS.map(([href, label]) => h("a", { href }, label));
  const main = h("main", { id: "main", tabindex: "-1" });
  const bar = h(
    "header.top",
    null,
    h("a.brand", { href: "#/" }, h("span.strong", null, "mlmeta"), h("span.muted", null, ` report ${data.about.timestamp}`)),
    h("nav", { "aria-label": "Views" }, tabs),
    schemeButton(),
  );
  let isFirst = true;
  const show = () => {
    const where = words();
    fill(main, view(data, where));
    disposeGone();
    const current = tabs.find((tab) => tab.getAttribute("href") === `#/${where[0]}`) ?? tabs[0];
    for (const tab of tabs) tab.toggleAttribute("aria-current", tab === current);
    if (current) current.setAttribute("aria-current", "page");
    if (!isFirst) {
      main.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    isFirst = false;
  };
  addEventListener("hashchange", () => {
    if (location.hash !== "#main") show();
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  show();
  return [bar, main, h("footer", null, `Written by mlmeta ${data.by}. This page asks the network for nothing.`)];
}

/** No text becomes HTML, where the browser can see to that. Of scripts, the policy of the page lets only ECharts run. */
function guard() {
  globalThis.trustedTypes?.createPolicy("default", {
    createHTML: (text) => (text === "" ? "" : null),
    createScript: (text) => text,
  });
}

addEventListener("keydown", (event) => {
  const isTyping = event.target instanceof HTMLElement && event.target.closest("input:not([type=checkbox]), select, textarea");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) {
    const search = document.getElementById("filter");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
  if (event.key === "Escape") {
    for (const one of document.querySelectorAll("details.popover[open]")) {
      one.open = false;
      one.querySelector("summary").focus();
    }
  }
});
addEventListener("click", (event) => {
  for (const one of document.querySelectorAll("details.popover[open]")) if (!one.contains(event.target)) one.open = false;
});

async function start() {
  guard();
  if (!("DecompressionStream" in window)) {
    document.getElementById("loading").textContent = "This browser is too old to unpack the page: use one of 2023 or later.";
    return;
  }
  const data = await load();
  fill(document.getElementById("page"), frame(data));
  document.documentElement.dataset.ready = "true";
}

start().catch((error) => {
  const place = document.getElementById("loading") ?? document.getElementById("main");
  place.textContent = `This page could not be drawn: ${error}`;
  throw error;
});
