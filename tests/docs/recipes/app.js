// The program that the Jest recipe tests.
const net = require("node:net");

exports.signUp = async (address, port) => {
  const socket = net.connect(port, "127.0.0.1");
  const replies = require("node:readline").createInterface({ input: socket })[Symbol.asyncIterator]();
  const reply = async () => {
    for (;;) {
      const { value, done } = await replies.next();
      if (done || value[3] !== "-") return value ?? "";
    }
  };
  await reply();
  try {
    for (const line of ["EHLO app.test", "MAIL FROM:<shop@example.test>", `RCPT TO:<${address}>`, "DATA",
      "Subject: Welcome\r\n\r\nYour code is 4711.\r\n."]) {
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
