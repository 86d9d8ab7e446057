//! The responses of the server (RFC 9051 section 7).
//!
//! The rule: no line of a response is put together from text. [`writer`] writes each item by its kind, so a response cannot
//! have an open parenthesis, two blanks, a blank at its end, an empty text, a number below zero or a string that is none.

pub mod envelope;
pub mod fetch;
pub mod structure;
pub mod writer;
