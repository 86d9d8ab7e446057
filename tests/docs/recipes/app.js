// The program that the recipes for JavaScript test.
const http = require("node:http");
const net = require("node:net");

exports.signUp = async (address, port, shop = "http://shop.example.test") => {
  const socket = net.connect(port, "127.0.0.1");
  const replies = require("node:readline").createInterface({ input: socket })[Symbol.asyncIterator]();
  const reply = async () => {
    for (;;) {
      const { value, done } = await replies.next();
      if (done || value[3] !== "-") return value ?? "";
    }
  };
  await reply();
  const letter = ["Subject: Welcome", "MIME-Version: 1.0", "Content-Type: multipart/alternative; boundary=b", "", "--b", "",
    `Your code is 4711: ${shop}/confirm?code=4711`, "--b", "Content-Type: text/html", "",
    `<p>Your code is</p><h1>4711</h1><a href="${shop}/confirm?code=4711">Confirm</a>`, "--b--"];
  try {
    for (const line of ["EHLO app.test", "MAIL FROM:<shop@example.test>", `RCPT TO:<${address}>`, "DATA", `${letter.join("\r\n")}\r\n.`]) {
      socket.write(`${line}\r\n`);
      const said = await reply();
      if (said[0] === "4") return "try later";
      if (said[0] === "5") return "no";
    }
    return "sent";
  } finally {
    socket.destroy();
  }
};

const FORM =
  '<form action="/sign-up"><label for="address">Address</label><input id="address" name="address"><button>Sign up</button></form>';

/** A page to sign up, which sends mail to that port. */
exports.startShop = async (port) => {
  const server = http.createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, url);
    const address = searchParams.get("address");
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    if (pathname === "/confirm") response.end(searchParams.get("code") === "4711" ? "<p>Confirmed</p>" : "<p>Wrong</p>");
    else if (pathname === "/sign-up") response.end(`<p>${await exports.signUp(address, port, url)}</p>`);
    else response.end(FORM);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  return { url, close: () => server.close() };
};
