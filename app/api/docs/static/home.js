// Shows whether the service is ready, and its versions.
"use strict";

async function show(path, found) {
  try {
    const answer = await fetch(path, { headers: { accept: "application/json" } });
    found(await answer.json());
  } catch (error) {
    document.getElementById("state").textContent = `no answer: ${error.message}`;
  }
}

show("readyz", (answer) => {
  document.getElementById("state").textContent = answer.status === "ready" ? "ready" : `not ready: ${answer.detail}`;
});
show("version", (answer) => {
  document.getElementById("version").textContent = answer.version;
  document.getElementById("vendor").textContent = `${answer.vendor_package} ${answer.vendor_version}`;
});
