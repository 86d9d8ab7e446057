//! The items of FETCH (RFC 9051 section 6.4.5).

/// An item that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// The envelope: the fields of the header that a list shows.
    Envelope,
    /// The flags.
    Flags,
    /// The date at which the message came.
    InternalDate,
    /// The octets of the message.
    Size,
    /// The unique identifier.
    Uid,
    /// The modification sequence (RFC 7162).
    ModSeq,
    /// The structure: `BODYSTRUCTURE`, or `BODY` without its extension data.
    Structure {
        /// Whether the extension data belongs to it.
        extended: bool,
    },
    /// The octets of the message, or of a part of it.
    Body(Body),
}

/// A part of a message that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The part.
    pub section: Section,
    /// The first octet and the largest number of octets.
    pub partial: Option<(u32, u32)>,
    /// Whether the message counts as seen.
    pub marks_seen: bool,
    /// The name under which the item is returned.
    pub name: BodyName,
}

/// The name of an item with octets of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyName {
    /// `BODY[section]`
    Body,
    /// `RFC822`
    Rfc822,
    /// `RFC822.HEADER`
    Rfc822Header,
    /// `RFC822.TEXT`
    Rfc822Text,
}

/// A section of a message (RFC 9051 section 6.4.5.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// The path to the part, by numbers from 1. Empty: the message itself.
    pub path: Vec<u32>,
    /// The octets of the part.
    pub text: SectionText,
}

/// The octets of a part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SectionText {
    /// All of it: the message, or the body of a part.
    #[default]
    Whole,
    /// The header of a message.
    Header,
    /// Fields of the header of a message.
    Fields {
        /// The names of the fields, as the client wrote them.
        names: Vec<Vec<u8>>,
        /// Whether all other fields are meant.
        is_except: bool,
    },
    /// The message without its header.
    Text,
    /// The MIME header of a part.
    Mime,
}

impl FetchItem {
    /// Whether the item marks the message as seen.
    pub fn marks_seen(&self) -> bool {
        matches!(self, Self::Body(Body { marks_seen: true, .. }))
    }

    /// Whether the item is a fact that the folder knows.
    pub fn is_fact(&self) -> bool {
        match self {
            Self::Flags | Self::InternalDate | Self::Size | Self::Uid | Self::ModSeq => true,
            Self::Envelope | Self::Structure { .. } | Self::Body(_) => false,
        }
    }

    /// Whether octets of the message are copied, and nothing in them is parsed but the end of the header.
    pub fn is_plain(&self) -> bool {
        let Self::Body(Body { section: Section { path, text }, .. }) = self else { return false };
        path.is_empty() && matches!(text, SectionText::Whole | SectionText::Header | SectionText::Text)
    }
}
