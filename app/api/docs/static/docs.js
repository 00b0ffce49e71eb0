// Shows the OpenAPI document with Swagger UI: problems folded to one line for each status, a search over all operations.
"use strict";

(() => {
  const { pageDocument, resolve } = window.ocrDocs;
  const PROBLEM = "application/problem+json";

  /** Return the problem types of a response: their slugs with their examples. */
  function problemsOf(spec, response) {
    const content = (resolve(spec, response) || {}).content || {};
    const examples = (content[PROBLEM] || {}).examples || {};
    return Object.entries(examples).map(([slug, example]) => ({ slug, value: (resolve(spec, example) || {}).value || {} }));
  }

  /** A row of the table of responses: the status and its problem types, which open to their examples. */
  function problemRow(h, code, problems) {
    const isDefault = code === "default";
    const summary = isDefault
      ? [h("span", { key: "any" }, `${problems.length} problems that any request can get`)]
      : problems.map(({ slug }, index) => h("span", { key: slug }, index ? ", " : "", h("code", null, slug)));
    const details = problems.map(({ slug, value }) =>
      h("details", { key: slug, className: "problem-type" },
        h("summary", null, h("code", null, slug), ` ${isDefault ? `${value.status}: ` : ""}${value.title}`),
        h("pre", { tabIndex: 0, "aria-label": `Example of ${slug}` }, JSON.stringify(value, null, 2))));
    return h("tr", { className: "response problem", "data-code": code },
      h("td", { className: "response-col_status" }, isDefault ? "any" : code),
      h("td", { className: "response-col_description", colSpan: 2 },
        h("details", { className: "problem-status" }, h("summary", null, summary), details)));
  }

  /** Return the document as an object; it is converted once for each document, since every row asks for it. */
  let known = null;
  let converted = null;
  function specOf(system) {
    const found = system.specSelectors.specJson();
    if (found !== known) {
      known = found;
      converted = found.toJS();
    }
    return converted;
  }

  const foldedProblems = () => ({
    wrapComponents: {
      // Inside the button that opens an operation there must be no link, which screen readers could not reach.
      DeepLink: (_, system) => ({ text }) => system.React.createElement("span", { className: "nostyle" }, text),
      response: (Original, system) => (props) => {
        const h = system.React.createElement;
        const spec = specOf(system);
        const operation = ((spec.paths || {})[props.path] || {})[props.method] || {};
        const problems = problemsOf(spec, (operation.responses || {})[props.code]);
        return problems.length ? problemRow(h, String(props.code), problems) : h(Original, props);
      },
    },
  });

  /** The document is changed before Swagger UI reads it, whatever loads it. */
  const changedDocument = () => ({
    statePlugins: {
      spec: { wrapActions: { updateSpec: (original) => (text) => original(JSON.stringify(pageDocument(JSON.parse(text)))) } },
    },
  });

  /** The search finds operations by their path, method, summary, tag and description. Swagger UI's own finds only tags. */
  const searchedOperations = () => ({
    fn: {
      opsFilter: (tagged, phrase) => {
        const words = phrase.toLowerCase().split(/\s+/);
        const fits = (tag) => (each) => {
          const operation = each.get("operation");
          const text = [tag, each.get("method"), each.get("path"), operation.get("summary"), operation.get("description")];
          return words.every((word) => text.join(" ").toLowerCase().includes(word));
        };
        return tagged
          .map((group, tag) => group.set("operations", group.get("operations").filter(fits(tag))))
          .filter((group) => group.get("operations").size > 0);
      },
    },
  });

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  paint();
  dark.addEventListener("change", paint);

  window.ui = window.SwaggerUIBundle({
    url: "docs/openapi.json",
    dom_id: "#swagger-ui",
    plugins: [foldedProblems, changedDocument, searchedOperations],
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    filter: true,
    persistAuthorization: true,
    validatorUrl: null,
  });

  /** Name what Swagger UI leaves without a name, for screen readers, and let the keyboard reach what scrolls. */
  function complete() {
    const root = document.getElementById("swagger-ui");
    const set = (element, attribute, value) => element.hasAttribute(attribute) || element.setAttribute(attribute, value);
    root.querySelectorAll(".operation-filter-input").forEach((each) => {
      set(each, "aria-label", "Search the operations");
      if (each.placeholder !== "Search the operations") each.placeholder = "Search the operations";
    });
    root.querySelectorAll("tr[data-param-name]").forEach((row) =>
      row.querySelectorAll("input, select, textarea").forEach((each) => set(each, "aria-label", row.dataset.paramName)));
    root.querySelectorAll(".opblock-section-request-body input, .opblock-section-request-body textarea, .opblock-section-request-body select")
      .forEach((each) => set(each, "aria-label", "The body of the request"));
    root.querySelectorAll(".examples-select-element").forEach((each) => set(each, "aria-label", "Example"));
    root.querySelectorAll("pre.microlight, .highlight-code pre").forEach((each) => set(each, "tabindex", "0"));
  }
  let isPlanned = false;
  new MutationObserver(() => {
    if (isPlanned) return;
    isPlanned = true;
    window.requestAnimationFrame(() => {
      isPlanned = false;
      complete();
    });
  }).observe(document.getElementById("swagger-ui"), { childList: true, subtree: true });
})();
