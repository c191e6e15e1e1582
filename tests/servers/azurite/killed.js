// Azurite answers before what it knows of its blobs is on disk: it is written every
// five seconds, and a kill would take back what was acknowledged since. No store can
// stand on that. So nothing is written but at SIGUSR2, all of it, in the instant
// before a SIGKILL: what was answered stays, and what was not is cut off.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const Loki = require(path.join(process.env.SERVERS, "azurite/node_modules/lokijs"));

const all = new Set();
// Called once for each database, before it can be written to.
Loki.prototype.autosaveEnable = function () {
  all.add(this);
};

process.on("SIGUSR2", () => {
  try {
    for (const database of all) fs.writeFileSync(database.filename, database.serialize());
  } catch (error) {
    fs.writeSync(2, `what Azurite knows was not written: ${error.message}\n`);
  } finally {
    process.kill(process.pid, "SIGKILL");
  }
});
