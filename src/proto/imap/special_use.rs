//! The special uses of mailboxes and their attributes (RFC 6154 section 2).

use super::request::SpecialUse;

/// The attribute of a special use.
pub(super) fn special_use_name(special_use: SpecialUse) -> &'static str {
    SPECIAL_USES.iter().find(|(known, _)| *known == special_use).map_or("\\Noselect", |(_, name)| name)
}

/// The special use of an attribute, in any case.
pub(super) fn special_use_of(name: &[u8]) -> Option<SpecialUse> {
    let named = |(_, known): &&(SpecialUse, &str)| name.eq_ignore_ascii_case(known.as_bytes());
    SPECIAL_USES.iter().find(named).map(|(special_use, _)| *special_use)
}

const SPECIAL_USES: [(SpecialUse, &str); 5] = [
    (SpecialUse::Archive, "\\Archive"),
    (SpecialUse::Drafts, "\\Drafts"),
    (SpecialUse::Junk, "\\Junk"),
    (SpecialUse::Sent, "\\Sent"),
    (SpecialUse::Trash, "\\Trash"),
];
