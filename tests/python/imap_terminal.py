"""restante client --imap in a pseudo-terminal, as people use it:

python3 imap_terminal.py STORY PROGRAM SMTP_PORT IMAP_PORT DIRECTORY [CERTIFICATE]

Any failed assertion or exception ends the script, and with it the test that runs it.
"""

import imaplib
import re
import smtplib
import socket
import threading

from terminal import ALICE, CERTIFICATE, PASSWORD, POP3_PORT as IMAP_PORT, SMTP_PORT, Relay, Terminal, plain, run, width

BACK = "q back: "


def client(*arguments, imap=IMAP_PORT, **others):
    command = ["client", "--smtp", f"127.0.0.1:{SMTP_PORT}", "--imap", f"127.0.0.1:{imap}"]
    return Terminal(*arguments, command=command, **others)


def deliver(subject, text="text"):
    with smtplib.SMTP("127.0.0.1", int(SMTP_PORT)) as smtp:
        smtp.sendmail("ann@far.test", [ALICE], f"From: ann@far.test\r\nSubject: {subject}\r\n\r\n{text}\r\n")


def row(terminal, end, subject):
    """The row of a message in the list that the screen shows before that text."""
    shown = terminal.expect(end)
    lines = [line for line in shown.splitlines() if subject in line]
    assert len(lines) == 1, (subject, shown)
    return lines[0]


def folders_flags_and_searches():
    """Folders with their numbers, marks that stay on the server, searches, moves and deletions."""
    terminal = client()
    terminal.log_in()
    terminal.expect(f"The folders of {ALICE}")
    assert re.search(r"1 INBOX +3 +3", terminal.expect("q to quit: "))
    terminal.type("1")
    assert re.search(r"2 N +letter|2 N .*letter 2", row(terminal, BACK, "letter 2"))
    terminal.type("2")
    terminal.answer("Enter to go back: ", "")
    assert " N " not in row(terminal, BACK, "letter 2"), "it was read"
    terminal.type("f 3")
    terminal.expect("Flagged: 3.")
    assert " NF " in row(terminal, BACK, "letter 3")
    terminal.type("f 3 1")  # one of them has no flag yet
    terminal.expect("Flagged: 1, 3.")
    terminal.answer(BACK, "r 1-2")
    terminal.expect("Read: 1, 2.")
    terminal.answer(BACK, "r 2")
    terminal.expect("Unread: 2.")
    terminal.answer(BACK, "d 1 2 9")
    terminal.expect("There is no message 9 here.")
    terminal.expect("Marked as deleted: 1, 2. x removes them, u takes it back.")
    assert " NFD" not in row(terminal, BACK, "letter 2")
    terminal.type("u 2")
    terminal.expect("Kept: 2.")
    terminal.answer(BACK, "u 2")
    terminal.expect("Not marked as deleted: 2.")
    terminal.answer(BACK, "x")
    terminal.expect("Deleted: 1.")
    terminal.answer(BACK, "x")
    terminal.expect("No message is marked as deleted; d 2 5-7 marks some.")
    terminal.answer(BACK, "l")
    assert re.search(r"1 N ", row(terminal, BACK, "letter 2")), "the numbers are those of the list"
    deliver("zebra", "The one with stripes.")
    terminal.type("")
    terminal.expect("New messages: 1. Gone: 0.")
    terminal.answer(BACK, "/ZEBRA stripes")
    terminal.expect("INBOX: messages with these words, page 1 of 1")
    assert "3 N" in row(terminal, BACK, "zebra")
    terminal.type("t 3")
    terminal.expect("Moved to Trash: 3.")
    terminal.answer(BACK, "/")
    row(terminal, BACK, "letter 2")
    terminal.type("/nowhere")
    terminal.expect("No message here has these words.")
    terminal.answer(BACK, "/ÉTÉ nowhere")
    terminal.expect("No message here has these words.")
    terminal.answer(BACK, "m 1 Nowhere")
    terminal.expect("There is no folder Nowhere. The folders are: INBOX, Archive, Drafts, Junk, Sent, Trash.")
    terminal.answer(BACK, "m archive")
    terminal.expect("Name the messages and the folder")
    terminal.answer(BACK, "m 1 arch")
    terminal.expect("Moved to Archive: 1.")
    terminal.answer(BACK, "t 1")
    terminal.expect("Moved to Trash: 1.")
    terminal.expect("INBOX, page 1 of 1 There is no message.")
    terminal.answer(BACK, "?")
    terminal.expect("/words shows the messages with these words")
    terminal.answer(BACK, "t")
    terminal.expect("Name the messages, like t 2 5-7.")
    terminal.answer(BACK, "q")
    shown = terminal.expect("q to quit: ")
    assert re.search(r"INBOX +0 +0", shown) and re.search(r"2 Archive +1 +1", shown) and re.search(r"6 Trash +2 +2", shown), shown
    terminal.type("6")
    terminal.answer(BACK, "t 1")
    terminal.expect("This is the folder for deleted messages")
    terminal.answer(BACK, "2")
    terminal.expect("Subject: letter 3")
    terminal.answer("Enter to go back: ", "d")
    terminal.expect("Marked as deleted: 2.")
    assert " FD " in row(terminal, BACK, "letter 3")
    terminal.type("q")
    terminal.answer("q to quit: ", "7")
    terminal.expect("7 is not one of the choices.")
    terminal.answer("q to quit: ", "q")
    terminal.expect("Goodbye.")
    assert terminal.ended() == 0


def sent_and_without_a_date():
    """A message without a date has that of its arrival; a reply to a sent message goes to its recipients."""
    with imaplib.IMAP4("127.0.0.1", int(IMAP_PORT)) as imap:
        imap.login(ALICE, PASSWORD)
        imap.create("Sent")
        for folder, message in (
            ("INBOX", b"From: ann@far.test\r\nSubject: dateless\r\n\r\nx\r\n"),
            ("Sent", f"From: {ALICE}\r\nTo: Bob <bob@example.test>\r\nSubject: lunch\r\n\r\nLunch?\r\n".encode()),
        ):
            assert imap.append(folder, "\\Seen", '"17-Jul-2025 10:44:25 +0200"', message)[0] == "OK"
    terminal = client()
    terminal.log_in()
    terminal.answer("q to quit: ", "1")
    assert "2025-07-17 " in row(terminal, BACK, "dateless")
    terminal.type("1")
    assert re.search(r"Date: .*2025-07-17 ", terminal.expect("Enter to go back: "))
    terminal.type("")
    terminal.answer(BACK, "")
    terminal.answer(BACK, "q")
    shown = terminal.expect("q to quit: ")
    (number,) = re.findall(r"(\d+) Sent ", shown)
    terminal.type(number)
    terminal.answer(BACK, "1")
    terminal.answer("Enter to go back: ", "r")
    terminal.answer("To (commas between several) [Bob <bob@example.test>]: ", "")
    for question in ("Cc: ", "Bcc: ", "Subject [Re: lunch]: ", "Attach a file (Enter: no more): "):
        terminal.answer(question, "")
    terminal.expect("Text, ended by")
    terminal.type("Yes.\n.")
    terminal.answer("Send it? [Y/n] ", "n")
    terminal.expect("Not sent.")


def news():
    """IDLE and NOOP show what has come, and numbers on the screen stay until the list is shown again."""
    terminal = client("-v")
    terminal.log_in()
    terminal.answer("q to quit: ", "1")
    terminal.expect("There is no message.")
    terminal.answer(BACK, "w")
    terminal.expect("Waiting for news. Press Enter to stop.")
    terminal.expect("S: +")
    deliver("the first")
    terminal.expect("New messages: 1. Gone: 0.")
    assert " N " in row(terminal, BACK, "the first")
    deliver("the second")
    terminal.type("f 1")
    terminal.expect("UID STORE")
    terminal.expect("Flagged: 1.")
    row(terminal, BACK, "the second")
    terminal.type("w")
    terminal.expect("S: +")
    terminal.type("")
    terminal.expect("C: DONE")
    terminal.answer(BACK, "")
    terminal.expect("NOOP")
    terminal.answer(BACK, "q")
    terminal.leave("q to quit: ")
    assert PASSWORD not in terminal.seen and f'C: a1 LOGIN "{ALICE}" ***' in plain(terminal.seen).replace("\x1b[36m", ""), terminal.seen


def a_mistyped_fault():
    """The remark of the server about a fault in the login name is shown."""
    terminal = client(LANG="C")
    terminal.log_in(user="alice+452@example.test")
    terminal.expect("Check the login name: +452 is a fault for a recipient: send to it")
    terminal.leave("q to quit: ")


def numbers_on_the_screen():
    """Another session removes a message and marks one: the numbers are those of the list on the screen until it is shown again."""
    terminal = client()
    terminal.log_in()
    terminal.answer("q to quit: ", "1")
    terminal.expect(BACK)
    with imaplib.IMAP4("127.0.0.1", int(IMAP_PORT)) as other:
        other.login(ALICE, PASSWORD)
        other.select()
        other.store("1", "+FLAGS", "(\\Deleted)")
        other.store("2", "+FLAGS", "(\\Answered \\Seen)")
        other.expunge()
    terminal.type("1")
    terminal.expect("Message 1 is gone: another session removed it.")
    terminal.expect("New messages: 0. Gone: 1.")
    shown = terminal.expect(BACK)
    assert re.search(r"2 N ", shown) and re.search(r"1 A ", shown), shown
    terminal.type("f 2")
    terminal.expect("Flagged: 2.")
    assert " NF " in row(terminal, BACK, "letter 3")
    terminal.type("q")
    terminal.leave("q to quit: ")


def a_lost_connection():
    """The connection breaks: marks are on the server, and the session goes on in a new one."""
    relay = Relay(int(IMAP_PORT))
    terminal = client(imap=relay.port)
    terminal.log_in()
    terminal.answer("q to quit: ", "1")
    terminal.answer(BACK, "d 1")
    terminal.expect("Marked as deleted: 1.")
    relay.cut()
    terminal.answer(BACK, "2")
    terminal.expect("was closed")
    terminal.answer("Connect again? [Y/n] ", "")
    terminal.expect("Marks are on the server")
    terminal.answer("q to quit: ", "1")
    assert " ND" in row(terminal, BACK, "letter 1")
    terminal.type("q")
    terminal.leave("q to quit: ")


def in_french():
    terminal = client(LC_ALL="fr_FR.UTF-8")
    terminal.log_in(name="Nom ou adresse", password="Mot de passe : ")
    terminal.expect(f"Les dossiers de {ALICE}")
    terminal.answer("q : quitter : ", "1")
    terminal.answer("q : retour : ", "d 1-2")
    terminal.expect("Marqués à supprimer : 1, 2. x les supprime, u l'annule.")
    terminal.answer("q : retour : ", "?")
    terminal.expect("S à supprimer")
    terminal.answer("q : retour : ", "t 3")
    terminal.expect("Déplacés vers Trash : 3.")
    terminal.leave("q : retour : ", "q : quitter : ")


def wrong_passwords():
    """A refused login is explained, and no password is shown."""
    terminal = client("--user", ALICE)
    terminal.secret("Password: ", "guess2")
    terminal.expect("NO [AUTHENTICATIONFAILED]")
    terminal.expect("the name or the password is wrong. Attempts left: 2.")
    terminal.secret("another name): ", "gu\"es\\s1é")
    terminal.expect("Attempts left: 1.")
    terminal.secret("another name): ", PASSWORD)
    terminal.leave("q to quit: ")
    assert PASSWORD not in terminal.seen and "guess" not in terminal.seen, terminal.seen


def a_refusal_in_french():
    """The server speaks the language of the person before the login."""
    terminal = client("--user", ALICE, LC_ALL="fr_FR.UTF-8")
    terminal.secret("Mot de passe : ", "guess2")
    terminal.expect("NO [AUTHENTICATIONFAILED]")
    terminal.expect("Utilisateur")
    terminal.secret("un autre nom) : ", PASSWORD)
    terminal.leave("q : quitter : ")


def over_tls():
    terminal = client("--tls", "implicit", "--cacert", CERTIFICATE[0])
    terminal.log_in()
    terminal.expect(f"The folders of {ALICE}")
    terminal.leave("q to quit: ")


def windows_of_all_widths():
    """No line is wider than its window."""
    for columns in (20, 24, 30, 40, 44, 50, 63, 64, 80, 100, 132, 200):
        terminal = client(size=(columns, 24))
        terminal.log_in()
        terminal.answer("quit: ", "1")
        terminal.answer(BACK, "f 1")
        terminal.answer(BACK, "?")
        terminal.answer(BACK, "q")
        terminal.answer("quit: ", "q")
        assert terminal.ended() == 0, terminal.seen
        shown = plain(terminal.seen)
        shown = shown[shown.index("Password:"):]
        typed = re.compile(r"(?<=: )[^ ]+( \d)?$")  # what a person types after a question is theirs
        wide = [line for line in shown.splitlines() if width(typed.sub("", line)) > columns]
        assert not wide, (columns, wide)


class Hostile:
    """A server that answers each command as it is told, and the last one until the client leaves."""

    def __init__(self, *answers):
        self.answers = answers
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        connection, _ = self.socket.accept()
        try:
            connection.sendall(b"* OK [CAPABILITY IMAP4rev1 MOVE] hello\r\n")
            for line in connection.makefile("rb"):
                tag, word = line.split()[:2]
                answer = next((answer for name, answer in self.answers if line.split(b" ", 1)[1].startswith(name)), b"")
                if callable(answer):
                    while True:
                        connection.sendall(answer())
                connection.sendall(answer + tag + b" OK done\r\n")
        except OSError:
            pass


FOLDERS = (b"LIST", b'* LIST () "/" INBOX\r\n')


def hostile_servers():
    """Endless lines, responses, literals and lists, numbers of messages that are not there: the client says so, and ends."""
    rows = b"* 1 FETCH (UID 7 FLAGS () RFC822.SIZE 9)\r\n"
    fetch = (b"FETCH", rows)
    select = (b"SELECT", b"* 1 EXISTS\r\n")
    header = (b"UID FETCH", b"* 1 FETCH (UID 7 BODY[HEADER.FIELDS (X)] {15}\r\nSubject: \x1b[2J\r\n)\r\n")
    for answers in (
        [(b"LOGIN", lambda: b"x" * 65536)],
        [(b"LOGIN", lambda: b"* OK still here\r\n" * 1000)],
        [(b"LOGIN", lambda: b"* 1 FETCH (UID {99999999999}\r\n")],
        [(b"LOGIN", lambda: b"* " + b"5 EXISTS\r\n* " * 5000)],
        [(b"LIST", lambda: b'* LIST () "/" ' + b"a" * 1000 + b"\r\n")],
        [(b"LIST", b"* LIST " + b"(" * 100_000 + b"\r\n")],
        [FOLDERS, (b"SELECT", b"* 4294967295 EXISTS\r\n")],
        [FOLDERS, (b"SELECT", b"* 3 EXISTS\r\n"), fetch],
        [FOLDERS, select, fetch, header, (b"UID STORE", b"* 9 EXPUNGE\r\n" + b"* 1 EXPUNGE\r\n" * 3 + b"* 4294967295 EXISTS\r\n")],
        [FOLDERS, select, fetch, (b"UID FETCH", b"* 1 FETCH (UID 7 BODY[] {5}\r\nab\x00\r\n" * 3)],
    ):
        server = Hostile(*answers)
        terminal = client("--user", ALICE, imap=server.port)
        terminal.secret("Password: ", PASSWORD)
        if FOLDERS in answers:
            terminal.answer("q to quit: ", "1")
        if header in answers:
            assert "␛[2J" in terminal.expect(BACK)
            terminal.type("d 1")
        terminal.expect("does not speak this protocol")
        if answers[0][0] != b"LOGIN":
            terminal.answer("Connect again? [Y/n] ", "n")
        assert terminal.ended() == 1, terminal.seen
        assert "\x1b[2J" not in terminal.seen
        server.socket.close()


def a_refused_letter_is_a_draft():
    """A refused letter goes into the folder of drafts, with its hidden recipients."""
    terminal = client("--user", ALICE, LC_ALL="fr_FR.UTF-8")
    terminal.secret("Mot de passe : ", PASSWORD)
    terminal.answer("q : quitter : ", "w")
    terminal.answer("À (séparés par des virgules) : ", "carl+452@example.test")
    for question, line in (("Cc : ", ""), ("Cci : ", "zoe+452@example.test"), ("Objet : ", "kept"), ("c'est tout) : ", "")):
        terminal.answer(question, line)
    terminal.expect("Texte, terminé par")
    terminal.type("the letter\n.")
    terminal.answer("Envoyer ? [O/n] ", "")
    terminal.expect("Non envoyé.")
    terminal.answer("1 réessayer   2 changer les destinataires   3 le garder et revenir : ", "3")
    terminal.expect("Gardé dans le dossier Drafts.")
    terminal.answer("q : quitter : ", "q")
    assert terminal.ended() == 0
    with imaplib.IMAP4("127.0.0.1", int(IMAP_PORT)) as imap:
        imap.login(ALICE, PASSWORD)
        imap.select("Drafts")
        _, [(about, message), *_] = imap.fetch("1", "(FLAGS BODY[])")
        assert b"the letter" in message and b"Bcc: zoe+452@example.test\r\n" in message, message
        _, [about] = imap.fetch("1", "(FLAGS)")
        assert b"\\Draft" in about, about


if __name__ == "__main__":
    run(folders_flags_and_searches, a_refused_letter_is_a_draft, sent_and_without_a_date, news, a_lost_connection, in_french, wrong_passwords, a_refusal_in_french, over_tls, windows_of_all_widths, hostile_servers, numbers_on_the_screen, a_mistyped_fault)
