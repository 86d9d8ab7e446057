//! A folder that a POP3 session has open, too.

use super::*;

#[test]
fn a_folder_is_selected_beside_a_pop3_session_that_does_not_see_trashed_messages() {
    let mut bench = Bench::new();
    bench.write("cur/1.a:2,T");
    bench.write("new/2.b");
    bench.clients.request(OTHER);
    let client = bench.clients.get_mut(OTHER).unwrap();
    let login = (mailbox("ann"), Access::Exclusive, SECOND);
    bench.maildrops.open((OTHER, client), login, &mut bench.index, &mut bench.effects);
    let Some(Effect::Run(job)) = bench.effects.next() else { panic!("no job") };
    bench.run(job);
    bench.index.apply_events();
    for (id, job) in bench.index.take_jobs() {
        bench.run(Job::Index(id, job));
    }
    let results = bench.index.take_login_results();
    let [(OTHER, Ok(snapshot))] = &results[..] else { panic!("{results:?}") };
    assert_eq!(snapshot.iter().count(), 1);
    assert_eq!(text(&bench.select(CLIENT)), "1T 2");
}
