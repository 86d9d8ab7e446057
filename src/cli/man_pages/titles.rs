//! Names that every page has.

pub(super) const NAME: &str = "restante";
pub(super) const MANUAL: &str = "restante, a mail server";
pub(super) const DOCUMENTS: &str = "/usr/share/doc/restante";
