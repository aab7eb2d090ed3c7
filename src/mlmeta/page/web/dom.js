// Elements. Every text of the snapshot comes from somebody else, and reaches the page through here: as text, never as
// HTML.

const OBEYED = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/gu;

/** A text in which nothing moves the text around it: controls and bidirectional overrides are written as escapes. */
export function visible(text) {
  return text.replace(OBEYED, (character) => {
    const code = character.codePointAt(0).toString(16);
    return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`;
  });
}

/**
 * An element.
 * @param {string} kind such as "p" or "p.note": its name and classes.
 * @param {object} [attributes] on… is a listener; true and false set and leave out an attribute.
 * @param {...(Node|string|number|Array|null|false|undefined)} children what is not a node becomes text.
 */
export function h(kind, attributes, ...children) {
  const [name, ...classes] = kind.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked" || key === "indeterminate") element[key] = value;
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(key, value === true ? "" : visible(String(value)));
    }
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(element, child);
    else if (child instanceof Node) element.append(child);
    else if (child !== null && child !== undefined && child !== false) element.append(visible(String(child)));
  }
}

/** Put other children into an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** An element of a drawing. */
export function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

/** A small line; gaps where a value is no number. */
export function sparkline(values, label, width = 96, height = 24) {
  const finite = values.filter(Number.isFinite);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "spark", role: "img", "aria-label": label });
  if (finite.length < 2) return drawing;
  const low = Math.min(...finite);
  const span = Math.max(...finite) - low || 1;
  const place = (value, at) => [
    (2 + (at / (values.length - 1)) * (width - 4)).toFixed(1),
    (height - 3 - ((value - low) / span) * (height - 6)).toFixed(1),
  ];
  const points = values.map((value, at) => (Number.isFinite(value) ? place(value, at).join(",") : null));
  drawing.append(svg("polyline", { points: points.filter(Boolean).join(" "), fill: "none" }));
  const last = values.findLastIndex(Number.isFinite);
  const [x, y] = place(values[last], last);
  drawing.append(svg("circle", { cx: x, cy: y, r: 2 }));
  return drawing;
}

/** A labelled field of a form. */
export function field(label, control) {
  return h("label.field", null, h("span", null, label), control);
}

/** A choice of one of several. @param {Array<[string, string]>} options value and label of each. */
export function select(options, value, onchange) {
  const control = h(
    "select",
    { onchange: () => onchange(control.value) },
    options.map(([own, label]) => h("option", { value: own }, label)),
  );
  control.value = value;
  return control;
}

/** The same as buttons, for two or three. */
export function segmented(label, options, value, onchange) {
  const group = h("div.segmented", { role: "group", "aria-label": label });
  const draw = (chosen) =>
    fill(
      group,
      options.map(([own, text]) =>
        h(
          "button",
          {
            type: "button",
            "aria-pressed": String(own === chosen),
            onclick: () => {
              draw(own);
              [...group.children][options.findIndex(([other]) => other === own)].focus();
              onchange(own);
            },
          },
          text,
        ),
      ),
    );
  draw(value);
  return group;
}

export function checkbox(label, checked, onchange) {
  const box = h("input", { type: "checkbox", checked, onchange: () => onchange(box.checked) });
  return h("label.check", null, box, label);
}

/** A word as a shell takes it: an id comes from the snapshot, too. */
export function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

/** A command, with a button that copies it. */
export function command(text) {
  const code = h("code", { tabindex: "0" }, text);
  const button = h("button.small", { type: "button", onclick: () => copy(code, button) }, "Copy");
  return h("div.command", null, h("pre", null, code), button);
}

/** Copy what is to be seen, not what may hide in it. */
async function copy(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

/** What people wrote about something, line by line, and their tags; MLflow's own ones are not meant for people. */
export function description(text, tags) {
  const own = Object.entries(tags).filter(([key]) => !key.startsWith("mlflow."));
  return [
    text && text.split("\n").map((line) => h("p", null, line)),
    own.length > 0 && h("p.muted", null, own.map(([key, value]) => `${key}=${value}`).join(", ")),
  ];
}

/** What stands where there is nothing to show. */
export function empty(title, ...more) {
  return h("div.empty", null, h("p.strong", null, title), more.length > 0 && h("p", null, ...more));
}

/** A table. @param {Array<{label: string, right?: boolean}>} columns @param {Array<Array>} rows of what `h` takes. */
export function table(caption, columns, rows, kind = "") {
  return h(
    "div.scroll",
    { tabindex: "0", role: "region", "aria-label": caption },
    h(
      `table${kind}`,
      null,
      h("caption.hidden", null, caption),
      h("thead", null, h("tr", null, columns.map((one) => h(one.right ? "th.right" : "th", { scope: "col" }, one.label)))),
      h(
        "tbody",
        null,
        rows.map((row) => h("tr", null, row.map((cell, at) => h(columns[at].right ? "td.right" : "td", null, cell)))),
      ),
    ),
  );
}

const MANY = 20;

/**
 * Things of which there may be many: the first ones, and a field to find others.
 * @param {string} label of the field. @param {Array} items all of them. @param {(item) => string} text to look in.
 * @param {(found: Array) => Node|Array} draw some of them. @param {number} most that are drawn.
 */
export function searchable(label, items, text, draw, most) {
  const stage = h("div.stack");
  const search = h("input", { type: "search", placeholder: label, "aria-label": label, oninput: () => show() });
  const show = () => {
    const wanted = search.value.toLowerCase();
    const found = items.filter((item) => text(item).toLowerCase().includes(wanted));
    const rest = found.length - most;
    fill(stage, found.length > 0 ? draw(found.slice(0, most)) : empty("Nothing of that name."), rest > 0 && h("p.hint", null, `${rest} more: search for them.`));
  };
  show();
  return h("div", null, items.length > MANY && h("div.find", null, search), stage);
}

/** Facts: a name and a value each; without those that have none. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false);
  return h("dl.facts", null, known.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}
