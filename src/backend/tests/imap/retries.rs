//! Folders whose sessions wait in IDLE after an error of the disk.

use super::*;

/// A session that hears of so many messages.
type Heard = (ConnId, usize);

impl Bench {
    /// The events of sessions.
    fn heard(&mut self) -> Vec<Heard> {
        self.turn().into_iter().map(|(id, state)| (id, state.messages.len())).collect()
    }

    /// A tick at that second, and the events of sessions after it.
    fn tick(&mut self, second: u32) -> Vec<Heard> {
        let Self { folders, maildrops, index, effects, .. } = self;
        index.tick(SECOND * second);
        folders.retry_refreshes(SECOND * second, &mut FolderContext { maildrops, index, effects });
        self.heard()
    }
}

#[test]
fn y205_a_session_hears_of_mail_after_a_failed_refresh_without_another_change() {
    let mut bench = Bench::with_messages(&["new/1.a"]);
    bench.select(OTHER);
    assert!(bench.tick(1).is_empty());
    bench.loses_refreshes = true;
    bench.deliver("2.b");
    assert!(bench.heard().is_empty());
    let jobs = bench.jobs;
    for second in 2..3600 {
        assert!(bench.tick(second).is_empty());
    }
    let tries = bench.jobs - jobs;
    assert!((60..70).contains(&tries), "{tries} tries in an hour");
    bench.loses_refreshes = false;
    let events: Vec<Heard> = (3600..3661).flat_map(|second| bench.tick(second)).collect();
    assert_eq!(events, [(CLIENT, 2), (OTHER, 2)]);
    let jobs = bench.jobs;
    assert!((3661..4000).all(|second| bench.tick(second).is_empty()) && bench.jobs == jobs);
    // A later failure is tried again at once.
    bench.loses_refreshes = true;
    bench.deliver("3.c");
    assert!(bench.heard().is_empty());
    bench.loses_refreshes = false;
    assert_eq!(bench.tick(4001), [(CLIENT, 3), (OTHER, 3)]);
}

#[test]
fn y205_a_session_hears_of_mail_after_a_scan_has_failed() {
    let mut bench = Bench::with_messages(&["new/1.a"]);
    bench.loses_jobs = true;
    bench.write("new/2.b");
    let deaf = (1..300).flat_map(|second| bench.tick(second)).next();
    assert_eq!(deaf, None);
    assert!(bench.index.version(&mailbox("ann")).is_none(), "a scan that fails drops the index");
    bench.loses_jobs = false;
    let events: Vec<Heard> = (300..361).flat_map(|second| bench.tick(second)).collect();
    assert_eq!(events, [(CLIENT, 2)]);
    bench.deliver("3.c");
    assert_eq!(bench.heard(), [(CLIENT, 3)]);
    assert_eq!(text(&bench.state(CLIENT, ImapRequest::Refresh)), "1 2 3");
}
