// Makes of the OpenAPI document what the pages show. The document itself stays complete, for programs.
"use strict";

(() => {
  const UNSHOWN_METHODS = ["head", "options"];
  const METHODS = ["get", "put", "post", "delete", "patch"];

  /** Follow a reference to a component; anything else is returned as it is. */
  function resolve(spec, part) {
    const path = part && part.$ref;
    return path ? path.slice(2).split("/").reduce((found, name) => found && found[name], spec) : part;
  }

  /** Return the parameter without what the page would send although nobody has chosen it. */
  function withoutPrefill(spec, method, parameter) {
    const found = { ...resolve(spec, parameter) };
    const isConditional = found.in === "header";
    const isNameOfDeletion = method === "delete" && found.in === "path";
    if (isConditional || isNameOfDeletion) {
      delete found.example;
      delete found.examples;
    }
    if (found.name === "dry_run") found.example = true; // a deletion is a trial until one chooses otherwise
    return found;
  }

  /** Return a copy of the document with the operations that people look for, and without locks where no key is needed. */
  function pageDocument(spec) {
    const shown = { ...spec, paths: {} };
    let needsKey = false;
    for (const [path, methods] of Object.entries(spec.paths)) {
      const kept = {};
      for (const [method, operation] of Object.entries(methods)) {
        if (UNSHOWN_METHODS.includes(method)) continue;
        const changed = { ...operation };
        const isOptional = (operation.security || []).some((each) => Object.keys(each).length === 0);
        if (isOptional) changed.security = [];
        needsKey = needsKey || (changed.security || []).length > 0;
        if (operation.parameters) {
          changed.parameters = operation.parameters.map((each) => withoutPrefill(spec, method, each));
        }
        kept[method] = changed;
      }
      if (Object.keys(kept).length) shown.paths[path] = kept;
    }
    if (!needsKey) {
      const { securitySchemes, ...rest } = spec.components;
      shown.components = rest;
    }
    return shown;
  }

  window.ocrDocs = { METHODS, pageDocument, resolve };
})();
