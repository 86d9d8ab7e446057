// Sends messages by SMTP, for the scripts beside this file.
import { connect } from 'node:net';

/** A function that sends a message to HOST:PORT, each line after the reply to the one before, from a client of that name. */
export function sender(smtp, name = 'client.test') {
  const [host, port] = smtp.split(/:(?=\d+$)/);
  return (from, recipients, text) => {
    const lines = [`EHLO ${name}`, `MAIL FROM:<${from}>`, ...recipients.map((one) => `RCPT TO:<${one}>`), 'DATA',
      text.replace(/\r?\n$/, '').replace(/\r?\n/g, '\r\n').replace(/^\./gm, '..') + '\r\n.', 'QUIT'];
    return new Promise((done, failed) => {
      const socket = connect(Number(port), host);
      let seen = '';
      socket.on('error', failed);
      socket.on('close', done);
      socket.on('data', (data) => {
        seen += data;
        const end = /^\d{3} .*\r\n$/m.exec(seen);
        if (!end) return;
        if (/^[45]/.test(end[0])) failed(new Error(seen));
        seen = '';
        if (lines.length) socket.write(lines.shift() + '\r\n');
      });
    });
  };
}
