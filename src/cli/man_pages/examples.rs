//! Examples and exit codes of the commands, for their manual pages.

/// Purpose and command.
type Example = (&'static str, &'static str);
/// Exit code and meaning.
type Exit = (&'static str, &'static str);

/// The examples of a command, named like `user add`.
pub(super) fn of(command: &str) -> &'static [Example] {
    EXAMPLES.iter().find(|(name, _)| *name == command).map_or(&[], |(_, examples)| examples)
}

#[cfg(test)]
pub(super) fn commands() -> impl Iterator<Item = &'static str> {
    EXAMPLES.iter().map(|(name, _)| *name)
}

pub(super) fn exits_of(command: &str) -> &'static [Exit] {
    EXITS.iter().find(|(name, _)| *name == command).map_or(USUAL, |(_, exits)| exits)
}

const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "client",
        &[
            ("With the server of `restante dev`:", "restante client"),
            (
                "With any server that has TLS from the first octet:",
                "restante client --tls implicit --smtp mail.example.test:465 --pop3 mail.example.test:995 \\\n  \
                 --user alice@example.test",
            ),
            ("By IMAP, with the dialogue for a lesson:", "restante client --imap -v 2> dialogue"),
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
            ("Show the dialogue:", "echo hello | restante send --to you@example.test -v -"),
        ],
    ),
    (
        "",
        &[
            (
                "A test server on loopback, where every address has a mailbox:",
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
            "A certificate for a machine that clients reach by a name or an address:",
            "restante cert --self-signed --host mx.example.test --host 192.0.2.1 /etc/restante/tls",
        )],
    ),
    (
        "check",
        &[
            ("Before a restart or a reload:", "restante check --config /etc/restante/restante.toml"),
            (
                "The effective limits, with all defaults:",
                "restante check --all --config /etc/restante/restante.toml | sed -n '/limits/,$p'",
            ),
        ],
    ),
    (
        "dev",
        &[
            (
                "On any free ports, written to a file for a test:",
                "restante dev --smtp 127.0.0.1:0 --pop3 127.0.0.1:0 --imap 127.0.0.1:0 --ports-file ports",
            ),
            (
                "Also over TLS:",
                "restante dev --tls\ncurl imaps://127.0.0.1:1993 -u you@example.test:any --cacert ~/.local/state/restante/certificate.pem",
            ),
        ],
    ),
    (
        "explain",
        &[(
            "Find out why a mail program shows a message as it does:",
            "restante explain alice@example.test/new/*",
        )],
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
            ("Check the whole spool:", "restante fsck --config /etc/restante/restante.toml"),
            (
                "Repair one mailbox as far as that is safe:",
                "restante fsck --fix --config /etc/restante/restante.toml alice@example.test",
            ),
        ],
    ),
    (
        "import",
        &[(
            "Import mail of another server; repeat the command to continue after an interruption:",
            "restante import --config /etc/restante/restante.toml --to alice@example.test alice.mbox",
        )],
    ),
    (
        "serve",
        &[
            ("The command that systemd runs:", "restante serve --config /etc/restante/restante.toml"),
            (
                "With every line of the protocols in the log:",
                "restante serve --config /etc/restante/restante.toml --log-level trace",
            ),
        ],
    ),
    (
        "status",
        &[
            ("The metrics of the server on this machine:", "restante status"),
            ("The same, updated on the screen:", "restante status --watch"),
            ("The health check of a container:", "restante status --check --spool /data/mail"),
        ],
    ),
    ("purge", &[("Between two tests:", "restante purge --all --yes")]),
    (
        "seed",
        &[(
            "Fill a mailbox with all awkward messages and a hundred ordinary ones:",
            "restante seed --nasty --count 100",
        )],
    ),
    (
        "wait",
        &[
            (
                "In a test, for the mail that the program under test sends:",
                "restante wait --to you@example.test --subject 'Your order' --timeout 10s",
            ),
            (
                "With search words, and with the links and files of the message:",
                "restante wait --to you@example.test --search 'from:shop has:attachment' --json",
            ),
        ],
    ),
    ("watch", &[("Show sessions with explanations:", "restante dev --transcripts &\nrestante watch")]),
    ("user", &[("List the accounts:", "restante user list --config /etc/restante/restante.toml")]),
    (
        "user rename",
        &[(
            "Mail to the old address still arrives:",
            "restante user rename bob@example.test robert@example.test --keep-address",
        )],
    ),
    (
        "user remove",
        &[(
            "With all mail, without a question:",
            "restante user remove bob@example.test --delete-mail --yes",
        )],
    ),
    (
        "user add",
        &[
            (
                "Ask for the password:",
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
            "Ask for the new password:",
            "restante user passwd alice@example.test --config /etc/restante/restante.toml",
        )],
    ),
    (
        "user disable",
        &[(
            "Refuse logins; mail still arrives:",
            "restante user disable alice@example.test --config /etc/restante/restante.toml",
        )],
    ),
    (
        "user enable",
        &[(
            "Allow logins again:",
            "restante user enable alice@example.test --config /etc/restante/restante.toml",
        )],
    ),
    (
        "user list",
        &[(
            "List all accounts, with their differences from the default:",
            "restante user list --config /etc/restante/restante.toml",
        )],
    ),
    (
        "user remove",
        &[(
            "The mail stays until you delete it:",
            "restante user remove alice@example.test --config /etc/restante/restante.toml\nrm -r /var/lib/restante/mail/alice@example.test",
        )],
    ),
];

const EXITS: &[(&str, &[Exit])] = &[
    (
        "send",
        &[
            ("0", "The server accepted the message for all recipients."),
            ("1", "The connection or TLS failed."),
            ("2", "The command line is wrong."),
            ("4", "Temporary failure (4xx): try again later."),
            ("5", "Permanent failure (5xx): change something before the next attempt."),
        ],
    ),
    (
        "wait",
        &[
            ("0", "The message arrived."),
            ("1", "The time limit passed."),
            ("2", "The command line is wrong."),
        ],
    ),
    (
        "fsck",
        &[
            ("0", "No problem is left."),
            ("1", "Problems are left, or could not be checked."),
            ("2", "The command line or the configuration must be corrected."),
        ],
    ),
];

const USUAL: &[Exit] = &[
    ("0", "The command succeeded."),
    ("1", "The command failed; standard error gives the reason and the next step."),
    ("2", "The command line or the configuration must be corrected."),
];
