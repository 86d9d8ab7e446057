//! The substitutes for disk and accounts in a dialogue: users, messages and a mailbox from its directives.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::Arc,
};

use restante::{
    clock::Now,
    index::LoginDelay,
    limits::{Limits, Span},
    proto::{
        Session,
        chaos::ChaosPoint,
        dot::LineEndings,
        factory::SessionFactory,
        fault_injection::FaultySession,
        http::{
            self,
            api::{ApiAction, ApiRequest, SharedOctets},
        },
        imap::{
            self,
            request::{ImapRequest, ImapResponse},
        },
        pop3,
        protocol::Protocol,
        request::{
            AccountDirectory, ConnId, Failure, Lookup, Mailbox, MaildropRequest, Quota, ReceiveRequest,
            Request, Response,
        },
        smtp::{self, address::Address},
        syntax::Syntax,
        tagged::TaggedAddress,
    },
    transcript::{self, Recorder, Transcripts},
};
use serde::de::{DeserializeOwned, IntoDeserializer, value};

use super::{
    folders::Folders,
    messages::{Message, Messages},
    play::BEGIN,
    text,
    values::{destinations, named, pair, read_document, read_draft, refusal_of, tagged_address},
};

/// The protocol of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Smtp,
    Pop3,
    Http,
    Imap,
}

/// The settings from the directives of a dialogue.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) service: Service,
    line_endings: LineEndings,
    syntax: Syntax,
    persona: Option<String>,
    expire: Option<pop3::Expire>,
    tls: bool,
    pedantic: bool,
    pub(crate) implicit_tls: bool,
    hostname: String,
    id: ConnId,
    /// Answers of the directory for some addresses, which override `users` and `domains`.
    lookups: HashMap<String, String>,
    /// Users and the addresses that they may send from, or may not.
    sends: HashMap<String, bool>,
    keeps_no_copy: Vec<String>,
    full: Vec<String>,
    limits: Limits,
    policy: smtp::Policy,
    http: http::HttpConfig,
    admins: Vec<String>,
    users: Vec<String>,
    domains: Vec<String>,
    messages: Vec<Message>,
    /// The folders of the user, for IMAP.
    pub(crate) folders: RefCell<Folders>,
    /// Capabilities of IMAP that are not announced.
    withheld: Vec<String>,
    quota: Quota,
    /// The last request of IMAP.
    asked: Option<ImapRequest>,
    chunk: usize,
    /// The message that comes in, as far as it was spilled.
    body: Vec<u8>,
    logins: LoginDelay,
    /// Whether the mailbox asked for may not be opened yet.
    too_soon: bool,
    /// Whether an address may ask for a fault.
    pub(crate) faults: bool,
    /// Whether replies then say something of the form of login names.
    pub(crate) notes: bool,
    /// The faults by chance that come next: at which command, and the code unless the command succeeds.
    chaos: RefCell<VecDeque<(String, Option<u16>)>>,
}

impl World {
    pub(crate) fn new(service: Service) -> Self {
        Self {
            service,
            line_endings: LineEndings::Strict,
            syntax: Syntax::default(),
            persona: None,
            expire: None,
            tls: false,
            pedantic: false,
            implicit_tls: false,
            hostname: "mx.test".into(),
            id: ConnId(1),
            lookups: HashMap::new(),
            sends: HashMap::new(),
            keeps_no_copy: Vec::new(),
            full: Vec::new(),
            limits: Limits::default(),
            policy: smtp::Policy::default(),
            http: http::HttpConfig::default(),
            admins: Vec::new(),
            users: ["alice@here.test", "bob@here.test", "u@here.test"].map(Into::into).into(),
            domains: vec!["here.test".into()],
            messages: Vec::new(),
            folders: RefCell::new(Folders::new()),
            withheld: Vec::new(),
            quota: Quota::default(),
            asked: None,
            chunk: 64 * 1024,
            body: Vec::new(),
            logins: LoginDelay::default(),
            too_soon: false,
            faults: false,
            notes: true,
            chaos: RefCell::default(),
        }
    }

    /// Takes one `= key value`.
    pub(crate) fn direct(&mut self, key: &str, value: &str) -> Result<(), String> {
        let words = || value.split_whitespace().map(str::to_owned).collect();
        match key {
            "line_endings" => self.line_endings = word(value)?,
            "syntax" => self.syntax = word(value)?,
            "persona" => self.persona = Some(value.into()),
            "kind" => self.policy.kind = word(value)?,
            "auth" => self.policy.auth = word(value)?,
            "trusted" if value == "yes" => self.policy.trusted = true,
            "tls" if value == "offered" => (self.tls, self.policy.starttls) = (true, true),
            "tls" if value == "implicit" => self.implicit_tls = true,
            "pedantic" if value == "yes" => self.pedantic = true,
            "login" => self.http.login = word(value)?,
            "host" => self.http.hosts.push(value.into()),
            "mail_server" => Rc::make_mut(&mut self.http.mail_servers).servers.push(value.parse()?),
            "mail_domain" => Rc::make_mut(&mut self.http.mail_servers).domains.push(value.into()),
            "bound" => self.http.bound = Some(value.parse().map_err(|_| format!("{value} is no address"))?),
            "admin" => self.admins.push(value.into()),
            "hostname" => self.hostname = value.into(),
            "label" => {
                let id = value.strip_prefix('c').and_then(|id| u64::from_str_radix(id, 16).ok());
                self.id = ConnId(id.ok_or_else(|| format!("{value} is no id of a connection"))?);
            }
            "lookup" => self.lookups.extend(pair(value)),
            "sends" => self.sends.extend(pair(value).map(|(who, may)| (who, may == "true"))),
            "keeps_no_copy" => self.keeps_no_copy.push(value.into()),
            "full" => self.full.push(value.into()),
            "limits" if value == "development" => self.limits = Limits::for_development(),
            "limit" => self.limit(value)?,
            "expire" => self.expire = Some(word(value)?),
            "logged_in" => {
                self.logins = LoginDelay::new(self.limits.pop3.login_delay.0);
                self.logins.record(named(value)?, BEGIN);
            }
            // `address`, `address/mailbox`, or `address/mailbox&mailbox:Folder`.
            "users" => self.users = words(),
            "domains" => self.domains = words(),
            "faults" if value == "on demand" => (self.faults, self.http.has_faults) = (true, true),
            "chaos" => {
                let (at, outcomes) = value.split_once(' ').ok_or("chaos has a command and its outcomes")?;
                let outcomes = outcomes.split_whitespace().map(|word| (at.to_owned(), word.parse().ok()));
                self.chaos.borrow_mut().extend(outcomes);
            }
            "chunk" => self.chunk = value.parse().map_err(|_| format!("{value} is not a number"))?,
            "withheld" => self.withheld = words(),
            // Octets, or messages, of the user.
            "quota" => {
                let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number"));
                match value.split_once(' ').ok_or("a quota is of octets or messages")? {
                    ("octets", most) => self.quota.octets = Some(number(most)?),
                    (_, most) => self.quota.messages = Some(number(most)?),
                }
            }
            "folder" => {
                let name = value.strip_suffix(" subscribed");
                self.folders.get_mut().create(name.unwrap_or(value), None, name.is_some());
            }
            // `INBOX SF "Subject: one||text|"`: the folder, and the letters of the flags or `-`.
            "mail" => {
                let (folder, rest) = value.split_once(' ').ok_or("a mail has a folder")?;
                let (letters, content) = rest.split_once(' ').ok_or("a mail has flags")?;
                let (content, _) = text::unquoted(content)?;
                self.folders.get_mut().deliver(folder, letters, &content);
            }
            "piece" => {
                self.folders.get_mut().piece =
                    value.parse().map_err(|_| format!("{value} is not a number"))?;
            }
            "keywords" => {
                let most = value.parse().map_err(|_| format!("{value} is not a number"))?;
                self.folders.get_mut().keyword_limit = most;
            }
            "message" => self.messages.push(Message::read(value)?),
            _ => return Err(format!("there is no directive {key:?} with the value {value:?}")),
        }
        Ok(())
    }

    /// `section.name value`, as in the `[limits.…]` of the configuration, without its quotes.
    fn limit(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = text.split_once(' ').ok_or("a limit has a name and a value")?;
        let mut table = toml::Table::try_from(&self.limits).map_err(|e| e.to_string())?;
        let old = name.split_once('.').and_then(|(section, key)| table.get_mut(section)?.get_mut(key));
        let old = old.ok_or_else(|| format!("there is no limit {name}"))?;
        *old = match old {
            toml::Value::Integer(_) => value.parse().map_err(|_| format!("{value} is not a number"))?,
            _ => value.into(),
        };
        self.limits = table.try_into().map_err(|e| format!("{text}: {e}"))?;
        Ok(())
    }

    /// A session with these settings.
    pub(crate) fn session(&self) -> Result<Box<dyn Session>, String> {
        let session: Box<dyn Session> = match self.service {
            Service::Smtp => {
                let rules = Rc::new(self.smtp_rules()?);
                Box::new(smtp::SmtpSession::new(rules, [192, 0, 2, 1].into(), self.id))
            }
            Service::Pop3 => Box::new(pop3::Pop3Session::new(Rc::new(self.pop3_rules()?))),
            Service::Imap => Box::new(imap::ImapSession::new(Rc::new(self.imap_rules()))),
            Service::Http => {
                let rules = Rc::new(self.http_rules());
                return Ok(Box::new(http::HttpSession::new(rules, [192, 0, 2, 1].into(), ConnId(1))));
            }
        };
        let protocol = match self.service {
            Service::Pop3 => Protocol::Pop3,
            Service::Imap => Protocol::Imap,
            _ => Protocol::Smtp,
        };
        if !self.faults {
            return Ok(session);
        }
        let mut faulty = FaultySession::new(session, protocol, Rc::default());
        faulty.set_notes(self.notes);
        Ok(Box::new(faulty))
    }

    /// The transcript of such a session.
    pub(crate) fn record(&self, transcripts: &Transcripts, id: ConnId, now: Now) -> Result<Recorder, String> {
        let factory: Box<dyn SessionFactory> = match self.service {
            Service::Smtp => Box::new(smtp::Factory::new(self.smtp_rules()?)),
            Service::Pop3 => Box::new(pop3::Factory::new(self.pop3_rules()?)),
            Service::Http => Box::new(http::Factory::new(self.http_rules())),
            Service::Imap => Box::new(imap::Factory::new(self.imap_rules())),
        };
        let factory = &*factory;
        let (peer, listener) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:25".into());
        let beginning =
            transcript::SessionInfo { id, name: "test", peer, listener, factory, implicit_tls: true };
        transcripts.begin(&beginning, now).ok_or("no transcript".to_owned())
    }

    fn smtp_rules(&self) -> Result<smtp::SessionConfig, String> {
        Ok(smtp::SessionConfig {
            hostname: self.hostname.clone(),
            line_endings: self.line_endings,
            syntax: self.syntax,
            limits: self.limits.clone(),
            pedantic: self.pedantic,
            protocol: smtp::SmtpConfig {
                persona: self.persona.as_deref().map_or(Ok(smtp::Persona::default()), word)?,
                policy: self.policy,
            },
        })
    }

    fn pop3_rules(&self) -> Result<pop3::SessionConfig, String> {
        Ok(pop3::SessionConfig {
            hostname: self.hostname.clone(),
            line_endings: self.line_endings,
            syntax: self.syntax,
            limits: self.limits.clone(),
            pedantic: self.pedantic,
            protocol: pop3::Pop3Config {
                persona: self.persona.as_deref().map_or(Ok(pop3::Persona::default()), word)?,
                expire: self.expire,
                stls: self.tls,
                plaintext_auth: self.policy.auth != smtp::AuthPolicy::UnderTls,
            },
        })
    }

    fn imap_rules(&self) -> imap::SessionConfig {
        imap::SessionConfig {
            hostname: self.hostname.clone(),
            line_endings: self.line_endings,
            syntax: self.syntax,
            limits: self.limits.clone(),
            pedantic: self.pedantic,
            protocol: imap::ImapConfig {
                starttls: self.tls,
                plaintext_auth: self.policy.auth != smtp::AuthPolicy::UnderTls,
                withheld: self.withheld.clone(),
            },
        }
    }

    fn http_rules(&self) -> http::SessionConfig {
        http::SessionConfig {
            hostname: self.hostname.clone(),
            line_endings: self.line_endings,
            syntax: self.syntax,
            limits: self.limits.clone(),
            pedantic: self.pedantic,
            protocol: self.http.clone(),
        }
    }

    /// Applies a request to the message that comes in, and returns the line for it.
    pub(crate) fn hear(&mut self, ask: &Request, detail: bool) -> String {
        match ask {
            Request::Receive(
                ReceiveRequest::Begin | ReceiveRequest::BeginWhole { .. } | ReceiveRequest::Discard,
            ) => self.body.clear(),
            Request::Receive(ReceiveRequest::Spill { bytes, .. })
            | Request::Receive(ReceiveRequest::Deliver { bytes, .. }) => self.body.extend_from_slice(bytes),
            Request::Maildrop(MaildropRequest::Open { mailbox, now, .. }) => {
                self.too_soon = !self.logins.is_allowed(mailbox, *now)
            }
            Request::Imap(request) => self.asked = Some(request.clone()),
            _ => {}
        }
        text::format_request(ask, &self.body, detail)
    }

    /// The response to a request that a dialogue need not mention.
    pub(crate) fn routine(&self, ask: &Request) -> Option<Response> {
        match ask {
            Request::Receive(ReceiveRequest::CheckSpace { .. })
            | Request::Receive(ReceiveRequest::Begin | ReceiveRequest::BeginWhole { .. })
            | Request::Receive(ReceiveRequest::Spill { .. })
            | Request::Receive(ReceiveRequest::Discard) => Some(Response::Done),
            Request::Maildrop(MaildropRequest::Read { message, from }) => {
                let content = &self.messages.get(*message)?.content;
                let from = usize::try_from(*from).ok().filter(|from| *from <= content.len())?;
                let to = content.len().min(from + self.chunk);
                Some(Response::Chunk { bytes: content[from..to].to_vec(), last: to == content.len() })
            }
            Request::Imap(request) => Some(self.folders.borrow_mut().answer(request, &self.body)),
            Request::Verify { user, password }
                if self.service == Service::Imap && password.reveal() == b"secret" =>
            {
                Some(Response::Verified(Mailbox::named(&format!("{user}@here.test"))?))
            }
            Request::Maildrop(MaildropRequest::Open { .. }) if self.too_soon => {
                Some(Response::Failed(Failure::LoginDelay))
            }
            _ => None,
        }
    }

    /// The response that stands after `!`.
    pub(crate) fn answer(&mut self, text: &str) -> Result<Response, String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        Ok(match (word, rest) {
            ("ready" | "updated", "") => Response::Done,
            ("served", "") => {
                let request = self.asked.take().ok_or("no request of IMAP waits")?;
                self.folders.get_mut().answer(&request, &self.body)
            }
            ("interrupted", how) => text::interrupted(self.folders.get_mut(), self.asked.take(), how)?,
            ("untold", "") => text::without_state(self.answer("served")?)?,
            ("refused", refusal) => Response::Imap(ImapResponse::Refused(refusal_of(refusal)?)),
            ("delivered", "") => Response::Delivered(Vec::new()),
            ("stored", id) if self.service != Service::Imap => Response::Stored(id.into()),
            ("composed", draft) => Response::Composed(Ok(Box::new(read_draft(draft)?))),
            ("malformed", why) => {
                Response::Composed(Err(String::from_utf8(text::unquoted(why)?.0).map_err(|e| e.to_string())?))
            }
            ("partly", faults) => {
                Response::Delivered(faults.split_whitespace().map(text::outcome).collect::<Result<_, _>>()?)
            }
            ("welcome", mailbox) => Response::Verified(named(mailbox)?),
            ("opened", "") => Response::Opened(Arc::new(Messages(self.messages.clone()))),
            ("opened", sizes) => {
                let Messages(messages) = Messages::of_sizes(sizes)?;
                self.messages.clone_from(&messages);
                Response::Opened(Arc::new(Messages(messages)))
            }
            ("document", document) => Response::Document(read_document(document)?),
            ("item", item) => {
                Response::Item(SharedOctets { number: 1, octets: text::unquoted(item)?.0.into() })
            }
            ("denied", delay) => Response::Failed(Failure::AuthFailed { delay: delay.parse::<Span>()?.0 }),
            ("failed", fault) => Response::Failed(text::fault(fault)?),
            ("chunk", chunk) => match text::unquoted(chunk)? {
                (bytes, "") => Response::Chunk { bytes, last: false },
                (bytes, "last") => Response::Chunk { bytes, last: true },
                (_, other) => return Err(format!("{other:?} behind a chunk")),
            },
            _ => text::told(text, self.answer("served"))?,
        })
    }

    /// The response that a blessed dialogue gets if it has none.
    pub(crate) fn good_answer(ask: &Request) -> String {
        match ask {
            Request::Receive(ReceiveRequest::Deliver { wants_id: true, .. }) => "stored a1".into(),
            Request::Receive(ReceiveRequest::Deliver { .. }) => "delivered".into(),
            Request::Api(ApiRequest { action: ApiAction::Compose { .. }, .. }) => {
                "composed from=<alice@here.test> to=<bob@here.test> \"Subject: hello||text|\"".into()
            }
            Request::Verify { .. } => "welcome bob@here.test".into(),
            Request::Maildrop(MaildropRequest::Open { .. }) => "opened".into(),
            Request::Maildrop(MaildropRequest::Update { .. }) => "updated".into(),
            Request::Imap(_) => "served".into(),
            Request::Api(_) => "document \"application/json\" \"{}\\r|\"".into(),
            _ => "ready".into(),
        }
    }
}

impl AccountDirectory for World {
    fn lookup(&self, address: &Address) -> Lookup {
        let known = self.lookups.get(&text::escaped(address.to_string().as_bytes()));
        match known.map(String::as_str) {
            Some("foreign") => return Lookup::Foreign,
            Some("unknown") => return Lookup::Unknown,
            Some(names) => return destinations(names),
            None => {}
        }
        let domain = address.domain().unwrap_or(&self.domains[0]);
        if !self.domains.iter().any(|ours| ours == domain) {
            return Lookup::Foreign;
        }
        let name = format!("{}@{domain}", address.local().to_ascii_lowercase());
        let mailbox = self.users.iter().find_map(|user| match user.split_once('/') {
            Some((user, mailbox)) => (user == name).then_some(mailbox),
            None => (user == "*" || *user == name).then_some(name.as_str()),
        });
        mailbox.map_or(Lookup::Unknown, destinations)
    }

    fn tagged(&self, address: &Address) -> Option<TaggedAddress> {
        tagged_address(address, &self.lookup(address))
    }

    fn may_send_as(&self, user: &Mailbox, from: &Address) -> bool {
        let who = format!("{user} {}", text::escaped(from.to_string().as_bytes()));
        let found = || matches!(self.lookup(from), Lookup::Local(to) if to.contains(user));
        self.sends.get(&who).copied().unwrap_or_else(found)
    }

    fn wants_sent_copy(&self, user: &Mailbox) -> bool {
        !self.keeps_no_copy.contains(&user.to_string())
    }

    fn is_admin(&self, user: &Mailbox) -> bool {
        self.admins.contains(&user.to_string())
    }

    fn quota(&self, _: &Mailbox) -> Quota {
        self.quota
    }

    fn is_full(&self, mailbox: &Mailbox) -> bool {
        self.full.contains(&mailbox.to_string())
    }

    fn chaos(&self, at: ChaosPoint) -> Option<u16> {
        let mut outcomes = self.chaos.borrow_mut();
        let next = outcomes.iter().position(|(named, _)| named.eq_ignore_ascii_case(&format!("{at:?}")))?;
        outcomes.remove(next)?.1
    }
}

/// A word of the configuration.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(text.into_deserializer()).map_err(|e: value::Error| e.to_string())
}
