// Runs the Jest recipe where there is no Jest, with what comes with Node: what Jest's names mean there.
const assert = require("node:assert");
const { test, before, after } = require("node:test");

Object.assign(globalThis, {
  test,
  beforeAll: before,
  afterAll: after,
  expect: (value) => ({
    toBe: (expected) => assert.strictEqual(value, expected),
    toContain: (part) => assert.ok(value.includes(part), `${part} is not in ${value}`),
  }),
});
require("./signup.test.js");
