# The part of tests/package.sh that runs inside of the other Debian, as root, under its systemd.
set -euo pipefail
trap 'echo "FAILED at line $LINENO: $BASH_COMMAND"; systemctl status --no-pager -l "restante*" || true
    journalctl --no-pager -u "restante*" | tail -n 40 || true' ERR
step() { echo "--- $*"; }
ip link set lo up 2>/dev/null || python3 -c '
import fcntl, socket, struct
s = socket.socket()
fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 1 | 64))' # SIOCSIFFLAGS: up, running

step "the commands of README"
while read -r command; do
    case "$command" in
    "" | "#"* | "make "*) continue ;;
    esac
    command=${command//sudo /}
    command=${command//.\/target\/debian\/restante_\*.deb//restante.deb}
    command=${command//apt install/dpkg -i}
    case "$command" in
    *"user add"*) command="echo 'sesame-open' | $command --password-stdin" ;; # a person is asked for it
    *curl*) command=${command/alice@example.org/alice@example.org:sesame-open} ;;
    esac
    echo "\$ $command"
    eval "$command"
done </commands

step "who it is, and what it may"
pid=$(systemctl show -p MainPID --value restante)
grep -E '^(Uid|Gid|Groups|CapEff|NoNewPrivs|Seccomp):' "/proc/$pid/status"
[ "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" = "$(id -u restante)" ]
grep -q '^CapEff:.*0000000000000000' "/proc/$pid/status"
systemd-analyze security --no-pager restante.service | tail -n 1
journalctl --no-pager -u restante | grep -E 'sandbox landlock=[0-9]|landlock=none'

step "mail in, mail out"
send() {
    printf 'Subject: %s\r\n\r\nIt works.\r\n' "$1" |
        curl -sS smtp://127.0.0.1:25 --mail-from ann@far.test --mail-rcpt alice@example.org -T -
}
pop() {
    curl -sS --cacert /etc/restante/tls/certificate.pem "pop3s://localhost:995/$1" -u "alice@example.org:sesame-open"
}
send hello
pop 1 | grep -q '^It works'
ls -l /var/lib/restante

step "mail by IMAP"
curl -sS --cacert /etc/restante/tls/certificate.pem "imaps://localhost/INBOX;MAILINDEX=1" -u "alice@example.org:sesame-open" |
    grep -q '^It works'
# The login has made the folders with a special use before its OK, so the sandbox lets it.
curl -sS --cacert /etc/restante/tls/certificate.pem "imaps://localhost/" -u "alice@example.org:sesame-open" >/tmp/folders
for folder in Archive Drafts Junk Sent Trash; do
    grep -q " $folder.\?$" /tmp/folders
    ls -d "/var/lib/restante/mail/alice@example.org/.$folder/cur"
done

step "reload, and a restart under load, without a refused connection"
systemctl reload restante
# A session that the end finds before its final dot is told to come again (421), and does.
(for n in $(seq 1 30); do
    until send "load $n"; do
        [ "$?" != 7 ] || echo refused >>/tmp/refused # curl: nobody listens
        sleep 0.1
    done
done 2>/tmp/load) &
systemctl restart restante
wait
[ ! -e /tmp/refused ]
[ "$(pop "" | wc -l)" = 31 ]

step "another user can't read the mail, and a crash leaves no core"
! setpriv --reuid=nobody --clear-groups ls /var/lib/restante 2>/dev/null
main() { systemctl show -p MainPID --value restante; }
before=$(main)
kill -ABRT "$before"
restarted() { [ "$(main)" != "$before" ] && [ "$(main)" != 0 ] && systemctl is-active -q restante; }
for _ in $(seq 1 300); do restarted && break || sleep 0.1; done
restarted
pop 31 >/dev/null
! find / -xdev -name 'core*' -type f -newer /result -size +0 2>/dev/null | grep -E '/core(\.[0-9]+)?$'

step "man pages and completions are there"
for file in man/man1/restante.1* man/man5/restante.toml.5* bash-completion/completions/restante \
    zsh/vendor-completions/_restante fish/vendor_completions.d/restante.fish; do
    ls /usr/share/$file
done

step "upgrade: the configuration stays, the server goes on"
dpkg -i /restante.deb
systemctl is-active restante
pop 1 >/dev/null

step "more ports, as the manual has them: a socket more, and an address of the server's own"
units=/etc/systemd/system
mkdir -p $units/restante.service.d
sed 's/465/587/; s/submissions/submission/' /usr/lib/systemd/system/restante-submissions.socket \
    >$units/restante-submission.socket
cat >$units/restante.service.d/more.conf <<'UNIT'
[Unit]
Requires=restante-submission.socket
After=restante-submission.socket
[Service]
Sockets=restante-submission.socket
PrivateNetwork=no
IPAddressDeny=
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SocketBindDeny=
SocketBindAllow=tcp:26
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
PrivateUsers=no
SystemCallFilter=capset
UNIT
cp /etc/restante/restante.toml /tmp/before.toml
cat >/tmp/listeners <<'TOML'
[[listen]]
protocol = "submission"
address = "systemd:submission"

[[listen]]
protocol = "smtp"
address = "127.0.0.1:26"
TOML
cat /tmp/listeners >>/etc/restante/restante.toml
systemctl daemon-reload
systemctl restart restante
printf 'Subject: 587\r\n\r\nIt works.\r\n' | curl -sS --ssl-reqd --cacert /etc/restante/tls/certificate.pem \
    smtp://localhost:587 -u alice@example.org:sesame-open --mail-from alice@example.org \
    --mail-rcpt alice@example.org -T -
printf 'Subject: 26\r\n\r\nIt works.\r\n' | curl -sS smtp://127.0.0.1:26 --mail-from ann@far.test \
    --mail-rcpt alice@example.org -T -
grep -q '^CapEff:.*0000000000000000' "/proc/$(main)/status" # needed for the port, and gone with it
rm -r $units/restante.service.d
systemctl stop restante-submission.socket restante
rm $units/restante-submission.socket
cp /tmp/before.toml /etc/restante/restante.toml
systemctl daemon-reload
systemctl start restante

step "remove, purge: nothing runs, nothing is left but mail, accounts and keys"
dpkg -r restante
! systemctl is-active -q restante
! curl -s --max-time 2 telnet://127.0.0.1:25 </dev/null
dpkg --purge restante
[ ! -e /etc/restante/restante.toml ]
left=$(find / -xdev \( -path /proc -o -path /sys -o -path /tmp -o -path /var/lib/restante \) -prune -o \
    -name '*restante*' ! -path '/etc/restante*' ! -path /restante.deb ! -path '/var/log/*' -print)
[ -z "$left" ] || { echo "left behind: $left"; false; }
[ -e /var/lib/restante/users.json ]
ls -d /var/lib/restante/mail/alice@example.org
echo "package: 1 passed, 0 failed"
