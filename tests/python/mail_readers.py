"""Mail programs with a screen, in a pseudo-terminal, at a running IMAP server.

    python3 mail_readers.py (alpine | mutt | neomutt) HOST:PORT USER PASSWORD DIRECTORY

alice's INBOX has the letters sent-0 to sent-3. The script prints `watching` when the program waits for news, and ends after the
program has shown the letter `late`, which the test delivers then. Any failed assertion ends the script, and with it the test.
"""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

PROGRAM, SERVER, USER, PASSWORD, HOME = sys.argv[1:]
PATIENCE = 60
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()=>78][B0]?")


class Terminal:
    """A program in a window, and somebody who reads it and types."""

    def __init__(self, *command):
        self.pid, self.window = pty.fork()
        if self.pid == 0:
            os.chdir(HOME)
            variables = {"PATH": os.environ["PATH"], "TERM": "vt100", "HOME": HOME, "LANG": "C"}
            os.execvpe(command[0], command, variables)
        fcntl.ioctl(self.window, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.unread = ""

    def read(self):
        try:
            octets = os.read(self.window, 65536)
        except OSError:  # Linux: nobody has the other end open any more
            octets = b""
        self.unread += ESCAPES.sub("", octets.decode("utf-8", "replace"))
        return bool(octets)

    def expect(self, pattern):
        """Waits until the pattern is on the screen, and forgets all that stood before its end."""
        until = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.unread, re.IGNORECASE)):
            ready, _, _ = select.select([self.window], [], [], max(0, until - time.monotonic()))
            assert ready and self.read(), f"{pattern!r} never came:\n{self.unread}"
        self.unread = self.unread[found.end():]

    def answer(self, pattern, keys):
        self.expect(pattern)
        os.write(self.window, keys.encode())

    def end(self):
        """Waits for the end of the program."""
        while self.read():
            pass
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, status


def alpine():
    folders = f"{{{SERVER}/notls/user={USER}}}"
    with open(f"{HOME}/rc", "w") as settings:
        settings.write(
            f"inbox-path={folders}INBOX\nfolder-collections={folders}[]\npersonal-name=Alice\nuser-domain=example.test\n"
            "feature-list=quit-without-confirm,expunge-without-confirm\nlast-version-used=9.99\nmail-check-interval=1\n"
        )
    terminal = Terminal("alpine", "-p", f"{HOME}/rc", "-i")
    terminal.answer("password", f"{PASSWORD}\r")
    terminal.answer("preserve password", "n")
    terminal.answer("sent-3", "d")
    terminal.answer("marked for deletion", "s")
    terminal.answer("to folder", "Archive\r")
    # If saving took a while, alpine says so, and of its next words it draws just the letters that differ.
    terminal.answer("message.*copied|saving.*done", "x")
    terminal.expect("expunged")
    print("watching", flush=True)
    terminal.answer("late", "q")
    terminal.end()


def mutt():
    place = f"imap://{SERVER}/"
    settings = (
        f"set imap_user={USER} imap_pass={PASSWORD} ssl_starttls=no ssl_force_tls=no folder={place} imap_idle=yes timeout=1 "
        "mail_check=1 quit=yes move=no confirmappend=no delete=yes wait_key=no"
    )
    terminal = Terminal(PROGRAM, "-n", "-F", "/dev/null", "-e", settings, "-f", f"{place}INBOX")
    terminal.answer("sent-3", "d")
    terminal.answer("del:1", "s")
    terminal.answer("save to mailbox", "\x15=Archive\r")
    # mutt draws no more of a line than has changed.
    terminal.answer("2 ND?.*sent-1", "$")
    terminal.expect("expunging")
    print("watching", flush=True)
    # It shows the letter without a key, because the server tells it in IDLE.
    terminal.answer("late|new mail", "q")
    terminal.end()


{"alpine": alpine, "mutt": mutt, "neomutt": mutt}[PROGRAM]()
