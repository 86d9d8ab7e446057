//! The extensions that an operator can switch off for programs that do not get along with them.

use crate::near_name::nearest;

/// The extensions by their capabilities, without values. TLS and passwords have keys of their own in the configuration.
pub const EXTENSIONS: &[&str] = &[
    "APPENDLIMIT",
    "CHILDREN",
    "CONDSTORE",
    "CREATE-SPECIAL-USE",
    "ENABLE",
    "ESEARCH",
    "ID",
    "IDLE",
    "LANGUAGE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "LITERAL+",
    "MOVE",
    "NAMESPACE",
    "QUOTA",
    "SASL-IR",
    "SPECIAL-USE",
    "STATUS=SIZE",
    "UIDPLUS",
    "UNSELECT",
];

/// The extension that an item of `imap_capabilities` switches off: `-CONDSTORE`.
///
/// # Errors
/// It is none; the text says what to write.
pub fn withheld(item: &str) -> Result<&'static str, String> {
    let name = item.strip_prefix('-').unwrap_or(item).to_ascii_uppercase();
    let known = EXTENSIONS.iter().find(|known| **known == name);
    match known {
        Some(known) if item.starts_with('-') => Ok(known),
        Some(known) => Err(format!("{item:?} is on already: write \"-{known}\" to switch it off")),
        None => {
            let hint = match nearest(&name, EXTENSIONS.iter().copied()) {
                Some(near) => format!("did you mean \"-{near}\"?"),
                None => format!("these can be switched off: {}", EXTENSIONS.join(", ")),
            };
            Err(format!("{item:?} is not an extension of IMAP that this server has: {hint}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::capabilities;

    #[test]
    fn y85_every_capability_can_be_switched_off_but_those_of_logins() {
        for (name, ..) in capabilities::MEANINGS {
            let has_key = ["IMAP4rev1", "STARTTLS", "LOGINDISABLED", "AUTH=PLAIN"].contains(name);
            let is_kind = EXTENSIONS.iter().any(|known| {
                name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            });
            assert_ne!(has_key, is_kind, "{name}");
        }
    }

    #[test]
    fn y85_an_extension_is_switched_off_by_its_name_after_a_minus() {
        assert_eq!(withheld("-CONDSTORE"), Ok("CONDSTORE"));
        assert_eq!(withheld("-literal+"), Ok("LITERAL+"));
        assert!(EXTENSIONS.is_sorted());
        for (item, told) in [
            ("CONDSTORE", "\"CONDSTORE\" is on already: write \"-CONDSTORE\" to switch it off"),
            ("-CONDSTOR", "did you mean \"-CONDSTORE\"?"),
            ("-STARTTLS", "these can be switched off: APPENDLIMIT, CHILDREN"),
            ("-IMAP4rev1", "is not an extension"),
            ("-", "is not an extension"),
            ("", "is not an extension"),
        ] {
            assert!(withheld(item).unwrap_err().contains(told), "{item}: {:?}", withheld(item));
        }
    }
}
