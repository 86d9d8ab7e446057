//! The cost of logins: for the server, for a client that comes again and again, and for a client
//! that guesses.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use crate::common::{
    self, BEHIND_A_PROXY, PASSWORD, STRICT, Server, Setup, client::Client, eventually, listener, listener_at,
    proxy_header, skip,
};
use restante::accounts::{HashMemory, Sources, hash};

const ALICE: &str = "alice@example.test";

fn server(address: &str, limits: &str) -> Server {
    let pop3 = listener_at("pop3", &format!("{address}:0"), "auth_allow_cleartext = true");
    let config = format!("{pop3}[limits]\n{limits}\n");
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
    let (remembered, forgotten) = (cost("auth.cache_ttl = \"5m\""), cost("auth.cache_ttl = \"0s\""));
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
    let server = server(&own.to_string(), "auth.failure_delay = \"300ms\"\nauth.max_failures_per_minute = 3");
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

/// A POP3 listener that this machine reaches as a proxy, so that its clients are of any address.
fn proxied(users: &[&str], limits: &str) -> Server {
    let pop3 = listener("pop3", &format!("{BEHIND_A_PROXY}auth_allow_cleartext = true"));
    let limits = format!("auth.failure_delay = \"0s\"\nconnections.max_per_address = 0\n{limits}");
    let config = format!("{pop3}[limits]\n{limits}\n");
    Setup { config: Some(&config), users, ..Setup::default() }.start()
}

/// A client at that address that has just sent a password.
fn asking(server: &Server, from: &str, user: &str, password: &str) -> Client {
    let mut client = Client::connect(server.pop3());
    client.write(proxy_header(from).as_bytes());
    client.expect("+OK");
    client.ask(&format!("USER {user}"), "+OK");
    client.send(&format!("PASS {password}"));
    client
}

fn login_from(server: &Server, from: &str, user: &str, password: &str) -> String {
    let mut client = asking(server, from, user, password);
    let reply = client.reply();
    client.send("QUIT").rest();
    reply
}

const MALLORY: &str = "mallory@example.test";

/// X4: a good login must not clear the failures at other names, which would allow 490,000 guesses a
/// day.
#[test]
fn a_login_of_ones_own_buys_no_guess_at_another_password() {
    let server = proxied(&[ALICE, MALLORY], "");
    for from in ["198.51.100.7", "2001:db8:0:1::7"] {
        let mut checked = 0;
        for n in 0..30 {
            let own = login_from(&server, from, MALLORY, PASSWORD);
            assert!(own.starts_with("+OK"), "{own}");
            let reply = login_from(&server, from, ALICE, &format!("guess {from} {n}"));
            assert!(reply.starts_with("-ERR [AUTH] ") || reply.starts_with("-ERR [SYS/TEMP] "), "{reply}");
            checked += usize::from(reply.starts_with("-ERR [AUTH] "));
        }
        assert_eq!(checked, 10, "in a minute from {from}");
    }
    let elsewhere = login_from(&server, "203.0.113.9", ALICE, PASSWORD);
    assert!(elsewhere.starts_with("+OK"), "{elsewhere}");
}

#[test]
fn many_connections_at_once_buy_no_guess_either() {
    let server = proxied(&[ALICE], "");
    let guess = |n| asking(&server, "198.51.100.7", ALICE, &format!("guess {n}"));
    let mut clients: Vec<Client> = (0..30).map(guess).collect();
    let replies: Vec<String> = clients.iter_mut().map(Client::reply).collect();
    let checked = replies.iter().filter(|reply| reply.starts_with("-ERR [AUTH] ")).count();
    let refused = replies.iter().filter(|reply| reply.starts_with("-ERR [SYS/TEMP] ")).count();
    assert_eq!((checked, refused), (10, 20), "{replies:?}");
}

#[test]
fn guesses_from_everywhere_shut_a_user_out_nowhere_that_it_usually_is() {
    let server = proxied(&[ALICE], "auth.max_failures_per_user = 5");
    assert!(login_from(&server, "203.0.113.9", ALICE, PASSWORD).starts_with("+OK"));
    let guess = |n: usize| login_from(&server, &format!("198.51.100.{n}"), ALICE, &format!("guess {n}"));
    let checked = (1..=20).filter(|n| guess(*n).starts_with("-ERR [AUTH] ")).count();
    assert_eq!(checked, 5);
    assert!(login_from(&server, "198.51.100.200", ALICE, PASSWORD).starts_with("-ERR [SYS/TEMP] "));
    assert!(login_from(&server, "203.0.113.9", ALICE, PASSWORD).starts_with("+OK"));
}

/// X8: polite guessers must not fill the queue so far that a user's first login is refused.
#[test]
fn a_queue_full_of_guessers_has_room_for_the_first_login_of_a_user() {
    let limits = "auth.workers = 1\nauth.queue_size = 8\nauth.max_failures_per_minute = 0\nauth.max_failures_per_day = 0\n\
                  auth.max_failures_per_user = 0";
    let server = proxied(&[ALICE, MALLORY], limits);
    let from = |n: usize| format!("198.51.100.{}", n % 4);
    let guess = |n: usize| asking(&server, &from(n), MALLORY, &format!("guess {n}"));
    let mut guessers: Vec<Client> = (0..60).map(guess).collect();
    let first = login_from(&server, "203.0.113.9", ALICE, PASSWORD);
    assert!(first.starts_with("+OK"), "{first}");
    let replies: Vec<String> = guessers.iter_mut().map(Client::reply).collect();
    let refused = replies.iter().filter(|reply| reply.starts_with("-ERR [SYS/TEMP] ")).count();
    assert!(refused > 0, "the queue was never full: {replies:?}");
}

#[test]
fn a_client_that_leaves_while_its_password_waits_keeps_no_other_from_its_turn() {
    let limits = "auth.workers = 1\nauth.max_failures_per_minute = 0\nauth.max_failures_per_day = 0";
    let server = proxied(&[ALICE], limits);
    let guess = |n: usize| asking(&server, "198.51.100.7", ALICE, &format!("guess {n}"));
    drop((0..30).map(guess).collect::<Vec<_>>());
    assert!(login_from(&server, "198.51.100.7", ALICE, PASSWORD).starts_with("+OK"));
    assert!(login_from(&server, "203.0.113.9", ALICE, PASSWORD).starts_with("+OK"));
}

/// X7: the server must give back the memory of password checks: else it keeps 230 MB, after 13
/// before.
#[test]
fn a_rush_of_wrong_passwords_gives_its_memory_back() {
    let limits = "pop3.login_error_limit = 0\nauth.max_failures_per_connection = 0\npop3.hard_error_limit = 0\nauth.workers = 4\nauth.failure_delay = \"0s\"";
    let server = server("127.0.0.1", limits);
    let before = server.status_kib("VmRSS");
    std::thread::scope(|scope| {
        for client in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for n in 0..10 {
                    assert!(login(server.pop3(), &format!("wrong {client} {n}")).starts_with("-ERR [AUTH] "));
                }
            });
        }
    });
    eventually("the memory is given back", || {
        (server.status_kib("VmRSS") < before + 16 * 1024).then_some(())
    });
}

#[test]
fn the_time_of_a_wrong_password_does_not_tell_whose_hash_came_from_another_server() {
    let mut server = server("127.0.0.1", "");
    let bcrypt = "$2b$12$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O";
    let users = format!("{{\"{ALICE}\": {{\"password_hash\": {bcrypt:?}}}}}");
    std::fs::write(server.home.path().join("users.json"), users).unwrap();
    server.restart();
    for user in [ALICE, "nobody@example.test"] {
        let mut client = Client::connect(server.pop3());
        client.expect("+OK");
        client.ask(&format!("USER {user}"), "+OK");
        let began = Instant::now();
        client.ask("PASS wrong", "-ERR [AUTH] ");
        assert!(began.elapsed() >= Duration::from_secs(2), "{user}");
    }
}

/// `cargo test --release --test server logins:: -- --ignored --nocapture`
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
    let accounts = Sources { users, aliases: None, domains: vec!["a.test".into()], ..Sources::default() }
        .load()
        .unwrap();
    let names = ["known", "unknown", "disabled"];
    let mut scratch = HashMemory::default();
    let mut times = names.map(|_| Vec::with_capacity(ROUNDS));
    for round in 0..ROUNDS {
        for n in 0..names.len() {
            let n = (n + round) % names.len();
            let began = Instant::now();
            std::hint::black_box(accounts.credential(names[n]).verify(b"wrong", &mut scratch));
            times[n].push(began.elapsed());
        }
    }
    for n in 1..names.len() {
        let auc = auc(&times[0], &times[n]);
        eprintln!("known against {}: AUC {auc:.3} of {ROUNDS} each", names[n]);
        assert!((0.45..0.55).contains(&auc), "{auc}");
    }
}

/// The probability that one of `a` takes longer than one of `b`, ties counting half.
fn auc(a: &[Duration], b: &[Duration]) -> f64 {
    let wins = a.iter().flat_map(|a| b.iter().map(move |b| a.cmp(b) as i32 + 1)).sum::<i32>();
    f64::from(wins) / 2.0 / (a.len() * b.len()) as f64
}

#[test]
fn h16_nobody_in_a_class_is_cut_off_for_wrong_passwords() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/course/class.toml");
    let example = fs::read_to_string(example).unwrap();
    let limits = &example[example.find("[limits.connections]").unwrap()..];
    let config = format!("{STRICT}\n{limits}");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    for n in 0..4 {
        client.ask(&format!("USER {ALICE}"), "+OK");
        client.ask(&format!("PASS wrong{n}"), "-ERR");
    }
    client.ask(&format!("USER {ALICE}"), "+OK");
    client.ask(&format!("PASS {PASSWORD}"), "+OK");
}
