//! An HTTP session on any input: the same in any pieces, and every response well-formed.

#[path = "../any_input/http.rs"]
mod session;

use proptest::prelude::*;
use restante::{
    limits::Limits,
    proto::{
        dot::LineEndings,
        http::{HttpConfig, LoginPolicy, SessionConfig},
        request::Failure,
        syntax::Syntax,
    },
};
use session::{check_bounds, check_query, mail_servers, play, with_body};

fn config(login: LoginPolicy) -> SessionConfig {
    SessionConfig {
        hostname: "mx.test".into(),
        line_endings: LineEndings::Strict,
        syntax: Syntax::default(),
        limits: Limits::default(),
        pedantic: false,
        protocol: HttpConfig { login, mail_servers: mail_servers(), ..HttpConfig::default() },
    }
}

/// Pieces of requests, good and bad, in any order.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "GET /api/v1/messages HTTP/1.1\r\n",
            "GET /api/v1/message/latest/raw HTTP/1.1\r\n",
            "HEAD /livez HTTP/1.1\r\n",
            "DELETE /api/v1/messages HTTP/1.1\r\n",
            "PUT /box/bob@here.test/api/v1/messages HTTP/1.1\r\n",
            "GET /wait?timeout=1 HTTP/1.1\r\n",
            "GET /api/events HTTP/1.0\r\n",
            "GET /nowhere HTTP/1.1\r\n",
            "GET /mail/config-v1.1.xml?emailaddress=bob@here.test HTTP/1.1\r\n",
            "GET /mail.mobileconfig?emailaddress=%22%3C%26%22@here.test HTTP/1.1\r\n",
            "POST /autodiscover/autodiscover.xml HTTP/1.1\r\n",
            "Content-Length: 32\r\n\r\n<EMailAddress>&lt;@here.test</x>",
            "Host: autoconfig.here.test\r\n",
            "POST /api/v1/send HTTP/1.1\r\n",
            "PUT /api/v1/chaos HTTP/1.1\r\n",
            "Content-Type: application/x-www-form-urlencoded\r\n",
            "Host: localhost\r\n",
            "Host: localhost\r\n\r\n",
            "Content-Length: 3\r\n",
            "Content-Length: 13\r\n\r\n{\"Read\":true}",
            "Transfer-Encoding: chunked\r\n",
            "Authorization: Basic Ym9iOng=\r\n",
            "Expect: 100-continue\r\n",
            "Connection: close\r\n",
            "If-None-Match: \"x1\"\r\n",
            "Range: bytes=0-1\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "GET /wait?query=ab&timeout=1 HTTP/1.1\r\n",
            "GET /box/bob%40here.test/message/a1?query=%3Cb%3E HTTP/1.0\r\nConnection: keep-alive\r\n",
            "POST /api/v1/messages HTTP/1.1\r\n",
            "Origin: http://attacker.test\r\n",
            "\r\n",
            "\n",
            "\r",
            "{}",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(word, 0..30).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn v35_responses_are_well_formed_and_the_same_for_any_pieces(
        wire in words(), size in 1_usize..40, open in any::<bool>(), fails_at in 0_usize..8,
    ) {
        let config = config(if open { LoginPolicy::Off } else { LoginPolicy::InClear });
        let fault = |asked| (asked == fails_at).then_some(Failure::TempFail);
        let whole = play(&config, [wire.as_slice()].into_iter(), fault);
        check_bounds(&whole, &wire);
        prop_assert_eq!(play(&config, wire.chunks(size), fault), whole);
    }

    #[test]
    fn v35_a_query_is_its_text_however_it_is_escaped(text in "\\PC{0,20}|[ a-z%&=+#?/\x00-\x1f]{0,12}", how in any::<[u8; 64]>()) {
        let mut at = 0;
        let next = || {
            at += 1;
            how[at % how.len()]
        };
        check_query(&config(LoginPolicy::Off), &text, next);
    }

    #[test]
    fn v35_a_body_of_any_octets_changes_what_it_names_or_nothing(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "\\{(\"(IDs|ids|Search|Read|x)\":(\\[(\"a\"(,\"b\")?)?\\]|\"x\"|true|null|\\{\\}),?){0,3}\\}".prop_map(String::into_bytes),
        ],
        size in 1_usize..20,
    ) {
        let config = config(LoginPolicy::Off);
        for method in ["PUT", "DELETE"] {
            let wire = with_body(method, "/api/v1/messages", &body);
            let whole = play(&config, [wire.as_slice()].into_iter(), |_| None);
            check_bounds(&whole, &wire);
            prop_assert_eq!(&play(&config, wire.chunks(size), |_| None), &whole);
            // Only a whole object with no other keys, or a DELETE without a body, changes all
            // messages.
            let changes_all = whole.asked.iter().any(|asked| asked.contains("(All"));
            let object: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&body).ok();
            let names_all = object.is_some_and(|object| object.keys().all(|key| ["IDs", "ids", "Search", "Read"].contains(&key.as_str())));
            prop_assert!(!changes_all || names_all || (body.is_empty() && method == "DELETE"), "{:?}", body);
        }
    }
}
