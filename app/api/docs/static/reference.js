// Shows the OpenAPI document with Redoc, in the colours that the reader's system prefers.
"use strict";

(async () => {
  const isDark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  const dark = {
    colors: {
      primary: { main: "#86efac" },
      gray: { 50: "#1f2937", 100: "#1f2937" },
      text: { primary: "#e5e7eb", secondary: "#cbd5e1" },
      border: { dark: "#4b5563", light: "#374151" },
      responses: { success: { color: "#86efac" }, redirect: { color: "#fcd34d" }, error: { color: "#fca5a5" } },
    },
    sidebar: { backgroundColor: "#111827", textColor: "#e5e7eb" },
    schema: { nestedBackground: "#111827", typeNameColor: "#cbd5e1", typeTitleColor: "#cbd5e1" },
    rightPanel: { backgroundColor: "#0b1220" },
  };
  const light = { colors: { primary: { main: "#166534" } }, sidebar: { backgroundColor: "#f3f4f6" } };
  const fonts = { fontFamily: "system-ui, sans-serif", headings: { fontFamily: "system-ui, sans-serif" } };
  const answer = await fetch("docs/openapi.json");
  const shown = window.ocrDocs.pageDocument(await answer.json());
  const options = {
    hideDownloadButton: true,
    jsonSampleExpandLevel: 2,
    pathInMiddlePanel: true,
    theme: { ...(isDark ? dark : light), typography: { ...fonts, ...(isDark ? { code: { color: "#fca5a5" } } : {}) } },
  };
  const reference = document.getElementById("reference");
  // The keyboard can scroll an example that is wider than its column.
  new MutationObserver(() => reference.querySelectorAll("pre:not([tabindex])").forEach((each) => each.setAttribute("tabindex", "0")))
    .observe(reference, { childList: true, subtree: true });
  window.Redoc.init(shown, options, reference);
})();
