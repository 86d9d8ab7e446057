//! The search words of the web API, of its page, and of `restante wait --search`: those of Mailpit.
//!
//! The rule: a text is a query or has a mistake, and a message either matches all words of a query or does not match. Nothing
//! here reads a file or a clock: a caller passes the message, and the time zone of the dates.
//!
//! | word | the message |
//! |---|---|
//! | `word`, `"two words"` | has it in its sender, recipients, subject, text, HTML, or the name of a file |
//! | `from:` `to:` `cc:` `bcc:` `reply-to:` | has it in a name or an address of that field |
//! | `addressed:` | has it in one of these fields |
//! | `subject:` `message-id:` `tag:` | has it there; a tag is compared as a whole |
//! | `is:read` `is:unread` `is:tagged` | was read, was not read, has a tag |
//! | `has:attachment` `has:inline` | has such a file |
//! | `before:` `after:` | was delivered until, or from, that date or time |
//! | `larger:` `smaller:` | has more, or fewer, octets: `2000`, `10k`, `1.5m` |
//!
//! `!` or `-` before a word negates it. Upper and lower case are the same, and so are blanks, line ends and `< > , ; ( ) "`.

mod matcher;
mod mistake;
mod query;
mod value;

pub use matcher::{Candidate, SearchText};
pub use mistake::{Advice, Mistake};
pub use query::{Filter, Part, Query, Term};
