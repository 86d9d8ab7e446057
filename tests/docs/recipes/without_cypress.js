// Runs the Cypress recipe where there is no Cypress: its configuration as it is, and for a browser the few commands that the test
// uses, by plain requests.
const assert = require("node:assert");
const Module = require("node:module");

const resolve = Module._resolveFilename;
Module._resolveFilename = (name, ...rest) => (name === "cypress" ? __filename : resolve(name, ...rest));
module.exports = { defineConfig: (config) => config };

const commands = [];
const page = { url: "", text: "", typed: {} };
const tasks = {};
// The commands of the function come before those that follow.
const result = (value) => ({
  then: (act) => then(async () => {
    const given = await value();
    const later = commands.splice(0);
    act(given);
    commands.push(...later);
  }),
});
const visit = async (path) => {
  page.url = new URL(path, page.url);
  page.text = await (await fetch(page.url)).text();
};
const then = (command) => { commands.push(command); };
globalThis.cy = {
  visit: (path) => then(() => visit(path)),
  get: (selector) => ({ type: (text) => then(() => { page.typed[selector.slice(1)] = text; }) }),
  contains: (text) => {
    then(() => assert.ok(page.text.includes(text), `${text} is not in ${page.text}`));
    return { click: () => then(() => visit(`${/action="([^"]+)"/.exec(page.text)[1]}?${new URLSearchParams(page.typed)}`)) };
  },
  task: (name) => result(() => tasks[name]()),
  request: ({ url }) => result(async () => {
    const answer = await fetch(url);
    assert.equal(answer.status, 200);
    return { body: await answer.json() };
  }),
};
globalThis.expect = (value) => ({ to: { contain: (part) => assert.ok(value.includes(part), value) } });

let test;
globalThis.it = (name, body) => { test = { name, body }; };

(async () => {
  const ends = [];
  const { e2e } = require("./cypress.config.js");
  const on = (event, act) => (event === "task" ? Object.assign(tasks, act) : ends.push(act));
  ({ baseUrl: page.url } = await e2e.setupNodeEvents(on, {}));
  require("./signup.cy.js");
  test.body();
  while (commands.length) await commands.shift()();
  console.log(`passed ${test.name}`);
  for (const end of ends) await end();
})().catch((error) => { console.error(error); process.exit(1); });
