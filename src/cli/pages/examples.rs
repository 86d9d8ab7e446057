//! Examples and exit codes of commands, for their manual pages.

/// What for, and what to type.
type Example = (&'static str, &'static str);
/// A code, and what it says.
type Exit = (&'static str, &'static str);

/// The examples of a command, named like `user add`.
pub(super) fn of(command: &str) -> &'static [Example] {
    EXAMPLES.iter().find(|(name, _)| *name == command).map_or(&[], |(_, examples)| examples)
}

/// The commands that have examples.
#[cfg(test)]
pub(super) fn commands() -> impl Iterator<Item = &'static str> {
    EXAMPLES.iter().map(|(name, _)| *name)
}

/// The exit codes of a command.
pub(super) fn exits_of(command: &str) -> &'static [Exit] {
    EXITS.iter().find(|(name, _)| *name == command).map_or(USUAL, |(_, exits)| exits)
}

const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "client",
        &[
            ("At the server of `restante dev`:", "restante client"),
            (
                "At any server that has TLS from the first octet:",
                "restante client --tls implicit --smtp mail.example.test:465 --pop3 mail.example.test:995 \\\n  \
                 --user alice@example.test",
            ),
        ],
    ),
    (
        "send",
        &[
            (
                "A message with an attachment:",
                "restante send --server 127.0.0.1:2525 --from me@example.test --to you@example.test \\\n  \
                 --subject 'The plan' --body 'As promised.' --attach plan.pdf",
            ),
            ("The dialogue, as it happens:", "echo hello | restante send --to you@example.test -v -"),
        ],
    ),
    (
        "",
        &[
            (
                "A server to try things with, on loopback, where everybody has a mailbox:",
                "restante dev\ncurl pop3://127.0.0.1:1110/1 -u you@example.test:any",
            ),
            (
                "A server with accounts:",
                "restante user add alice@example.test --config /etc/restante/restante.toml\n\
                 restante check --config /etc/restante/restante.toml\n\
                 restante serve --config /etc/restante/restante.toml",
            ),
        ],
    ),
    (
        "cert",
        &[(
            "A pair for a machine that clients know by a name and an address:",
            "restante cert --self-signed --host mx.example.test --host 192.0.2.1 /etc/restante/tls",
        )],
    ),
    (
        "check",
        &[
            ("Before a restart or a reload:", "restante check --config /etc/restante/restante.toml"),
            (
                "What is in force, with all defaults:",
                "restante check --config /etc/restante/restante.toml | sed -n '/limits/,$p'",
            ),
        ],
    ),
    (
        "dev",
        &[
            (
                "On ports that are free, for a test that reads them:",
                "restante dev --smtp 127.0.0.1:0 --pop3 127.0.0.1:0 --ports-file ports",
            ),
            (
                "Under TLS too:",
                "restante dev --tls\ncurl pop3s://127.0.0.1:1995 -u you@example.test:any --cacert ~/.local/state/restante/certificate.pem",
            ),
        ],
    ),
    (
        "explain",
        &[("Why a mail program shows a message as it does:", "restante explain alice@example.test/new/*")],
    ),
    (
        "export",
        &[(
            "A mailbox as a file that other mail programs read:",
            "restante export --config /etc/restante/restante.toml --gz -o alice.mbox.gz alice@example.test",
        )],
    ),
    (
        "fsck",
        &[
            ("What is wrong in the whole spool:", "restante fsck --config /etc/restante/restante.toml"),
            (
                "Mend what is safe to mend in one mailbox:",
                "restante fsck --fix --config /etc/restante/restante.toml alice@example.test",
            ),
        ],
    ),
    (
        "import",
        &[(
            "What another server left; said once more after an interruption, it goes on where it was:",
            "restante import --config /etc/restante/restante.toml --to alice@example.test alice.mbox",
        )],
    ),
    (
        "serve",
        &[
            ("As systemd does it:", "restante serve --config /etc/restante/restante.toml"),
            (
                "With every line of the protocols in the log:",
                "restante serve --config /etc/restante/restante.toml --log-level trace",
            ),
        ],
    ),
    (
        "status",
        &[
            ("What the server of this machine does:", "restante status"),
            ("The same, live:", "restante status --watch"),
        ],
    ),
    ("purge", &[("Between two tests:", "restante purge --all --yes")]),
    (
        "seed",
        &[(
            "A mailbox with everything that clients trip over, and a hundred messages more:",
            "restante seed --nasty --count 100",
        )],
    ),
    (
        "wait",
        &[(
            "In a test, for the mail that the program under test sends:",
            "restante wait --to you@example.test --subject 'Your order' --timeout 10s",
        )],
    ),
    ("watch", &[("What clients say, and what is meant:", "restante dev --transcripts &\nrestante watch")]),
    ("user", &[("Who has a mailbox:", "restante user list --config /etc/restante/restante.toml")]),
    (
        "user add",
        &[
            (
                "Asked for the password:",
                "restante user add alice@example.test --config /etc/restante/restante.toml",
            ),
            (
                "From a script:",
                "pwgen 20 1 | tee alice.password | \\\n  restante user add alice@example.test --password-stdin --config /etc/restante/restante.toml",
            ),
        ],
    ),
    (
        "user passwd",
        &[(
            "Asked for the new one:",
            "restante user passwd alice@example.test --config /etc/restante/restante.toml",
        )],
    ),
    (
        "user disable",
        &[(
            "Nobody logs in, and mail still arrives:",
            "restante user disable alice@example.test --config /etc/restante/restante.toml",
        )],
    ),
    (
        "user enable",
        &[("As before:", "restante user enable alice@example.test --config /etc/restante/restante.toml")],
    ),
    (
        "user list",
        &[(
            "All of them, with what is not as usual:",
            "restante user list --config /etc/restante/restante.toml",
        )],
    ),
    (
        "user remove",
        &[(
            "The mail stays until you remove it:",
            "restante user remove alice@example.test --config /etc/restante/restante.toml\nrm -r /var/lib/restante/mail/alice@example.test",
        )],
    ),
];

const EXITS: &[(&str, &[Exit])] = &[
    (
        "send",
        &[
            ("0", "The message was taken, for all recipients."),
            ("1", "There is no connection, or no TLS."),
            ("2", "The command line is wrong."),
            ("4", "Not now (4xx): try again later."),
            ("5", "Never like this (5xx): change something."),
        ],
    ),
    (
        "wait",
        &[("0", "It is there."), ("1", "It did not come in time."), ("2", "The command line is wrong.")],
    ),
    (
        "fsck",
        &[
            ("0", "Nothing is left to be mended."),
            ("1", "Something is left, or could not be looked at."),
            ("2", "The command line or the configuration has to be corrected."),
        ],
    ),
];

const USUAL: &[Exit] = &[
    ("0", "It is done."),
    ("1", "It could not be done; standard error says why, and what to do about it."),
    ("2", "The command line or the configuration has to be corrected."),
];
