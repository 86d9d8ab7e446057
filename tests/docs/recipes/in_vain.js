// Waits in vain with the Jest recipe, and prints its failure.
const { start } = require("./mail");
const { signUp } = require("./app");

(async () => {
  const mail = await start();
  const inbox = mail.inbox();
  await signUp(inbox.address, mail.smtp);
  await inbox.wait("subject:invoice", "0s").catch((failure) => console.log("in vain:", failure.message));
  await mail.close();
})();
