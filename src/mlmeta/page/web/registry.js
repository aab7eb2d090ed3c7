// The model registry: aliases, and what they point to.
import { description, empty, h, searchable, table } from "./dom.js";
import { amount, count, cut, time } from "./format.js";
import { open } from "./data.js";

const COLUMNS = [{ label: "Version" }, { label: "Aliases" }, { label: "Stage" }, { label: "Created (UTC)" }, { label: "From run" }, { label: "Source" }];
const ABOUT = { label: "About" };
const SHOWN = 20;
const MOST = 1000;
const MOST_MODELS = 50;

export function registryPage(data) {
  const models = data.models.filter((model) => !model.is_prompt);
  const prompts = data.models.filter((model) => model.is_prompt);
  return h(
    "div",
    null,
    h("h1", null, "Model registry"),
    data.models.length === 0 && empty("No registered models.", "The registry was empty when the snapshot was taken."),
    models.length > 0 && cards(data, "Find a model", models),
    prompts.length > 0 && [h("h2", null, "Prompts", h("span.count", null, count(prompts.length))), cards(data, "Find a prompt", prompts)],
  );
}

function cards(data, label, models) {
  return searchable(label, models, (model) => model.name, (found) => found.map((model) => card(data, model)), MOST_MODELS);
}

function card(data, model) {
  const aliases = Object.entries(model.aliases);
  const isTold = model.versions.some((version) => told(version).childNodes.length > 0);
  const columns = isTold ? [...COLUMNS, ABOUT] : COLUMNS;
  const rows = model.versions.slice(0, MOST).map((version) => row(data, model, version).slice(0, columns.length));
  return h(
    "section.card",
    null,
    h("h3", null, cut(model.name, 120), model.workspace !== "default" && h("span.chip", null, model.workspace)),
    h("p.muted", null, [amount(model.versions.length, "versions"), model.updated !== null && `updated ${time(model.updated)} UTC`].filter(Boolean).join(" · ")),
    description(model.description, model.tags),
    aliases.length > 0 && h("ul.aliases", null, aliases.map(([alias, version]) => h("li", null, h("span.alias", null, `@${alias}`), " → ", pointed(data, model, version)))),
    rows.length === 0 ? h("p.muted", null, "No versions.") : table(`Versions of ${model.name}`, columns, rows.slice(0, SHOWN), ".list"),
    rows.length > SHOWN && h("details", null, h("summary", null, `${amount(rows.length - SHOWN, "versions")} more`), table(`Further versions of ${model.name}`, columns, rows.slice(SHOWN), ".list")),
  );
}

function pointed(data, model, number) {
  const version = model.versions.find((one) => one.version === number);
  if (!version) return `version ${number}, which is not there`;
  return h("span", null, `version ${number}`, data.homes.has(version.run_id) && [", from ", runLink(data, version.run_id)]);
}

/** What people wrote about a version; of a prompt its text. */
function told(version) {
  return h("div.prose", null, description(version.tags["mlflow.prompt.text"], {}), description(version.description, version.tags));
}

function runLink(data, id) {
  const home = data.homes.get(id);
  if (!home) return id ? h("span.mono", { title: id }, cut(id, 12)) : "–";
  return h("a", { href: `#/run/${encodeURIComponent(id)}` }, cut(open(home[0]).runs[home[1]].name, 40));
}

function row(data, model, version) {
  const own = Object.entries(model.aliases).filter(([, number]) => number === version.version).map(([alias]) => h("span.alias", null, `@${alias}`));
  const state = version.status && version.status !== "READY" ? h("span.chip", null, version.status.toLowerCase()) : "";
  return [[count(version.version), state], own, version.stage || "–", time(version.created), runLink(data, version.run_id), h("span.mono", { title: version.source }, cut(version.source, 60)), told(version)];
}
