//! The priorities of the server's threads: a search must not take the processors from a delivery.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::common::{Server, eventually};

/// The nice values of the threads, by name: the fields 2 and 19 of `/proc/PID/task/TID/stat` (proc(5)).
fn nice_values(server: &Server) -> BTreeMap<String, BTreeSet<i32>> {
    let mut values: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap() {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        let (name, fields) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") ")).unwrap();
        let nice = fields.split(' ').nth(16).unwrap().parse().unwrap();
        values.entry(name.to_owned()).or_default().insert(nice);
    }
    values
}

#[test]
fn searches_and_pages_leave_the_processors_to_deliveries() {
    let server = Server::strict();
    let normal = *nice_values(&server)["committer"].first().unwrap();
    let values = eventually("the threads for searches have their priority", || {
        let values = nice_values(&server);
        (values.get("web") == Some(&BTreeSet::from([normal + 5]))).then_some(values)
    });
    for (name, values) in &values {
        let expected = if name == "web" { normal + 5 } else { normal };
        assert_eq!(*values, BTreeSet::from([expected]), "{name}");
    }
}
