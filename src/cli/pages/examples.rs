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
        "serve",
        &[
            ("As systemd does it:", "restante serve --config /etc/restante/restante.toml"),
            (
                "With every line of the protocols in the log:",
                "restante serve --config /etc/restante/restante.toml --log-level trace",
            ),
        ],
    ),
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

const EXITS: &[(&str, &[Exit])] = &[];

const USUAL: &[Exit] = &[
    ("0", "It is done."),
    ("1", "It could not be done; standard error says why, and what to do about it."),
    ("2", "The command line or the configuration has to be corrected."),
];
