//! The JSON of the web API: messages in the shapes that Mailpit's clients read, and the words of a search.
//!
//! The rule: plain functions of octets to text. Nothing here opens a file; workers call it, because a message may be large.

pub mod facts;
mod html;
pub mod id;
pub mod object;
pub mod search;
pub mod summary;

pub use facts::Facts;
pub use html::{html_view, text_view};
pub use id::MessageId;
pub use object::{headers, object, part};
pub use search::Search;
pub use summary::{Page, Summary};
