module.exports = {
  testMatch: "*.spec.js",
  reporter: "line",
  use: { launchOptions: { executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] } },
};
