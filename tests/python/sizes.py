"""What poplib counts of every message of a mailbox: a line with its unique id and octets each."""

import poplib
import sys

poplib._MAXLINE = 1 << 24  # some lines of the corpus are a mebibyte long
host, port, user = sys.argv[1], int(sys.argv[2]), sys.argv[3]
session = poplib.POP3(host, port)
session.user(user)
session.pass_("any")
for line in session.uidl()[1]:
    number, unique = line.decode().split(" ", 1)
    announced, _, octets = session.retr(int(number))
    listed = session.list(int(number)).split()[2]
    assert announced.split()[1] == listed == str(octets).encode(), (number, announced, listed, octets)
    print(unique, octets)
session.quit()
