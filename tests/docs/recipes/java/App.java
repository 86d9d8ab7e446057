import java.io.*;
import java.net.Socket;

/** The program that the JUnit recipe tests. */
final class App {
    static String signUp(String address, int port) throws IOException {
        try (Socket socket = new Socket("127.0.0.1", port)) {
            var replies = new BufferedReader(new InputStreamReader(socket.getInputStream()));
            reply(replies);
            for (String line : new String[] {"EHLO app.test", "MAIL FROM:<shop@example.test>",
                    "RCPT TO:<" + address + ">", "DATA", "Subject: Welcome\r\n\r\nYour code is 4711.\r\n."}) {
                socket.getOutputStream().write((line + "\r\n").getBytes());
                switch (reply(replies).charAt(0)) {
                    case '4': return "try later";
                    case '5': return "no";
                    default: break;
                }
            }
            return "sent";
        }
    }

    private static String reply(BufferedReader replies) throws IOException {
        for (;;) {
            String line = replies.readLine();
            if (line == null || line.charAt(3) != '-') return line;
        }
    }
}
