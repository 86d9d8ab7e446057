"""restante client in a pseudo-terminal, as people use it:

python3 terminal.py STORY PROGRAM SMTP_PORT POP3_PORT DIRECTORY [CERTIFICATE]

Any failed assertion or exception ends the script, and with it the test that runs it.
"""

import email
import email.policy
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import smtplib
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import unicodedata

STORY, PROGRAM, SMTP_PORT, POP3_PORT, HOME, *CERTIFICATE = sys.argv[1:]
PATIENCE = 30
SUBJECT = "Réunion 日本 demain, à dix heures précises, dans la grande salle du deuxième étage"
ALICE, PASSWORD = "alice@example.test", "sesame"
UNSENT = "1 try again   2 change the recipients   3 keep it and go back: "


class Terminal:
    """A program in a window, and somebody who reads it and types."""

    def __init__(self, *arguments, smtp=SMTP_PORT, pop3=POP3_PORT, size=(80, 24), command=None, **environment):
        client = ["client", "--smtp", f"127.0.0.1:{smtp}", "--pop3", f"127.0.0.1:{pop3}"]
        command = [PROGRAM, *(command or client), *arguments]
        variables = {"PATH": os.environ["PATH"], "TERM": "xterm", "HOME": HOME, **environment}
        self.pid, self.window = pty.fork()
        if self.pid == 0:
            # A test in the background has inherited signals that are ignored; a person's shell has not.
            for ends in [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP]:
                signal.signal(ends, signal.SIG_DFL)
            os.execve(PROGRAM, command, variables)
        fcntl.ioctl(self.window, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.seen = ""
        self.unread = ""
        self.octets = b""

    def more(self, until):
        ready, _, _ = select.select([self.window], [], [], max(0, until - time.monotonic()))
        assert ready, f"the program is silent after\n{self.seen}"
        try:
            octets = os.read(self.window, 65536)
        except OSError:  # Linux: nobody has the other end open any more
            octets = b""
        self.octets += octets
        text = self.octets.decode("utf-8", "ignore")
        self.octets = self.octets[len(text.encode()):]
        self.seen += text
        self.unread = plain(self.unread + text)
        return bool(octets)

    def expect(self, text):
        """Waits until it is on the screen, in one line or in several, and returns what stood before it."""
        until = time.monotonic() + PATIENCE
        wanted = re.compile(r"(?: |\r\n)".join(map(re.escape, text.split(" "))))
        while not (found := wanted.search(self.unread)):
            assert self.more(until), f"{text!r} never came:\n{self.seen}"
        before, self.unread = self.unread[:found.start()], self.unread[found.end():]
        return before

    def answer(self, question, line):
        before = self.expect(question)
        self.type(line)
        return before

    def leave(self, *prompts):
        """Types q at each of these prompts, which ends the program."""
        for prompt in prompts:
            self.answer(prompt, "q")
        assert self.ended() == 0, self.seen

    def type(self, line):
        os.write(self.window, f"{line}\n".encode())

    def more_or(self, end):
        """Waits for the question after a page, or for that text; true if there is another page."""
        until = time.monotonic() + PATIENCE
        end, more = (re.compile(r"(?: |\r\n)".join(map(re.escape, text.split(" ")))) for text in (end, "to stop -- "))
        while not (found := more.search(self.unread) or end.search(self.unread)):
            assert self.more(until), f"neither {end} nor {more}:\n{self.seen}"
        self.unread = self.unread[found.end():]
        return "stop" in found[0]

    def secret(self, question, line):
        """Types something when the echo is off."""
        self.hidden(question)
        self.type(line)

    def echoes(self):
        return bool(termios.tcgetattr(self.window)[3] & termios.ECHO)

    def hidden(self, question):
        """Waits for a question with the echo off."""
        self.expect(question)
        until = time.monotonic() + PATIENCE
        while self.echoes():
            assert time.monotonic() < until, "the echo stays on"
            time.sleep(0.005)

    def compose(self, subject, to, cc="", bcc="", attach=(), mine=None):
        """Everything about a letter but its text, in English."""
        self.answer("Your choice: ", "2")
        if mine:
            self.answer("Your mail address", mine)
        for question, line in (("To (commas between several): ", to), ("Cc: ", cc), ("Bcc: ", bcc)):
            self.answer(question, line)
        self.answer("Subject: ", subject)
        for path in attach:
            self.answer("Attach a file (Enter: no more): ", path)
        self.answer("Attach a file (Enter: no more): ", "")
        self.expect("Text, ended by")

    def ended(self):
        """The exit code, when everything was read."""
        until = time.monotonic() + PATIENCE
        while self.more(until):
            pass
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def log_in(self, user=ALICE, name="Name or address", password="Password: "):
        self.answer(name, user)
        self.secret(password, PASSWORD)


def plain(text):
    return re.sub(r"\x1b\[[01]m", "", text)


def width(line):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line if not unicodedata.combining(c))


def wrong_twice_then_right():
    terminal = Terminal()
    again = f"Password of {ALICE} (Enter alone: another name): "
    terminal.answer("Name or address", ALICE)
    terminal.secret("Password: ", "guess2")
    terminal.expect("Attempts left: 2.")
    terminal.secret(again, "guess1")
    terminal.expect("Attempts left: 1.")
    terminal.secret(again, "")
    terminal.answer(f"Name or address [{ALICE}]: ", "")
    terminal.secret("Password: ", PASSWORD)
    terminal.leave("Your choice: ")
    assert PASSWORD not in terminal.seen and "guess" not in terminal.seen, terminal.seen


def wrong_three_times():
    terminal = Terminal("--user", ALICE)
    for left in (2, 1, 0):
        terminal.secret("Password: " if left == 2 else f"Password of {ALICE} (Enter alone: another name): ", "wrong")
    terminal.expect("No more attempts")
    assert terminal.ended() == 1


def write_with_attachments():
    """Attachments with names in UTF-8 and text in other charsets, a hidden recipient and one that is refused; then read back."""
    files = {
        "été à la mer.txt": "Ligne\r\nautre\nsans fin".encode(),
        "日本語の写真 (1).png": bytes(range(256)) * 300 + b"\r\n.\r\n\n",
        "prix.csv": "été;1\r\nœufs\n".encode("cp1252"),
        "notes.txt": "日本\r\n.\r\nfin".encode("utf-16"),
    }
    for name, content in files.items():
        with open(os.path.join(HOME, name), "wb") as file:
            file.write(content)
    terminal = Terminal("--tls", "implicit", "--cacert", *CERTIFICATE)
    terminal.log_in()
    terminal.compose(
        SUBJECT, "Élodie Ça <alice@example.test>, nobody@example.test", bcc="bob@example.test",
        attach=["/nowhere/at all", *(f"~/{name}" for name in files)],
    )
    assert "/nowhere/at all cannot be read" in terminal.seen
    terminal.type("Bonjour,\n..\n.x\n\nà demain\n.")
    terminal.expect("Recipients: 3. ")
    terminal.answer("Send it? [Y/n] ", "y")
    terminal.expect("Not to nobody@example.test: 550 5.1.1")
    terminal.answer("Send it to the other recipients anyway? [Y/n] ", "")
    terminal.expect("Sent: 250 2.0.0")
    terminal.expect("The server keeps a copy")
    terminal.answer(UNSENT, "3")
    terminal.expect("Kept in ")
    terminal.answer("Your choice: ", "4")
    terminal.answer("Your choice: ", "1")
    terminal.answer("q back: ", "1")
    terminal.expect("From: ")
    terminal.expect("Réunion 日本 demain")
    terminal.expect("Bonjour,\r\n..\r\n.x\r\n\r\nà demain")
    for number, name in enumerate(files, 1):
        terminal.expect(f"{number}  {name}")
    terminal.answer("Enter to go back: ", "r")
    for question in ("To (commas", "Cc: ", "Bcc: ", "Subject", "Attach a file (Enter: no more): "):
        terminal.answer(question, "")
    terminal.expect("Text, ended by")
    terminal.type("Noted.\n.")
    terminal.answer("Send it? [Y/n] ", "")
    terminal.expect("The server keeps a copy")
    os.mkdir(os.path.join(HOME, "saved"))
    for number, (name, content) in enumerate(files.items(), 1):
        terminal.answer("Enter to go back: ", f"s {number}")
        terminal.answer("Into the directory [.]: ", "~/saved")
        terminal.expect("Saved as ")
        with open(os.path.join(HOME, "saved", name), "rb") as file:
            assert file.read() == content, name
    terminal.answer("Enter to go back: ", "")
    terminal.answer("q back: ", "q")
    terminal.answer("Your choice: ", "3")
    terminal.expect("Sent, page 1 of 1")
    terminal.expect("Élodie Ça")
    terminal.answer("q back: ", "1")
    terminal.expect("Bonjour")
    terminal.answer("Enter to go back: ", "")
    terminal.leave("q back: ", "Your choice: ")
    for user in (ALICE, "bob@example.test"):
        check_message(user, files)


def check_message(user, files):
    """What the server has stored, taken apart by Python."""
    for directory in ("new", "cur"):
        path = os.path.join(HOME, "spool", user, directory)
        for name in os.listdir(path):
            with open(os.path.join(path, name), "rb") as file:
                raw = file.read()
            message = email.message_from_bytes(raw, policy=email.policy.default)
            if str(message["Subject"]).startswith("Re: "):
                continue
            assert not message.defects, message.defects
            assert raw.isascii() and b"bob@example.test" not in raw.split(b"From:", 1)[1], raw
            assert message["Subject"] == SUBJECT
            assert message["To"].addresses[0].display_name == "Élodie Ça", message["To"]
            assert message["Bcc"] is None and message["Message-ID"] and message["Date"].datetime
            text = message.get_body().get_content()
            assert text.replace("\r\n", "\n") == "Bonjour,\n..\n.x\n\nà demain\n", text
            kinds = [part.get_content_type() for part in message.iter_attachments()]
            assert kinds == ["text/plain", "image/png", "text/csv", "text/plain"], kinds
            decoded = {part.get_filename(): part.get_payload(decode=True) for part in message.iter_attachments()}
            assert list(decoded) == list(files) and decoded == files, decoded.keys()
            return
    raise AssertionError(f"{user} has no message")


def in_french():
    terminal = Terminal(LC_ALL="fr_FR.UTF-8")
    terminal.log_in(name="Nom ou adresse", password="Mot de passe : ")
    terminal.answer("Votre choix : ", "2")
    terminal.answer("À (séparés par des virgules) : ", ALICE)
    terminal.answer("Cc : ", "")
    terminal.answer("Cci : ", "")
    terminal.answer("Objet : ", "Été")
    terminal.answer("c'est tout) : ", "")
    terminal.expect("Texte, terminé par")
    terminal.type("Bonjour")
    os.write(terminal.window, b"\x04")
    terminal.answer("Envoyer ? [O/n] ", "o")
    terminal.expect("Envoyé : 250 2.0.0")
    terminal.expect("Le serveur garde une copie")
    terminal.answer("Votre choix : ", "4")
    terminal.answer("Votre choix : ", "1")
    terminal.expect("Boîte de réception, page 1 sur 1")
    terminal.expect(" o ")
    terminal.answer("q : retour : ", "1")
    terminal.expect("De : ")
    terminal.answer("r : répondre, d : supprimer ce message, Entrée : retour : ", "r")
    os.write(terminal.window, b"\x04")
    terminal.expect("Non envoyé.")
    terminal.answer("Entrée : retour : ", "")
    terminal.answer("q : retour : ", "d 1")
    terminal.expect("À supprimer quand vous quitterez : 1.")
    terminal.answer("q : retour : ", "q")
    terminal.answer("Votre choix : ", "3")
    terminal.expect("Été")
    terminal.answer("q : retour : ", "q")
    terminal.answer("Votre choix : ", "q")
    terminal.expect("Supprimés : 1. Au revoir.")
    assert terminal.ended() == 0


def a_table_of_80_columns():
    """Long and hostile headers in a narrow window: no line is too wide, and no escape gets through."""
    terminal = Terminal(size=(80, 12))
    terminal.log_in()
    terminal.answer("Your choice: ", "1")
    before = terminal.answer("q back: ", "n")
    rows = [line for line in before.splitlines() if re.match(r" +\d+ ", line)]
    assert len(rows) == 6, before
    assert all(width(line) <= 80 for line in before.splitlines()), before
    assert "日本" in before and "␛[2J" in before, before
    before = terminal.answer("q back: ", "p")
    assert "page 2 of 2" in before, before
    terminal.answer("q back: ", "10")
    terminal.expect("␛]0;title␇")
    terminal.answer("-- Enter for more, q to stop -- ", "")
    terminal.answer("-- Enter for more, q to stop -- ", "q")
    terminal.answer("Enter to go back: ", "s 1")
    terminal.answer("Into the directory [.]: ", HOME)
    terminal.expect(f"Saved as {HOME}/passwd.")
    terminal.answer("Enter to go back: ", "")
    terminal.leave("q back: ", "Your choice: ")
    escapes = set(re.findall(r"\x1b[^m]*m|\x1b|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", terminal.seen))
    assert escapes <= {"\x1b[1m", "\x1b[0m"}, escapes


def odd_parts():
    """A letter with a blank text, a forwarded message without a body, and a text in Latin-1 with a hidden name."""
    terminal = Terminal()
    terminal.log_in()
    terminal.answer("Your choice: ", "1")
    terminal.expect("日本語")
    terminal.answer("q back: ", "1")
    terminal.expect("Click here [1]")
    terminal.expect("[1] https://shop.test/?a=1&b=2")
    terminal.expect("1  attachment-1.eml  message/rfc822")
    terminal.expect("2  zshenv  text/csv")
    terminal.answer("Enter to go back: ", "s 2")
    terminal.answer("Into the directory [.]: ", "~")
    terminal.expect("Saved as ")
    with open(os.path.join(HOME, "zshenv"), "rb") as file:
        assert file.read() == b"\xe9;1\r\n"
    terminal.answer("Enter to go back: ", "")
    terminal.leave("q back: ", "Your choice: ")


def save_on_a_full_disk():
    """An attachment that does not fit leaves no part of itself under its name."""
    terminal = Terminal()
    terminal.log_in()
    terminal.answer("Your choice: ", "1")
    terminal.answer("q back: ", "1")
    terminal.expect("1  report.csv")
    terminal.answer("Enter to go back: ", "s 1")
    terminal.answer("Into the directory [.]: ", "~/full")
    terminal.expect("No space left on device")
    assert os.listdir(os.path.join(HOME, "full")) == ["filler"]
    terminal.answer("Enter to go back: ", "")
    terminal.leave("q back: ", "Your choice: ")


def delete_and_keep():
    terminal = Terminal()
    terminal.log_in()
    terminal.answer("Your choice: ", "1")
    terminal.expect("Number to read it, d 2 5-7 to delete, u 2 to undelete, n/p next/previous page,")
    terminal.answer("q back: ", "d 1-3 9")
    terminal.expect("There is no message 9 here.")
    terminal.expect("To be deleted when you quit: 1, 2, 3.")
    terminal.answer("q back: ", "u 2")
    terminal.expect("Kept: 2.")
    terminal.answer("q back: ", "1")
    terminal.expect("Message 1 is to be deleted")
    terminal.answer("q back: ", "q")
    terminal.expect("3 in the inbox, 2 to be deleted")
    terminal.answer("Your choice: ", "q")
    terminal.expect("Deleted: 2. Goodbye.")
    assert terminal.ended() == 0


def look_for_new_mail():
    """The marks outlive a look for new mail, and new messages are marked until they are read."""
    terminal = Terminal()
    terminal.log_in()
    terminal.answer("Your choice: ", "1")
    terminal.answer("q back: ", "d 1")
    terminal.expect("To be deleted when you quit: 1.")
    terminal.answer("q back: ", "q")
    with smtplib.SMTP("127.0.0.1", int(SMTP_PORT)) as smtp:
        smtp.sendmail(ALICE, ALICE, "Subject: late\r\n\r\ntext\r\n")
    terminal.answer("Your choice: ", "4")
    terminal.expect("New messages: 1.")
    terminal.expect("Still to be deleted when you quit: 1.")
    terminal.expect("4 in the inbox, 1 to be deleted")
    terminal.answer("Your choice: ", "1")
    rows = terminal.answer("q back: ", "4")
    marks = [row[6:7] for row in rows.splitlines() if re.match(r" +\d+ ", row)]
    assert marks == ["N", "N", "N", "D"], rows
    terminal.answer("Enter to go back: ", "")
    rows = terminal.answer("q back: ", "u 1")
    assert re.search(r"^ +4   ", rows, re.M), rows
    terminal.answer("q back: ", "q")
    terminal.answer("Your choice: ", "4")
    terminal.expect("New messages: 0.")
    terminal.answer("Your choice: ", "q")
    terminal.expect("Nothing was deleted. Goodbye.")
    assert terminal.ended() == 0
    # Read messages stay read at the next start. Two checks for new mail keep the mark, and quitting deletes
    # the marked message.
    terminal = Terminal()
    terminal.log_in()
    terminal.answer("Your choice: ", "1")
    rows = terminal.answer("q back: ", "d 4")
    marks = [row[6:7] for row in rows.splitlines() if re.match(r" +\d+ ", row)]
    assert marks == [" ", "N", "N", "N"], rows
    terminal.answer("q back: ", "q")
    for _ in range(2):
        terminal.answer("Your choice: ", "4")
        terminal.expect("Still to be deleted when you quit: 1.")
    terminal.answer("Your choice: ", "q")
    terminal.expect("Deleted: 1. Goodbye.")
    assert terminal.ended() == 0


def slips():
    """Keys that do not fit: nothing ends without a word, and nothing is deleted that was not meant."""
    terminal = Terminal()
    terminal.answer("Name or address: ", "")
    terminal.expect("No name was given.")
    terminal.log_in()
    terminal.answer("Your choice: ", "1")
    terminal.answer("q back: ", "3")
    before = terminal.answer("Enter to go back: ", "d 2")
    assert "save an attachment" not in before, before
    terminal.expect("Nothing was deleted: here d deletes message 3, which you read. For 2, go back first.")
    terminal.answer("Enter to go back: ", "s 1")
    terminal.expect("This message has no attachment.")
    terminal.answer("Enter to go back: ", "r 2")
    terminal.expect("r 2 is not one of the choices.")
    terminal.answer("Enter to go back: ", "d 3")
    terminal.expect("To be deleted when you quit: 3.")
    terminal.answer("q back: ", "u 3")
    terminal.answer("q back: ", "q")
    terminal.answer("Your choice: ", "q")
    terminal.expect("Nothing was deleted. Goodbye.")
    assert terminal.ended() == 0
    terminal = Terminal()
    terminal.expect("Name or address: ")
    os.write(terminal.window, b"\x04")
    terminal.expect("Goodbye.")
    assert terminal.ended() == 0


def windows_of_all_widths():
    """No line of the client is wider than its window, in any script; words that no blank divides are cut."""
    for columns in (20, 24, 30, 40, 44, 50, 63, 64, 80, 100, 132, 200):
        terminal = Terminal(size=(columns, 24))
        terminal.log_in()
        terminal.answer("Your choice: ", "1")
        terminal.answer("q back: ", "1")
        while terminal.more_or("go back: "):
            terminal.type("")
        terminal.type("")
        terminal.answer("q back: ", "q")
        terminal.answer("Your choice: ", "q")
        assert terminal.ended() == 0, terminal.seen
        shown = plain(terminal.seen)
        shown = shown[shown.index("Password:"):]
        wide = [line for line in shown.splitlines() if width(line) > columns]
        assert not wide, (columns, wide)
        if directory := os.environ.get("RESTANTE_SCREENS"):
            with open(os.path.join(directory, f"client-{columns}.txt"), "w") as file:
                file.write(shown)


def many_marks():
    """Marks that are removed together cost one RSET, and a range beyond the list one line."""
    relay = Relay(int(POP3_PORT))
    terminal = Terminal(pop3=relay.port)
    terminal.log_in()
    terminal.answer("Your choice: ", "1")
    terminal.answer("q back: ", "d 1-9999")
    terminal.expect("There is no message 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, … (9996) here.")
    terminal.expect("To be deleted when you quit: 1, 2, 3.")
    terminal.answer("q back: ", "u 1-2")
    terminal.expect("Kept: 1, 2.")
    terminal.answer("q back: ", "u 1")
    terminal.expect("Not marked as deleted: 1.")
    terminal.answer("q back: ", "?")
    terminal.expect("d 2 5-7 marks as deleted, u 2 takes it back.")
    terminal.answer("q back: ", "d")
    terminal.expect("Name the messages, like d 2 5-7.")
    terminal.answer("q back: ", "q")
    terminal.expect("3 in the inbox, 1 to be deleted")
    terminal.answer("Your choice: ", "q")
    terminal.expect("Deleted: 1. Goodbye.")
    assert terminal.ended() == 0
    assert (relay.heard.count(b"RSET"), relay.heard.count(b"DELE ")) == (1, 4), relay.heard


def a_lost_connection():
    """The connection breaks: nothing is deleted, and the session goes on in a new one."""
    relay = Relay(int(POP3_PORT))
    terminal = Terminal(pop3=relay.port)
    terminal.log_in()
    terminal.answer("Your choice: ", "1")
    terminal.answer("q back: ", "d 1")
    terminal.expect("To be deleted")
    relay.cut()
    terminal.answer("q back: ", "2")
    terminal.expect("was closed")
    terminal.answer("Connect again? [Y/n] ", "")
    terminal.expect("Nothing was deleted")
    terminal.expect("3 in the inbox, 0 to be deleted")
    terminal.answer("Your choice: ", "1")
    terminal.expect("letter 1")
    terminal.answer("q back: ", "q")
    terminal.answer("Your choice: ", "q")
    terminal.expect("Nothing was deleted. Goodbye.")
    assert relay.heard.count(b"TOP ") == 3, "a header is fetched once, and known again by its unique id"
    assert terminal.ended() == 0


class Relay:
    """Passes connections on, until they are cut."""

    def __init__(self, port):
        self.target = port
        self.open = []
        self.heard = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection(("127.0.0.1", self.target))
            self.open += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self.copy, args=pair, daemon=True).start()

    def copy(self, source, target):
        try:
            while octets := source.recv(65536):
                self.heard += octets
                target.sendall(octets)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut(self):
        for end in self.open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other end of it was first
        self.open.clear()


def sign_up():
    """A new account, by the same code as `restante user add`; a taken name and a foreign domain are refused."""
    terminal = Terminal("--config", os.path.join(HOME, "restante.toml"))
    former = ("dora@example.test", "mail of a former account")
    for name, told in ((ALICE, "Not signed up: "), ("eve@far.test", "Not signed up: "), former):
        terminal.answer("q quit: ", "2")
        terminal.answer("Name or address", name)
        if name == ALICE:
            terminal.secret("Password: ", PASSWORD)
            terminal.secret("Repeat the password: ", PASSWORD)
        terminal.expect(told)
        if name == ALICE:
            # The command that is told works as it is printed.
            terminal.expect(f"`restante user passwd {ALICE} --config {os.path.join(HOME, 'restante.toml')}`")
    terminal.answer("q quit: ", "2")
    terminal.answer("Name or address", "Carl@example.test")
    terminal.secret("Password: ", "new secret")
    terminal.secret("Repeat the password: ", "new secret")
    terminal.expect("carl@example.test is signed up.")
    terminal.answer("q quit: ", "1")
    terminal.answer("Name or address [carl@example.test]: ", "")
    terminal.secret("Password: ", "new secret")
    terminal.expect("Waiting until the server knows carl@example.test")
    terminal.expect("carl@example.test: 0 in the inbox")
    terminal.leave("Your choice: ")
    assert "Attempts left" not in terminal.seen, terminal.seen


def between_postfix_and_dovecot():
    """Servers that are not ours: STLS to read, and the copy of what is sent is on this disk."""
    terminal = Terminal("--tls", "starttls", "--cacert", *CERTIFICATE)
    terminal.answer("Name or address", "alice")
    terminal.secret("Password: ", "guess")
    terminal.expect("Attempts left: 2.")
    terminal.secret("Password of alice (Enter alone: another name): ", PASSWORD)
    terminal.expect("alice: 3 in the inbox")
    terminal.answer("Your choice: ", "1")
    terminal.answer("q back: ", "2")
    terminal.expect("Subject: letter 2")
    terminal.expect("\r\n.\r\ntext 2\r\n")
    terminal.answer("Enter to go back: ", "d")
    terminal.answer("q back: ", "d 3")
    terminal.answer("q back: ", "u 3")
    terminal.answer("q back: ", "q")
    terminal.answer("Your choice: ", "q")
    terminal.expect("Deleted: 1. Goodbye.")
    assert terminal.ended() == 0
    terminal = Terminal("--user", "alice")
    terminal.secret("Password: ", PASSWORD)
    terminal.expect("alice: 2 in the inbox")
    terminal.compose("by Postfix", ALICE, mine="alice@far.test")
    terminal.type("hello\n.")
    terminal.answer("Send it? [Y/n] ", "")
    terminal.expect("Sent: 250 2.0.0")
    terminal.expect("A copy is kept on this disk.")
    terminal.answer("Your choice: ", "3")
    terminal.expect("by Postfix")
    terminal.leave("q back: ", "Your choice: ")


def replies():
    """A reply goes to whom the letter asks for, quotes it, and belongs to its thread."""
    terminal = Terminal("--user", ALICE)
    terminal.secret("Password: ", PASSWORD)
    terminal.answer("Your choice: ", "1")
    terminal.answer("q back: ", "1")
    terminal.answer("Enter to go back: ", "r")
    terminal.answer("To (commas between several) [Élodie <bob@example.test>]: ", "")
    for question in ("Cc: ", "Bcc: ", "Subject [Re: Été]: ", "Attach a file (Enter: no more): "):
        terminal.answer(question, "")
    terminal.expect("Text, ended by")
    terminal.type("Yes.\n.")
    terminal.answer("Send it? [Y/n] ", "n")
    terminal.expect("Not sent.")
    terminal.answer("Enter to go back: ", "r")
    for question in ("To (commas", "Cc: ", "Bcc: ", "Subject", "Attach a file (Enter: no more): "):
        terminal.answer(question, "")
    terminal.expect("Text, ended by")
    terminal.type("Yes.\n.")
    terminal.answer("Send it? [Y/n] ", "y")
    terminal.expect("Sent: 250")
    terminal.answer("Enter to go back: ", "")
    # A reply to a sent message goes on to the same people.
    terminal.answer("q back: ", "q")
    terminal.answer("Your choice: ", "3")
    terminal.answer("q back: ", "1")
    terminal.answer("Enter to go back: ", "r")
    terminal.answer("To (commas between several) [Élodie <bob@example.test>]: ", "")
    for question in ("Cc: ", "Bcc: ", "Subject [Re: Été]: ", "Attach a file (Enter: no more): "):
        terminal.answer(question, "")
    terminal.expect("Text, ended by")
    terminal.type("And yes.\n.")
    terminal.answer("Send it? [Y/n] ", "n")
    terminal.answer("Enter to go back: ", "")
    terminal.leave("q back: ", "Your choice: ")
    (path,) = [os.path.join(HOME, "spool/bob@example.test/new", name)
               for name in os.listdir(os.path.join(HOME, "spool/bob@example.test/new"))]
    with open(path, "rb") as file:
        message = email.message_from_binary_file(file, policy=email.policy.default)
    assert message["In-Reply-To"] == "<2@far.test>", message["In-Reply-To"]
    assert message["References"].split() == ["<1@far.test>", "<2@far.test>"], message["References"]
    assert message["Subject"] == "Re: Été"
    quoted = "Yes.\n\nann@far.test wrote:\n> Lunch?\n>> Dinner.\n"
    assert message.get_content().replace("\r\n", "\n") == quoted, message.get_content()


def the_echo_comes_back():
    """A password prompt that is left by any way but SIGKILL gives the terminal its echo back."""
    add = ["user", "add", "zoe@example.test", "--config", os.path.join(HOME, "restante.toml")]
    send = ["send", "--server", f"127.0.0.1:{SMTP_PORT}", "--from", ALICE, "--to", ALICE, "--subject", "x", "--body", "x", "--auth", ALICE]
    for command, question in ((None, "Password: "), (send, f"Password of {ALICE}: "), (add, "New password")):
        ways = [("\x03", signal.SIGINT), ("\x1c", signal.SIGQUIT), *((None, ending) for ending in (
            signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM))]
        for key, ending in ways:
            terminal = Terminal(command=command)
            if command is None:
                terminal.answer("Name or address", ALICE)
            terminal.hidden(question)
            if key:
                os.write(terminal.window, key.encode())
            else:
                os.kill(terminal.pid, ending)
            _, status = os.waitpid(terminal.pid, 0)
            assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == ending, (command, ending, status)
            assert terminal.echoes(), (command, ending)
        # The end of the input.
        terminal = Terminal(command=command)
        if command is None:
            terminal.answer("Name or address", ALICE)
        terminal.hidden(question)
        os.write(terminal.window, b"\x04")
        terminal.ended()
        assert terminal.echoes(), command
    # Ctrl-Z, and going on.
    terminal = Terminal()
    terminal.answer("Name or address", ALICE)
    terminal.hidden("Password: ")
    os.write(terminal.window, b"sesa\x1a")
    _, status = os.waitpid(terminal.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status) and terminal.echoes(), status
    os.kill(terminal.pid, signal.SIGCONT)
    terminal.secret("Password: ", PASSWORD)
    # A signal after the question ends the program as before.
    terminal.expect("Your choice: ")
    os.write(terminal.window, b"\x03")
    _, status = os.waitpid(terminal.pid, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGINT, status


def the_live_screen_gives_the_terminal_back():
    """`restante status --watch` restores the modes of the terminal and its screen, whatever ends it."""
    watch = ["status", "--watch", "--file", os.path.join(HOME, "metrics")]
    for ending in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        terminal = Terminal(command=watch)
        before = termios.tcgetattr(terminal.window)[:4]
        terminal.expect("q quits")
        assert termios.tcgetattr(terminal.window)[:4] != before
        os.kill(terminal.pid, ending)
        until = time.monotonic() + PATIENCE
        while terminal.more(until):
            pass
        _, status = os.waitpid(terminal.pid, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == ending, (ending, status)
        assert termios.tcgetattr(terminal.window)[:4] == before, ending
        assert terminal.seen.rindex("\x1b[?1049l") > terminal.seen.rindex("\x1b[?1049h"), ending
    # The window is closed.
    terminal = Terminal(command=watch)
    terminal.expect("q quits")
    os.close(terminal.window)
    until = time.monotonic() + PATIENCE
    while (ended := os.waitpid(terminal.pid, os.WNOHANG)) == (0, 0):
        assert time.monotonic() < until, "the live screen goes on without its terminal"
        time.sleep(0.05)
    assert os.WIFSIGNALED(ended[1]) and os.WTERMSIG(ended[1]) == signal.SIGHUP, ended


def the_own_address(name="you", password="any", own="you@localhost"):
    """A login name without a domain: the address on offer is that of the mailbox, here and in `restante send`."""
    terminal = Terminal("--user", name)
    terminal.secret("Password: ", password)
    terminal.answer("Your choice: ", "2")
    terminal.answer(f"Your mail address [{own}]: ", "")
    for question, line in (("To (commas between several): ", own), ("Cc: ", ""), ("Bcc: ", ""), ("Subject: ", "own"), ("Attach a file (Enter: no more): ", "")):
        terminal.answer(question, line)
    terminal.expect("Text, ended by")
    terminal.type("text\n.")
    terminal.answer("Send it?", "")
    terminal.answer("Your choice: ", "4")
    terminal.expect(f"{name}: 1 in the inbox")
    terminal.answer("Your choice: ", "1")
    terminal.answer("q back: ", "1")
    terminal.expect(f"From: {own}")
    terminal.answer("Enter to go back: ", "")
    terminal.leave("q back: ", "Your choice: ")
    terminal = Terminal(command=["send", "--subject", "x", "--body", "x"], USER=name)
    terminal.answer("Server [127.0.0.1:2525]: ", f"127.0.0.1:{SMTP_PORT}")
    terminal.answer(f"From [{own}]: ", "")
    terminal.answer(f"To (commas between several) [{own}]: ", "")
    terminal.expect("250 2.0.0 Queued as")
    assert terminal.ended() == 0


def the_own_address_in_a_domain():
    """The server is named mx.example.test, and its domain is example.test."""
    the_own_address("alice", PASSWORD, ALICE)


def the_listeners_of_a_configuration():
    """`--config` names the server too, and `--user` the login: only the password is asked for."""
    terminal = Terminal("--user", ALICE, command=["client", "--config", os.path.join(HOME, "at.toml")])
    terminal.answer("q quit: ", "1")
    terminal.secret("Password: ", PASSWORD)
    terminal.expect(f"{ALICE}: 0 in the inbox")
    terminal.leave("Your choice: ")


def a_mailbox_in_use():
    """Another session has the mailbox: that is no failed login, and nothing is asked for again."""
    other = socket.create_connection(("127.0.0.1", int(POP3_PORT)))
    lines = other.makefile("rwb")
    for line in (b"USER " + ALICE.encode(), b"PASS " + PASSWORD.encode(), b"STAT"):
        lines.readline()
        lines.write(line + b"\r\n")
        lines.flush()
    assert lines.readline().startswith(b"+OK 0 0")
    terminal = Terminal("--user", ALICE)
    terminal.secret("Password: ", PASSWORD)
    terminal.expect("[IN-USE]")
    lines.write(b"QUIT\r\n")
    lines.flush()
    lines.readline()
    other.close()
    terminal.answer("Try again?", "")
    terminal.expect(f"{ALICE}: 0 in the inbox")
    terminal.leave("Your choice: ")
    assert "Attempts left" not in terminal.seen, terminal.seen


def send_asks():
    """`restante send` on a terminal asks for what is missing, and offers answers."""
    terminal = Terminal("-v", command=["send"], USER="zoe")
    terminal.answer("Server [127.0.0.1:2525]: ", f"127.0.0.1:{SMTP_PORT}")
    terminal.answer("From [zoe@localhost]: ", "zoe@example.test")
    terminal.answer("To (commas between several) [zoe@example.test]: ", "you@example.test")
    terminal.answer("Subject: ", "asked for")
    terminal.expect("Text, ended by")
    terminal.type("text\n.")
    terminal.expect("\x1b[36mC: MAIL FROM:<zoe@example.test>")
    terminal.expect("250 2.0.0 Queued as")
    assert terminal.ended() == 0
    assert os.listdir(os.path.join(HOME, "spool/you@example.test/new"))


def a_mistyped_answer():
    """`restante send` asks again after an answer that it cannot read."""
    terminal = Terminal(command=["send", "--body", "x"], USER="zoe")
    terminal.answer("Server [127.0.0.1:2525]: ", "localhost")
    terminal.expect('"localhost" is not a host and a port')
    terminal.answer("Server [127.0.0.1:2525]: ", f"127.0.0.1:{SMTP_PORT}")
    terminal.answer("From [zoe@localhost]: ", "zoe@")
    terminal.expect('"zoe@" is not an address')
    terminal.answer("From [zoe@localhost]: ", "")
    terminal.answer("To (commas between several) [zoe@localhost]: ", "ann@example.test, bob@")
    terminal.expect('"ann@example.test, bob@" is not an address')
    terminal.answer("To (commas between several) [zoe@localhost]: ", "bob@example.test")
    terminal.answer("Subject: ", "")
    terminal.expect("250 2.0.0 Queued as")
    assert terminal.ended() == 0


def a_silent_port():
    """A server waits for the TLS of its client, who waits for a greeting: the one at the terminal is told at once."""
    hint = "A port for TLS from the first octet, as 465, 993, 995, 2465, 1993 and 1995 are, needs --tls implicit"
    for words in (["send", "--from", "a@b.test", "--to", "c@d.test", "--subject", "x", "--body", "x", "--server"], ["client", "--pop3"]):
        server = socket.create_server(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % server.getsockname()[1]
        terminal = Terminal(command=[*words, address])
        connection, _ = server.accept()
        terminal.expect(f"{address} has not greeted yet, still waiting. {hint}")
        connection.close()
        terminal.expect(f"{address} gave no greeting. Nothing was sent to it.")
        terminal.expect("needs --tls implicit.")
        assert terminal.ended() == 1


def kept(terminal):
    """The text of the draft, and the words of the command that sends it."""
    terminal.expect("Kept in ")
    path = terminal.expect(". To send it later, type:")
    terminal.expect("\r\n")
    words = shlex.split(terminal.expect("\r\n"))
    assert words[:2] == ["restante", "send"] and words[-1] == f"--raw={path}", words
    assert os.stat(path).st_mode & 0o777 == 0o600, path
    with open(path, encoding="ascii") as file:
        return file.read(), words[1:]


def a_refused_letter():
    """A refused letter is sent again, to others, or later from a file; no answer loses it."""
    terminal = Terminal("--user", ALICE, size=(200, 24))
    terminal.secret("Password: ", PASSWORD)
    terminal.compose("first", "carl+452@example.test")
    terminal.type("the first letter\n.")
    terminal.answer("Send it? [Y/n] ", "")
    terminal.expect("Not to carl+452@example.test: 452")
    terminal.answer(UNSENT, "9")
    terminal.expect("9 is not one of the choices.")
    terminal.answer(UNSENT, "1")
    terminal.expect("Not to carl+452@example.test: 452")
    terminal.answer(UNSENT, "2")
    terminal.expect("Enter takes the addresses in brackets")
    terminal.answer("To (commas between several): ", "bob@example.test")
    for question in ("Cc: ", "Bcc: "):
        terminal.answer(question, "")
    terminal.expect("Sent: 250")
    terminal.expect("The server keeps a copy")
    terminal.compose("second", "bob@example.test, carl+550@example.test")
    terminal.type("the second letter\n.")
    terminal.answer("Send it? [Y/n] ", "")
    terminal.answer("Send it to the other recipients anyway? [Y/n] ", "")
    terminal.expect("Sent: 250")
    terminal.answer(UNSENT, "3")
    text, words = kept(terminal)
    assert "the second letter" in text and "--to=carl+550@example.test" in words, (text, words)
    terminal.compose("third", "bob+452-after-dot@example.test, carl+451@example.test")
    terminal.type("the third letter\n.")
    terminal.answer("Send it? [Y/n] ", "")
    terminal.answer("Send it to the other recipients anyway? [Y/n] ", "")
    terminal.expect("452")
    terminal.expect("Not sent.")
    terminal.answer(UNSENT, "3")
    text, words = kept(terminal)
    assert "the third letter" in text, text
    rest = words.index("--to=bob+452-after-dot@example.test,carl+451@example.test")
    words[rest] = "--to=bob@example.test"
    subprocess.run([PROGRAM, *words], check=True, env={"RESTANTE_PASSWORD": PASSWORD})
    terminal.leave("Your choice: ")


def a_letter_kept_by_a_signal():
    """Ctrl-C, SIGTERM and Ctrl-D at the question keep the letter, and a server that is down loses none."""
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    for ends in (signal.SIGINT, signal.SIGTERM, None):
        terminal = Terminal("--user", ALICE, size=(200, 24), smtp=port)
        terminal.secret("Password: ", PASSWORD)
        terminal.compose("kept", "carl@example.test")
        terminal.type("the letter\n.")
        terminal.answer("Send it? [Y/n] ", "")
        terminal.expect("cannot connect to")
        terminal.expect(UNSENT)
        if ends == signal.SIGTERM:
            os.kill(terminal.pid, ends)
        else:
            os.write(terminal.window, b"\x03" if ends else b"\x04")
        text, _ = kept(terminal)
        assert "the letter" in text, text
        if ends:
            assert terminal.ended() == -ends, terminal.seen
        else:
            terminal.leave("Your choice: ")
    assert len(os.listdir(os.path.join(HOME, ".local/share/restante/drafts"))) == 3


def answers_that_are_no_choices():
    """An answer to yes or no that is neither is told, before the question comes again."""
    relay = Relay(int(POP3_PORT))
    terminal = Terminal(pop3=relay.port)
    terminal.log_in()
    terminal.answer("Your choice: ", "1")
    terminal.expect("q back: ")
    relay.cut()
    terminal.type("2")
    terminal.answer("Connect again? [Y/n] ", "maybe")
    terminal.expect("maybe is not one of the choices.")
    terminal.answer("Connect again? [Y/n] ", "")
    terminal.expect("Connected again.")
    terminal.leave("Your choice: ")


def quoted_attachments():
    """Names of attachments as a shell or a file manager quotes them; and `s` without a number."""
    for name in ("été liste.txt", "plan.txt"):
        with open(os.path.join(HOME, name), "w", encoding="utf-8") as file:
            file.write(name)
    terminal = Terminal(LC_ALL="fr_FR.UTF-8")
    terminal.log_in(name="Nom ou adresse", password="Mot de passe : ")
    terminal.answer("Votre choix : ", "2")
    terminal.answer("À (séparés par des virgules) : ", f"{ALICE}; bob@example.test;")
    for question in ("Cc : ", "Cci : ", "Objet : "):
        terminal.answer(question, "")
    terminal.answer("c'est tout) : ", "~/été\\ liste.txt")
    terminal.expect("été liste.txt : text/plain")
    terminal.answer("c'est tout) : ", f"'{HOME}/plan.txt' ")
    terminal.expect("plan.txt : text/plain")
    terminal.answer("c'est tout) : ", "/nowhere")
    terminal.expect("/nowhere est illisible : ce fichier ou ce répertoire n'existe pas (erreur 2 du système).")
    terminal.answer("c'est tout) : ", "")
    terminal.expect("Texte, terminé par")
    terminal.type(".")
    terminal.answer("Envoyer ? [O/n] ", "")
    terminal.expect("Envoyé : 250 2.0.0")
    terminal.answer("Votre choix : ", "4")
    terminal.answer("Votre choix : ", "1")
    terminal.answer("q : retour : ", "1")
    terminal.answer("Entrée : retour : ", "s")
    terminal.expect("Donnez le numéro de la pièce, par exemple s 1.")
    terminal.answer("Entrée : retour : ", "")
    terminal.leave("q : retour : ", "Votre choix : ")


def a_typed_letter_is_kept():
    """A letter that was typed for `restante send` and not sent is in a file, and the command for it is told."""
    drafts = os.path.join(HOME, ".local/share/restante/drafts")

    def send(*words, to, port=SMTP_PORT):
        command = ["send", "--server", f"127.0.0.1:{port}", "--from", ALICE, "--to", to, "--subject", "typed"]
        terminal = Terminal(command=[*command, *words], size=(200, 24))
        return terminal

    terminal = send(to="bob@example.test,carl+452@example.test")
    terminal.expect("Text, ended by")
    terminal.type("the letter\n.")
    terminal.expect("A fault on demand (the address asks for it)")
    text, words = kept(terminal)
    assert "the letter" in text and "--to=carl+452@example.test" in words, (text, words)
    assert terminal.ended() == 4
    terminal = send("-", to="carl+550@example.test")
    terminal.type("from standard input")
    os.write(terminal.window, b"\x04")
    terminal.expect("Refused")
    text, words = kept(terminal)
    assert "from standard input" in text, text
    assert terminal.ended() == 5
    words[words.index("--to=carl+550@example.test")] = "--to=bob@example.test"
    subprocess.run([PROGRAM, *words], check=True, env={})
    assert len(os.listdir(drafts)) == 2, os.listdir(drafts)
    # A letter that was sent leaves no file, nor does one that was not typed.
    terminal = send(to="zoe@example.test")
    terminal.expect("Text, ended by")
    terminal.type(".")
    terminal.expect("Queued")
    assert terminal.ended() == 0
    terminal = send("--body", "x", to="carl+550@example.test")
    terminal.expect("Refused")
    assert terminal.ended() == 5
    assert len(os.listdir(drafts)) == 2, os.listdir(drafts)
    # Mistakes are told before anything is typed.
    terminal = send("--attach", "/nowhere", to="zoe@example.test")
    terminal.expect("cannot read /nowhere")
    assert terminal.ended() == 2
    # Ctrl-C at a silent server keeps it too.
    silent = socket.create_server(("127.0.0.1", 0))
    terminal = send(to="zoe@example.test", port=silent.getsockname()[1])
    terminal.expect("Text, ended by")
    terminal.type("to nobody\n.")
    terminal.expect("has not greeted yet")
    os.write(terminal.window, b"\x03")
    assert terminal.ended() == -signal.SIGINT
    with open(os.path.join(drafts, "draft-3.eml"), encoding="ascii") as file:
        assert "to nobody" in file.read()


def a_mistyped_fault():
    """The remark of the server about a fault in the login name is shown."""
    terminal = Terminal(LANG="fr_FR.UTF-8")
    terminal.log_in(user="alice+452@example.test", name="Nom ou adresse", password="Mot de passe : ")
    terminal.expect("Vérifiez le nom : +452 is a fault for a recipient: send to it")
    terminal.leave("Votre choix : ")


def q_at_yes_or_no():
    """`q` is a no where a no leaves, and no answer where a no would lose a letter."""
    terminal = Terminal()
    terminal.log_in()
    terminal.compose("unsure", "bob@example.test")
    terminal.type(".")
    terminal.answer("Send it? [Y/n] ", "q")
    terminal.expect("q is not one of the choices.")
    terminal.answer("Send it? [Y/n] ", "n")
    terminal.leave("Your choice: ")
    relay = Relay(int(POP3_PORT))
    terminal = Terminal(pop3=relay.port)
    terminal.log_in()
    terminal.answer("Your choice: ", "1")
    terminal.expect("q back: ")
    relay.cut()
    terminal.type("2")
    terminal.answer("Connect again? [Y/n] ", "q")
    terminal.expect("was closed")
    assert terminal.ended() == 1


def run(*stories):
    """Runs the story that the command line names."""
    signal.alarm(120)
    {story.__name__: story for story in stories}[STORY]()


if __name__ == "__main__":
    run(
        wrong_twice_then_right, wrong_three_times, write_with_attachments, in_french, a_table_of_80_columns,
        odd_parts, save_on_a_full_disk, delete_and_keep, a_lost_connection, sign_up, between_postfix_and_dovecot,
        replies, a_refused_letter, a_letter_kept_by_a_signal, answers_that_are_no_choices, quoted_attachments, a_typed_letter_is_kept, q_at_yes_or_no, a_mistyped_fault, the_own_address, the_own_address_in_a_domain, the_listeners_of_a_configuration, a_mailbox_in_use, send_asks, a_mistyped_answer, a_silent_port, the_echo_comes_back, the_live_screen_gives_the_terminal_back, look_for_new_mail, slips, many_marks, windows_of_all_widths,
    )
