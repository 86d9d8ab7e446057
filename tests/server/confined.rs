//! A server that may do little: the sandbox keeps it to its mail and to the files that its configuration names, and a
//! limit of memory ends it without a loss. Row O05 of the catalogue of faults (docs/dev/faults/).

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::symlink,
    process::Command,
};

use rustix::process::Signal;

use crate::common::{
    PASSWORD, PASSWORD_MD5, PATIENCE, STRICT, Server, Setup, client::Client, eventually, home, skip,
};

/// Whether the log has the line of a server that the kernel keeps to its files.
fn is_kept(server: &Server) -> bool {
    server.tells("sandbox ");
    server.log().contains("sandbox landlock=") && !server.log().contains("landlock=none")
}

#[test]
fn accounts_that_lead_out_of_the_sandbox_are_not_read() {
    let elsewhere = home();
    let outside = elsewhere.path().join("users.json");
    fs::write(&outside, format!("{{\"eve@example.test\": {{\"password_hash\": {PASSWORD_MD5:?}}}}}"))
        .unwrap();
    let logs_in = |server: &Server, user: &str| {
        let mut client = Client::connect(server.pop3());
        client.expect("+OK");
        client.ask(&format!("USER {user}"), "+OK");
        client.send(&format!("PASS {PASSWORD}")).reply().starts_with("+OK")
    };
    for sandbox in ["landlock", "off"] {
        let config = format!(
            "sandbox = {sandbox:?}\n{STRICT}\n[limits]\nauth.failure_delay = \"0s\"\nauth.reload_interval = \"1s\"\n"
        );
        let users = &["bob@example.test"];
        let server = Setup { config: Some(&config), users, ..Setup::default() }.start();
        if sandbox == "landlock" && !is_kept(&server) {
            return skip("accounts_that_lead_out_of_the_sandbox_are_not_read", "the kernel has no Landlock");
        }
        let accounts = server.home.path().join("users.json");
        // Replaced by rename, as editors and configuration management do: still in the same directory.
        let new = server.home.path().join("new.json");
        let both = format!(
            "{{\"bob@example.test\": {{\"password_hash\": {PASSWORD_MD5:?}}}, \"ann@example.test\": \
             {{\"password_hash\": {PASSWORD_MD5:?}}}}}"
        );
        fs::write(&new, both).unwrap();
        fs::rename(&new, &accounts).unwrap();
        eventually("ann is known", || logs_in(&server, "ann@example.test").then_some(()));
        // Changed for a link that leads out.
        symlink(&outside, &new).unwrap();
        fs::rename(&new, &accounts).unwrap();
        if sandbox == "landlock" {
            server.tells("Permission denied");
            assert!(!logs_in(&server, "eve@example.test"));
            assert!(logs_in(&server, "ann@example.test"), "those who were known stay so");
        } else {
            eventually("eve is known", || logs_in(&server, "eve@example.test").then_some(()));
        }
    }
}

#[test]
fn o03_n49_a_certificate_is_renewed_inside_of_the_sandbox_as_certbot_does_it() {
    let certbot = home();
    let (live, archive) = (certbot.path().join("live/mx"), certbot.path().join("archive/mx"));
    fs::create_dir_all(&live).unwrap();
    let make = |generation: u32| {
        let made = certbot.path().join(generation.to_string());
        let done = Command::new(env!("CARGO_BIN_EXE_restante"))
            .args(["cert", "--self-signed", "--host", "localhost"])
            .arg(&made)
            .output()
            .unwrap();
        assert!(done.status.success());
        fs::create_dir_all(&archive).unwrap();
        for (file, name) in [("certificate.pem", "fullchain"), ("key.pem", "privkey")] {
            fs::rename(made.join(file), archive.join(format!("{name}{generation}.pem"))).unwrap();
            let link = live.join(format!("{name}.pem"));
            let _ = fs::remove_file(&link); // the first time there is none
            symlink(format!("../../archive/mx/{name}{generation}.pem"), link).unwrap();
        }
    };
    make(1);
    let config = format!(
        "{STRICT}\n[tls]\ncertificate = {:?}\nkey = {:?}\n[limits]\ntls.reload_interval = \"1s\"\n",
        live.join("fullchain.pem"),
        live.join("privkey.pem")
    );
    let users = &["bob@example.test"];
    let server = Setup { config: Some(&config), users, ..Setup::default() }.start();
    server.tells("sandbox ");
    make(2);
    server.tells("tls certificate reloaded");
    if !is_kept(&server) {
        return; // the rest is about Landlock
    }
    // A link out of the sandbox has the words that a reload of the configuration has for it.
    let beyond = home();
    fs::copy(archive.join("fullchain2.pem"), beyond.path().join("fullchain.pem")).unwrap();
    fs::remove_file(live.join("fullchain.pem")).unwrap();
    symlink(beyond.path().join("fullchain.pem"), live.join("fullchain.pem")).unwrap();
    server.tells(&format!(
        "Permission denied (os error 13): {} is outside of the sandbox",
        beyond.path().display()
    ));
}

#[test]
fn o02_a_reload_takes_what_is_inside_of_the_sandbox_and_names_what_is_not() {
    let server = Server::strict();
    if !is_kept(&server) {
        return skip("o02_a_reload_takes_what_is_inside_of_the_sandbox_and_names_what_is_not", "no Landlock");
    }
    let file = server.home.path().join("restante.toml");
    let good = fs::read_to_string(&file).unwrap();
    let new = server.home.path().join("new.toml");
    let reload = |config: &str| {
        fs::write(&new, config).unwrap();
        fs::rename(&new, &file).unwrap();
        server.signal(Signal::HUP);
    };
    fs::write(server.home.path().join("aliases"), "info: bob\n").unwrap();
    reload(&format!("aliases = \"aliases\"\n{good}"));
    server.tells("configuration loaded");
    Client::smtp(&server).deliver(&["info@example.test"], b"Subject: x\r\n\r\n");
    let elsewhere = home();
    fs::write(elsewhere.path().join("aliases"), "").unwrap();
    reload(&format!("aliases = {:?}\n{good}", elsewhere.path().join("aliases")));
    server.tells(&format!("{} is outside of the sandbox", elsewhere.path().display()));
    Client::smtp(&server).deliver(&["info@example.test"], b"Subject: x\r\n\r\n");
}

/// A letter to `to`, from a client that is ready for the end of the server: the last reply that it gets.
fn letter(address: SocketAddr, to: &str, message: &[u8], end: &[u8]) -> io::Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reply = [0; 1024];
    let mut said = 0;
    let envelope = format!("HELO client.test\r\nMAIL FROM:<ann@far.test>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
    for line in envelope.split_inclusive('\n').map(str::as_bytes).chain([&b""[..]]) {
        said = stream.read(&mut reply)?; // the greeting first
        stream.write_all(line)?;
    }
    if reply.starts_with(b"354") {
        stream.write_all(message)?;
        stream.write_all(end)?;
        if !end.is_empty() {
            said = stream.read(&mut reply)?;
        }
    }
    Ok((stream, String::from_utf8_lossy(&reply[..said]).into_owned()))
}

/// More than there is memory for.
const HOGS: u32 = 50;

/// `ulimit -d`, from a file beside the configuration, so that it can be lifted for the next start.
const LIMITED: &str = r#"ulimit -d "$(cat "$(dirname "$4")/memory" 2>/dev/null || echo 90000)"; exec "$@""#;

#[test]
fn o05_a_server_out_of_memory_refuses_or_ends_and_loses_nothing_it_has_answered_for() {
    // More may be kept in memory than there is.
    let config = format!(
        "{STRICT}\n[limits]\ndelivery.max_body_memory = \"2048 MiB\"\ndelivery.spill_threshold = \"50 MiB\"\nconnections.max_per_address = 0\n"
    );
    let users = &["bob@example.test", "hog@example.test"];
    let wrapper = &["sh", "-c", LIMITED, "sh"];
    let mut server = Setup { wrapper, config: Some(&config), users, ..Setup::default() }.start();
    let address = server.smtp();
    let (mut acknowledged, mut hogs) = (Vec::new(), Vec::new());
    // Every hog leaves 3 MiB in memory, and between two of them a letter comes, until one is not taken.
    let hog = [b"x".repeat(62).as_slice(), b"\r\n"].concat().repeat(3 << 20 >> 6);
    for n in 0.. {
        assert!(n < HOGS, "there was memory enough");
        let text = format!("Subject: {n}\r\n\r\nletter {n}\r\n");
        match letter(address, "bob@example.test", text.as_bytes(), b".\r\n") {
            Ok((_, reply)) if reply.starts_with("250") => acknowledged.push(n),
            Ok((_, reply)) if reply.is_empty() || reply.starts_with('4') => break,
            Ok((_, reply)) => panic!("{reply}"),
            Err(_) => break,
        }
        match letter(address, "hog@example.test", &hog, b"") {
            Ok(fed) => hogs.push(fed),
            Err(_) => break,
        }
    }
    assert!(acknowledged.len() > 2, "{acknowledged:?}");
    drop(hogs);
    fs::write(server.home.path().join("memory"), "unlimited").unwrap();
    server.restart();
    let bodies: Vec<String> =
        [server.maildir("bob@example.test").files("new"), server.maildir("bob@example.test").files("cur")]
            .concat()
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
    for n in &acknowledged {
        let found = bodies.iter().filter(|body| body.ends_with(&format!("\n\nletter {n}\n"))).count();
        assert_eq!(found, 1, "letter {n} of {acknowledged:?}");
    }
}
