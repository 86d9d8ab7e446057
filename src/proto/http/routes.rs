//! The table of routes. The session looks requests up in it, and a test holds the manual to it.

use super::{head::Method, status::Status, target::BOX};

/// One route.
#[derive(Debug)]
pub struct Route {
    /// The route as a value, for the session to match.
    pub endpoint: Endpoint,
    /// The method. `GET` stands for `HEAD` too.
    pub method: Method,
    /// The path; `{id}`, `{part}` and `{tag}` stand for one segment, `{id}` also for its beginning.
    pub path: &'static str,
    /// The requests that it serves.
    pub access: RouteAccess,
    /// Its purpose, for people.
    pub meaning: &'static str,
}

/// The endpoints, each with the response of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its meaning in the table")]
pub enum Endpoint {
    Inbox,
    MessagePage,
    AskDelete,
    DeletePosted,
    PageStyle,
    PageScript,
    SessionsScript,
    Sessions,
    SessionPage,
    SessionEvents,
    Autoconfig,
    Autodiscover,
    AppleProfile,
    Live,
    Ready,
    Info,
    List,
    SetRead,
    Delete,
    Search,
    DeleteSearch,
    Message,
    Headers,
    Raw,
    Part,
    ViewHtml,
    ViewRemote,
    ViewText,
    Wait,
    Events,
    MailHogList,
    MailHogSearch,
    MailHogMessage,
    MailHogDelete,
    MailHogDownload,
    MailHogEvents,
    Send,
    Chaos,
    SetChaos,
    WebUi,
    Tags,
    SetTags,
    RenameTag,
    DeleteTag,
}

impl Endpoint {
    /// True for the sessions of all clients, which only those who may read all mail may see.
    pub(super) fn shows_sessions(self) -> bool {
        matches!(self, Self::Sessions | Self::SessionPage | Self::SessionEvents)
    }
}

/// The requests that a route serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteAccess {
    /// Any: the response says nothing of the mail.
    Open,
    /// Any, under the names that mail programs make of a domain too. Upper and lower case in the path are the same.
    Settings,
    /// Of users. A link on any site may lead here.
    Page,
    /// Of users, from pages of this server, and as an image in the HTML of a message.
    Part,
    /// Of users, from pages of this server and from programs.
    Api,
}

impl RouteAccess {
    /// True if the route is for users only.
    pub(super) fn is_of_users(self) -> bool {
        !matches!(self, Self::Open | Self::Settings)
    }
}

/// A request in the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Match<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) access: RouteAccess,
    /// The address after `/box/`.
    pub(super) address: Option<&'a str>,
    pub(super) id: Option<&'a str>,
    pub(super) part: Option<&'a str>,
}

/// A request that the table does not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoMatch {
    /// No route has the path.
    Path,
    /// The path has these methods only.
    Method(String),
}

impl NoMatch {
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Path => Status::NOT_FOUND,
            Self::Method(_) => Status::METHOD_NOT_ALLOWED,
        }
    }
}

/// Looks a request up.
pub(super) fn find(method: Method, segments: &[String]) -> Result<Match<'_>, NoMatch> {
    let (address, segments) = match segments {
        // The page of an inbox, without the slash at its end.
        [first, address] if first == BOX && !address.is_empty() => (Some(address.as_str()), &ROOT[..]),
        [first, address, rest @ ..] if first == BOX && !rest.is_empty() => (Some(address.as_str()), rest),
        segments => (None, segments),
    };
    let mut methods = Vec::new();
    let is_of_mailbox = |route: &&Route| route.access.is_of_users() && !route.endpoint.shows_sessions();
    for route in ROUTES.iter().filter(|route| address.is_none() || is_of_mailbox(route)) {
        let Some((id, part)) = parameters(route, segments) else { continue };
        let is_head = method == Method::Head && route.method == Method::Get;
        if route.method == method || is_head {
            let Route { endpoint, access, .. } = *route;
            return Ok(Match { endpoint, access, address, id, part });
        }
        let head = (route.method == Method::Get).then_some(Method::Head);
        for name in [Some(route.method), head].into_iter().flatten().map(Method::name) {
            if !methods.contains(&name) {
                methods.push(name);
            }
        }
    }
    Err(if methods.is_empty() { NoMatch::Path } else { NoMatch::Method(methods.join(", ")) })
}

/// True if a person looks at the response: a page, or a path that is none.
pub(super) fn is_page(method: Method, segments: &[String]) -> bool {
    match find(method, segments) {
        Ok(found) => found.access == RouteAccess::Page,
        Err(_) => !matches!(segments, [first, ..] | [_, _, first, ..] if first == "api"),
    }
}

type Parameters<'a> = (Option<&'a str>, Option<&'a str>);

/// The parameters of a path, if it has the pattern of the route.
fn parameters<'a>(route: &Route, segments: &'a [String]) -> Option<Parameters<'a>> {
    let ignores_case = route.access == RouteAccess::Settings;
    let (mut id, mut part) = (None, None);
    let mut segments = segments.iter();
    for expected in route.path.split('/').skip(1) {
        let segment = segments.next()?;
        if let Some(suffix) = expected.strip_prefix("{id}") {
            id = Some(segment.strip_suffix(suffix)?);
        } else if expected == "{part}" || expected == "{tag}" {
            part = Some(segment.as_str());
        } else if expected != segment && !(ignores_case && expected.eq_ignore_ascii_case(segment)) {
            return None;
        }
    }
    segments.next().is_none().then_some((id, part))
}

const fn route(
    method: Method,
    path: &'static str,
    endpoint: Endpoint,
    access: RouteAccess,
    meaning: &'static str,
) -> Route {
    Route { endpoint, method, path, access, meaning }
}

use Method::{Delete, Get, Post, Put};
use RouteAccess::{Api, Open, Page, Settings};

/// All routes. Each but those for anybody is below `/box/ADDRESS` too.
pub const ROUTES: &[Route] = &[
    route(
        Get,
        "/",
        Endpoint::Inbox,
        Page,
        "the page: the inboxes, and the newest messages that `query` matches: `start`",
    ),
    route(
        Get,
        "/message/{id}",
        Endpoint::MessagePage,
        Page,
        "the page with a message; marks the message as read",
    ),
    route(
        Get,
        "/message/{id}/delete",
        Endpoint::AskDelete,
        Page,
        "the page that asks whether to delete the message",
    ),
    route(
        Post,
        "/message/{id}/delete",
        Endpoint::DeletePosted,
        Api,
        "deletes the message, for a form of the page, and leads to the list",
    ),
    route(Get, "/assets/page.css", Endpoint::PageStyle, Open, "the style of the page"),
    route(
        Get,
        "/sessions",
        Endpoint::Sessions,
        Page,
        "the page of sessions, for those who may read all mail: the newest one, line by line",
    ),
    route(
        Get,
        "/sessions/events",
        Endpoint::SessionEvents,
        Api,
        "reports new lines of sessions, as server-sent events",
    ),
    route(
        Get,
        "/sessions/{id}",
        Endpoint::SessionPage,
        Page,
        "the page with a session: `from` leaves out lines",
    ),
    route(Get, "/assets/page.js", Endpoint::PageScript, Open, "the script of the page"),
    route(Get, "/assets/sessions.js", Endpoint::SessionsScript, Open, "the script of the page of sessions"),
    route(
        Get,
        "/mail/config-v1.1.xml",
        Endpoint::Autoconfig,
        Settings,
        "the settings for Thunderbird, K-9 Mail and others: `emailaddress`",
    ),
    route(Get, "/.well-known/autoconfig/mail/config-v1.1.xml", Endpoint::Autoconfig, Settings, "the same"),
    route(
        Post,
        "/autodiscover/autodiscover.xml",
        Endpoint::Autodiscover,
        Settings,
        "the settings for Outlook and others, for the `EMailAddress` in the body",
    ),
    route(
        Get,
        "/mail.mobileconfig",
        Endpoint::AppleProfile,
        Settings,
        "the settings for macOS and iOS: `emailaddress`",
    ),
    route(Get, "/livez", Endpoint::Live, Open, "the server runs"),
    route(Get, "/readyz", Endpoint::Ready, Open, "the server can read mail"),
    route(Get, "/api/v1/info", Endpoint::Info, Api, "version and number of messages"),
    route(Get, "/api/v1/messages", Endpoint::List, Api, "the newest messages: `start`, `limit`"),
    route(
        Put,
        "/api/v1/messages",
        Endpoint::SetRead,
        Api,
        "mark as read or unread: `IDs` or `Search`, `Read`",
    ),
    route(Delete, "/api/v1/messages", Endpoint::Delete, Api, "delete the messages with these `IDs`, or all"),
    route(
        Get,
        "/api/v1/search",
        Endpoint::Search,
        Api,
        "the messages that `query` matches: `start`, `limit`, `tz`",
    ),
    route(
        Delete,
        "/api/v1/search",
        Endpoint::DeleteSearch,
        Api,
        "delete the messages that `query` matches: `tz`",
    ),
    route(
        Get,
        "/api/v1/message/{id}",
        Endpoint::Message,
        Api,
        "fields, texts and parts; marks the message as read",
    ),
    route(Get, "/api/v1/message/{id}/headers", Endpoint::Headers, Api, "the header fields"),
    route(Get, "/api/v1/message/{id}/raw", Endpoint::Raw, Api, "the message, octet for octet"),
    route(
        Get,
        "/api/v1/message/{id}/part/{part}",
        Endpoint::Part,
        RouteAccess::Part,
        "the body of a part, decoded",
    ),
    route(Post, "/api/v1/send", Endpoint::Send, Api, "send a message, and return its `ID`"),
    route(Get, "/api/v1/chaos", Endpoint::Chaos, Api, "the faults that happen by chance, in `restante dev`"),
    route(
        Put,
        "/api/v1/chaos",
        Endpoint::SetChaos,
        Api,
        "set them: `Sender`, `Recipient`, `Authentication`, each with `ErrorCode` and `Probability`",
    ),
    route(Get, "/api/v1/webui", Endpoint::WebUi, Api, "whether faults by chance can be set"),
    route(Get, "/api/v1/tags", Endpoint::Tags, Api, "`[]`, because messages have no tags"),
    route(Put, "/api/v1/tags", Endpoint::SetTags, Api, "remove all tags: an empty list of `Tags`"),
    route(Put, "/api/v1/tags/{tag}", Endpoint::RenameTag, Api, "`404`, because there is no such tag"),
    route(Delete, "/api/v1/tags/{tag}", Endpoint::DeleteTag, Api, "nothing, because there is no such tag"),
    route(
        Get,
        "/view/{id}.remote.html",
        Endpoint::ViewRemote,
        Page,
        "the HTML with images of other hosts, without scripts",
    ),
    route(
        Get,
        "/view/{id}.html",
        Endpoint::ViewHtml,
        Page,
        "the HTML as it came, under a policy by which a browser runs no script and loads nothing remote",
    ),
    route(Get, "/view/{id}.txt", Endpoint::ViewText, Page, "the text"),
    route(Get, "/view/{id}", Endpoint::MessagePage, Page, "as `/message/{id}`, for links of Mailpit"),
    route(Get, "/wait", Endpoint::Wait, Api, "wait for a message that `query` matches: `timeout`"),
    route(Get, "/api/events", Endpoint::Events, Api, "changes as they happen, as server-sent events"),
    route(
        Get,
        "/api/v2/messages",
        Endpoint::MailHogList,
        Api,
        "MailHog: the newest messages: `start`, `limit`",
    ),
    route(
        Get,
        "/api/v2/search",
        Endpoint::MailHogSearch,
        Api,
        "MailHog: the messages that have `query` in `kind`: `from`, `to` or `containing`; `start`, `limit`",
    ),
    route(Get, "/api/v1/messages/{id}", Endpoint::MailHogMessage, Api, "MailHog: a message"),
    route(Delete, "/api/v1/messages/{id}", Endpoint::MailHogDelete, Api, "MailHog: delete a message"),
    route(
        Get,
        "/api/v1/messages/{id}/download",
        Endpoint::MailHogDownload,
        Api,
        "MailHog: the message, octet for octet, to be saved",
    ),
    route(
        Get,
        "/api/v1/events",
        Endpoint::MailHogEvents,
        Api,
        "MailHog: new messages, as server-sent events",
    ),
];

/// The segments of the path `/`.
static ROOT: [String; 1] = [String::new()];

#[cfg(test)]
mod tests {
    use super::*;

    /// The endpoint, the address, the id and the part.
    type Found = (Endpoint, Option<String>, Option<String>, Option<String>);

    fn look_up(method: Method, path: &str) -> Result<Found, NoMatch> {
        let segments: Vec<String> = path.split('/').skip(1).map(str::to_owned).collect();
        let owned = |text: Option<&str>| text.map(str::to_owned);
        find(method, &segments)
            .map(|found| (found.endpoint, owned(found.address), owned(found.id), owned(found.part)))
    }

    #[test]
    fn a_path_leads_to_its_route_and_no_other() {
        let text = |text: &str| Some(text.to_owned());
        for (path, expected) in [
            ("/livez", (Endpoint::Live, None, None, None)),
            ("/", (Endpoint::Inbox, None, None, None)),
            ("/box/a", (Endpoint::Inbox, text("a"), None, None)),
            ("/box/a/", (Endpoint::Inbox, text("a"), None, None)),
            ("/box/a/message/x1", (Endpoint::MessagePage, text("a"), text("x1"), None)),
            ("/box/a/message/x1/delete", (Endpoint::AskDelete, text("a"), text("x1"), None)),
            ("/assets/page.js", (Endpoint::PageScript, None, None, None)),
            ("/api/v1/messages", (Endpoint::List, None, None, None)),
            ("/box/a@b.test/api/v1/messages", (Endpoint::List, text("a@b.test"), None, None)),
            ("/api/v1/message/latest", (Endpoint::Message, None, text("latest"), None)),
            ("/api/v1/message/x1/part/2", (Endpoint::Part, None, text("x1"), text("2"))),
            ("/box/a/view/x1.html", (Endpoint::ViewHtml, text("a"), text("x1"), None)),
            ("/box/a/view/x1.remote.html", (Endpoint::ViewRemote, text("a"), text("x1"), None)),
            ("/view/x1.txt", (Endpoint::ViewText, None, text("x1"), None)),
            ("/view/latest", (Endpoint::MessagePage, None, text("latest"), None)),
            ("/box/a/api/v2/messages", (Endpoint::MailHogList, text("a"), None, None)),
            ("/api/v1/messages/x1", (Endpoint::MailHogMessage, None, text("x1"), None)),
            ("/api/v1/messages/x1/download", (Endpoint::MailHogDownload, None, text("x1"), None)),
            ("/sessions", (Endpoint::Sessions, None, None, None)),
            ("/sessions/events", (Endpoint::SessionEvents, None, None, None)),
            ("/sessions/c1001", (Endpoint::SessionPage, None, text("c1001"), None)),
            ("/mail/config-v1.1.xml", (Endpoint::Autoconfig, None, None, None)),
            ("/Mail.MobileConfig", (Endpoint::AppleProfile, None, None, None)),
        ] {
            assert_eq!(look_up(Get, path), Ok(expected), "{path}");
        }
        for path in [
            "/api",
            "/api/v1/messages/x1/release",
            "/api/v2/jim",
            "/box",
            "/box/",
            "/box/a/livez",
            "/box/a/mail.mobileconfig",
            "/LIVEZ",
            "/box/a/assets/page.js",
            "/box/a/sessions",
            "/box/a/sessions/events",
            "/assets/page.html",
            "/message/x1/y",
            "/api/v1/message",
        ] {
            assert_eq!(look_up(Get, path), Err(NoMatch::Path), "{path}");
        }
    }

    #[test]
    fn a_path_with_another_method_names_its_methods() {
        assert_eq!(look_up(Method::Head, "/livez").unwrap().0, Endpoint::Live);
        assert_eq!(look_up(Method::Post, "/livez"), Err(NoMatch::Method("GET, HEAD".into())));
        assert_eq!(look_up(Method::Post, "/sessions/events"), Err(NoMatch::Method("GET, HEAD".into())));
        for path in ["/autodiscover/autodiscover.xml", "/AutoDiscover/AutoDiscover.xml"] {
            assert_eq!(look_up(Method::Post, path).unwrap().0, Endpoint::Autodiscover);
            assert_eq!(look_up(Get, path), Err(NoMatch::Method("POST".into())));
        }
        assert_eq!(
            look_up(Method::Post, "/api/v1/messages"),
            Err(NoMatch::Method("GET, HEAD, PUT, DELETE".into()))
        );
    }
}
