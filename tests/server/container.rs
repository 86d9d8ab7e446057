//! The container of `examples/container/`, without an engine: its file tree with nothing else in it, run with the user, the
//! environment and the commands of the Containerfile.

use std::{
    fs,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::common::{
    client::{Client, socket},
    eventually, home, installed, skip,
};

/// The image: its root directory, its volume, and its instructions.
struct Image {
    root: TempDir,
    volume: TempDir,
    instructions: String,
}

/// A container that runs. It is killed when the test ends.
struct Container {
    unshare: Child,
}

impl Image {
    fn make(has_proc: bool) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/container/Containerfile");
        let image = Self { root: home(), volume: home(), instructions: fs::read_to_string(file).unwrap() };
        let root = image.root.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        let program = program();
        fs::copy(&program, root.join("restante")).unwrap();
        for library in libraries(&program) {
            let copy = root.join(library.strip_prefix("/").unwrap());
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(library, copy).unwrap();
        }
        fs::create_dir(root.join("data")).unwrap();
        if has_proc {
            fs::create_dir(root.join("proc")).unwrap();
        }
        let (user, group) = image.user().split_once(':').unwrap();
        chown(image.volume.path(), user.parse().ok(), group.parse().ok()).unwrap();
        fs::set_permissions(image.volume.path(), fs::Permissions::from_mode(0o755)).unwrap();
        image
    }

    fn instruction(&self, name: &str) -> &str {
        let mut values =
            self.instructions.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values.next().unwrap_or_else(|| panic!("no {name}"))
    }

    /// The words of an instruction in its form as JSON.
    fn words(&self, name: &str) -> Vec<String> {
        let value = self.instruction(name);
        serde_json::from_str(&value[value.find('[').unwrap()..]).unwrap()
    }

    fn user(&self) -> &str {
        self.instruction("USER")
    }

    /// Runs a command in the container: as process 1, with a root directory that is read-only.
    fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh"]);
        command
            .args([self.root.path(), self.volume.path()])
            .args([self.user(), self.instruction("ENV")])
            .args(words);
        command.stdin(Stdio::null());
        command
    }

    /// The server of `CMD`, on any free ports.
    fn start(&self) -> Container {
        let mut words = self.words("ENTRYPOINT");
        words.extend(self.words("CMD"));
        for word in &mut words {
            if word.bytes().all(|b| b.is_ascii_digit()) {
                *word = "0".into();
            }
        }
        words.extend(["--ports-file", "/data/ports"].map(str::to_owned));
        let mut command = self.command(&words);
        Container { unshare: command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap() }
    }

    fn address(&self, service: &str) -> SocketAddr {
        let file = self.volume.path().join("ports");
        let ports = eventually("the ports file is there", || fs::read_to_string(&file).ok());
        let prefix = format!("{service}=0.0.0.0:");
        let port = ports.lines().find_map(|line| line.strip_prefix(&prefix)?.parse().ok());
        SocketAddr::from(([127, 0, 0, 1], port.unwrap_or_else(|| panic!("{ports}"))))
    }

    /// The health check, in the same files.
    fn check(&self) -> Output {
        self.command(&self.words("HEALTHCHECK")).output().unwrap()
    }
}

impl Container {
    /// The process of the server, which is process 1 in the container.
    fn server(&self) -> Pid {
        let id = self.unshare.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        Pid::from_raw(children.trim().parse().unwrap()).unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.unshare.kill(); // it may have ended
        let _ = self.unshare.wait();
    }
}

/// Mounts the volume, makes the rest read-only, and becomes the user, with one variable in the environment.
const ENTER: &str = r#"
set -e
root=$1 volume=$2 user=$3 variable=$4
shift 4
mount --bind "$root" "$root"
mount --bind "$volume" "$root/data"
if [ -d "$root/proc" ]; then mount -t proc proc "$root/proc"; fi
mount -o remount,bind,ro "$root"
exec env -i "$variable" "$(command -v chroot)" --userspec="$user" --groups= "$root" "$@""#;

/// The static program if there is one (`make container-test`), else that of the tests.
fn program() -> PathBuf {
    std::env::var_os("RESTANTE_STATIC").map_or_else(|| env!("CARGO_BIN_EXE_restante").into(), PathBuf::from)
}

/// The libraries of a program; none if it is static.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let paths = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    paths.map(PathBuf::from).collect()
}

/// The names below a directory.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn get(address: SocketAddr, host: &str, path: &str) -> String {
    let mut stream = socket(address);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}:8025\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

fn can_enter() -> bool {
    let unshare = || Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).output();
    ["unshare", "chroot", "ldd"].iter().all(|program| installed(program))
        && rustix::process::geteuid().is_root()
        && unshare().is_ok_and(|output| output.status.success())
}

#[test]
fn v73_the_program_alone_in_a_read_only_root_serves_mail_and_ends_at_sigterm() {
    let test = "v73_the_program_alone_in_a_read_only_root_serves_mail_and_ends_at_sigterm";
    if !can_enter() {
        return skip(test, "needs root and namespaces");
    }
    for has_proc in [true, false] {
        let image = Image::make(has_proc);
        for missing in ["etc", "tmp", "run", "dev", "usr"] {
            assert!(!image.root.path().join(missing).exists(), "{missing}");
        }
        let mut container = image.start();
        let (smtp, pop3, http) = (image.address("smtp"), image.address("pop3"), image.address("http"));
        let mut client = Client::smtp_at(smtp);
        let reply = client.deliver(&["ann@example.test"], b"Subject: hello\r\n\r\nIt works.\r\n");
        assert!(reply.starts_with("250 "), "{reply}");
        let mut client = Client::connect(pop3);
        client.expect("+OK");
        client.ask("USER ann@example.test", "+OK");
        client.ask("PASS any", "+OK");
        assert!(String::from_utf8(client.retr(1)).unwrap().ends_with("It works.\r\n"));
        client.ask("QUIT", "+OK");
        let mut client = Client::connect(image.address("imap"));
        client.expect("* OK");
        client.ask("a LOGIN ann@example.test any", "a OK");
        for (host, status) in [("localhost", "200 "), ("mailpit", "200 "), ("attacker.test", "421 ")] {
            let response = get(http, host, "/view/latest.txt");
            assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {response}");
            assert_eq!(response.contains("It works."), status == "200 ");
        }

        let healthy = eventually("the server is healthy", || {
            Some(image.check()).filter(|output| output.status.success())
        });
        assert!(healthy.stdout.starts_with(b"healthy: up "), "{healthy:?}");
        let owner = fs::metadata(image.volume.path().join("mail")).unwrap().uid();
        assert_eq!(Some(owner.to_string().as_str()), image.user().split(':').next());
        assert_eq!(names(image.volume.path()), ["mail", "ports", "restante"], "all that it writes");

        kill_process(container.server(), Signal::TERM).unwrap();
        let status = eventually("the server ends", || container.unshare.try_wait().unwrap());
        assert!(status.success(), "{status}");
        let gone = image.check();
        assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    }
}

#[test]
fn v73_a_builder_without_an_engine_makes_that_tree() {
    let test = "v73_a_builder_without_an_engine_makes_that_tree";
    if !installed("buildah") || !rustix::process::geteuid().is_root() {
        return skip(test, "needs buildah and root");
    }
    let (context, storage) = (home(), home());
    fs::copy(program(), context.path().join("restante")).unwrap();
    fs::create_dir(context.path().join("data")).unwrap();
    let buildah = |words: &[&str]| {
        let mut command = Command::new("buildah");
        for (option, name) in [("--root", "root"), ("--runroot", "run")] {
            command.arg(option).arg(storage.path().join(name));
        }
        let output = command.args(["--storage-driver", "vfs"]).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/container/Containerfile");
    let context = context.path().to_str().unwrap();
    let file = file.to_str().unwrap();
    buildah(&["build", "--isolation", "chroot", "--format", "docker", "-t", "restante", "-f", file, context]);
    let container = buildah(&["from", "restante"]);
    let root = PathBuf::from(buildah(&["mount", &container]));
    let (tree, volume) = (names(&root), fs::metadata(root.join("data")).unwrap());
    let mode = fs::metadata(root.join("restante")).unwrap().mode();
    let image: serde_json::Value =
        serde_json::from_str(&buildah(&["inspect", "--type", "image", "restante"])).unwrap();
    buildah(&["rm", &container]);
    assert_eq!(tree, ["data", "restante"], "nothing else");
    assert_eq!((volume.uid(), volume.gid(), mode & 0o777), (10001, 10001, 0o755));
    let config = &image["Docker"]["config"];
    assert_eq!((&config["User"], &config["WorkingDir"]), (&"10001:10001".into(), &"/data".into()));
    assert_eq!(config["Healthcheck"]["Test"][1], "/restante");
}

#[test]
fn the_compose_file_waits_for_the_health_check_of_the_image() {
    let compose = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/container/compose.yaml");
    let compose = fs::read_to_string(compose).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/container/Containerfile");
    let file = fs::read_to_string(file).unwrap();
    let check = "\"/restante\", \"status\", \"--check\", \"--spool\", \"/data/mail\"]";
    assert!(file.contains(&format!("CMD [{check}")) && compose.contains(&format!("[\"CMD\", {check}")));
    assert!(compose.contains("condition: service_healthy") && compose.contains("read_only: true"));
}
