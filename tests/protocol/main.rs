//! SMTP, LMTP, POP3 and TLS on the wire: dialogues without a socket, our own clients, and clients of others.

mod autoconfig;
#[path = "../common/mod.rs"]
mod common;
mod dialogue;
mod dialogues;
mod faults_on_demand;
mod http_any_input;
mod http_api;
mod http_attacks;
mod http_eviction;
mod http_faults;
mod http_hostile_mail;
mod http_mistakes;
mod listener_clients;
mod mailhog;
mod odd_clients;
mod peers;
mod pop3_any_input;
mod pop3_end_to_end;
mod pop3_faults;
mod pop3_policies;
mod python_clients;
mod relay;
mod smtp_any_input;
mod smtp_chunking;
mod smtp_end_to_end;
mod smtp_line_ends;
mod tls_attacks;
mod tls_clients;
mod tls_sessions;
mod tls_switch;
mod transcripts;
mod web_page;
mod xml;
