//! What logins cost: the server, a client that comes again and again, and somebody who guesses.

mod common;

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use common::{PASSWORD, Server, Setup, client::Client, skip};
use restante::accounts::{Sources, hash};

const ALICE: &str = "alice@example.test";

fn server(address: &str, limits: &str) -> Server {
    let listener =
        format!("[[listen]]\nprotocol = \"pop3\"\naddress = \"{address}:0\"\nplaintext_auth = true\n");
    let config = format!("{listener}[limits]\n{limits}\n");
    Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start()
}

fn login(address: SocketAddr, password: &str) -> String {
    let mut client = Client::connect(address);
    client.expect("+OK");
    client.ask(&format!("USER {ALICE}"), "+OK");
    let reply = client.send(&format!("PASS {password}")).reply();
    client.send("QUIT").rest();
    reply
}

#[test]
fn a_client_that_comes_every_moment_costs_no_argon2_each_time() {
    let cost = |limits| {
        let server = server("127.0.0.1", limits);
        for _ in 0..2 {
            assert!(login(server.pop3(), PASSWORD).starts_with("+OK"));
        }
        let before = server.cpu_ticks();
        for _ in 0..50 {
            assert!(login(server.pop3(), PASSWORD).starts_with("+OK"));
        }
        server.cpu_ticks() - before
    };
    let (remembered, forgotten) = (cost("login_memory = \"5m\""), cost("login_memory = \"0s\""));
    assert!(remembered * 2 < forgotten, "{remembered} and {forgotten} ticks");
}

#[test]
fn t11_wrong_passwords_from_elsewhere_are_held_back_and_then_not_checked() {
    let route = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    let Ok(own) = route.map(|own| own.ip()).map_err(|error| skip("t11_wrong_passwords", &error.to_string()))
    else {
        return;
    };
    let server = server(&own.to_string(), "failed_login_delay = \"300ms\"\nfailed_logins_minute = 3");
    assert!(login(server.pop3(), PASSWORD).starts_with("+OK"));
    for (n, password) in ["a", "b", "c"].into_iter().enumerate() {
        let began = Instant::now();
        assert!(login(server.pop3(), password).starts_with("-ERR [AUTH] "));
        assert!(began.elapsed() >= Duration::from_millis(300) * (1 << n), "{n}");
    }
    for password in ["d", PASSWORD] {
        assert!(login(server.pop3(), password).starts_with("-ERR [SYS/TEMP] "));
    }
}

/// `cargo test --release --test logins -- --ignored --nocapture`
#[test]
#[ignore = "measures time: for a machine that does nothing else"]
fn t12_g13_time_does_not_tell_who_exists() {
    const ROUNDS: usize = 500;
    let home = common::home();
    let users = home.path().join("users.json");
    let hash = hash(PASSWORD.as_bytes()).unwrap();
    let text = format!(
        "{{\"known@a.test\": {{\"password_hash\": {hash:?}}},
          \"disabled@a.test\": {{\"password_hash\": {hash:?}, \"disabled\": true}}}}"
    );
    std::fs::write(&users, text).unwrap();
    let accounts = Sources { users, aliases: None, domains: vec!["a.test".into()] }.load().unwrap();
    let names = ["known", "unknown", "disabled"];
    let mut times = names.map(|_| Vec::with_capacity(ROUNDS));
    for round in 0..ROUNDS {
        for n in 0..names.len() {
            let n = (n + round) % names.len();
            let began = Instant::now();
            std::hint::black_box(accounts.credential(names[n]).verify(b"wrong"));
            times[n].push(began.elapsed());
        }
    }
    for n in 1..names.len() {
        let auc = auc(&times[0], &times[n]);
        eprintln!("known against {}: AUC {auc:.3} of {ROUNDS} each", names[n]);
        assert!((0.45..0.55).contains(&auc), "{auc}");
    }
}

/// How often one of `a` takes longer than one of `b`, ties counting half.
fn auc(a: &[Duration], b: &[Duration]) -> f64 {
    let wins = a.iter().flat_map(|a| b.iter().map(move |b| a.cmp(b) as i32 + 1)).sum::<i32>();
    f64::from(wins) / 2.0 / (a.len() * b.len()) as f64
}
