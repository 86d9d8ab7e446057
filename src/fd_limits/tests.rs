//! The budget adds up to the limit, and each part has its minimum.

use proptest::prelude::*;

use super::*;

fn limits() -> impl Strategy<Value = Limits> {
    let workers = || 1..=256_usize;
    let (counts, many) = (1..=1_000_000_usize, 1..=1_000_000_usize);
    (workers(), workers(), workers(), counts, many, 0..=1_000_000_usize, 0..=100_000_usize).prop_map(
        |(disk_workers, scan_workers, password_workers, recipients, delivery_batch, indexed, connections)| {
            let mut limits = Limits::default();
            limits.disk.workers = disk_workers;
            limits.index.scan_workers = scan_workers;
            limits.auth.workers = password_workers;
            limits.smtp.max_recipients = recipients;
            limits.delivery.batch_size = delivery_batch;
            limits.index.max_mailboxes = indexed;
            limits.connections.max = connections;
            limits
        },
    )
}

fn inputs() -> impl Strategy<Value = FdInputs> {
    (3..50_usize, 1..40_usize, any::<[bool; 5]>()).prop_map(|(inherited, listeners, has)| {
        let [watch, accounts, certificate, transcripts, reloads] = has;
        FdInputs { inherited, listeners, watch, accounts, certificate, transcripts, reloads }
    })
}

/// The descriptors that a development server opens.
const FEW: FdInputs = FdInputs {
    inherited: 3,
    listeners: 2,
    watch: true,
    accounts: false,
    certificate: false,
    transcripts: false,
    reloads: false,
};

fn assert_good(budget: &FdBudget, minimum: &FdBudget) {
    assert_eq!(budget.total_fds(), budget.fd_limit, "{budget:?}");
    let counts = |s: &FdBudget| {
        [
            s.disk_workers,
            s.scan_workers,
            s.password_workers,
            s.max_transcripts,
            s.max_new_listeners,
            s.max_mailboxes,
            s.max_closing,
            s.max_maildirs,
            s.max_batch,
            s.max_spilled,
            s.max_read_files,
            s.max_piece_files,
            s.max_connections,
        ]
    };
    assert!(counts(budget).iter().zip(counts(minimum)).all(|(has, minimum)| *has >= minimum), "{budget:?}");
}

proptest! {
    #[test]
    fn at_any_limit_the_shares_add_up_to_it_and_none_is_below_its_least(
        limits in limits(),
        inputs in inputs(),
        limit in 0..100_000_usize,
    ) {
        let minimum = FdBudget::minimum(limit, &inputs);
        match FdBudget::allocate(limit, &limits, &inputs) {
            Ok(budget) => assert_good(&budget, &minimum),
            Err(TooFewFds { needed, .. }) => {
                assert!(limit < needed && needed == minimum.total_fds());
                assert_good(&FdBudget::allocate(needed, &limits, &inputs).unwrap(), &FdBudget::minimum(needed, &inputs));
            }
        }
    }

    #[test]
    fn another_configuration_beside_what_stays_adds_up_too(
        limits in (limits(), limits()),
        inputs in (inputs(), inputs()),
        limit in (300..100_000_usize, 300..100_000_usize),
    ) {
        let running = FdBudget::allocate(limit.0, &limits.0, &inputs.0);
        let new = FdBudget::allocate(limit.1, &limits.1, &inputs.1);
        if let (Ok(running), Ok(new)) = (running, new) {
            match new.keeping_running(&running) {
                Ok(budget) => {
                    assert_eq!(budget.total_fds(), budget.fd_limit);
                    assert!(budget.max_connections >= MIN_CONNECTIONS && budget.max_maildirs == running.max_maildirs);
                }
                Err(TooFewFds { needed, limit }) => assert!(needed > limit),
            }
        }
    }

    #[test]
    fn the_limit_that_is_advised_is_enough(connections in 1..200_000_usize, inputs in inputs()) {
        let limit = FdBudget::fd_limit_for(connections, &Limits::default(), &inputs);
        prop_assert!(FdBudget::allocate(limit, &Limits::default(), &inputs).unwrap().max_connections >= connections);
    }
}

#[test]
fn every_limit_up_to_a_hundred_thousand_adds_up() {
    let minimum = FdBudget::minimum(0, &FEW);
    for limit in minimum.total_fds()..=100_000 {
        assert_good(&FdBudget::allocate(limit, &Limits::default(), &FEW).unwrap(), &minimum);
    }
}

#[test]
fn every_message_of_a_batch_has_a_descriptor_and_each_of_those_that_are_closed_at_a_time_one_more() {
    let least = FdBudget::minimum(0, &FEW);
    for (max_batch, more) in [(1, 0), (2, 1), (3, 3), (8, 13), (9, 14), (1000, 1005)] {
        let budget = FdBudget { max_batch, ..least.clone() };
        assert_eq!(budget.total_fds() - least.total_fds(), more, "{max_batch}");
    }
}

#[test]
fn a_development_server_runs_with_64_descriptors_and_one_with_48_says_how_many_it_needs() {
    let budget = FdBudget::allocate(64, &Limits::default(), &FEW).unwrap();
    assert!(!budget.watch && budget.max_mailboxes == 1, "{budget:?}");
    let error = FdBudget::allocate(48, &Limits::default(), &FEW).unwrap_err();
    let said = error.to_string();
    assert!(error.needed <= 64, "{said}");
    for part in ["the limit is 48", "ulimit -n 61", "LimitNOFILE=61"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn from_a_thousand_on_nearly_a_hundred_recipients_fit_and_limits_are_never_raised() {
    let limits = Limits::default();
    let budget = FdBudget::allocate(1024, &limits, &FEW).unwrap();
    assert!(budget.max_recipients() >= 80, "{budget:?}");
    let mut few = Limits::default();
    (few.disk.workers, few.smtp.max_recipients, few.delivery.batch_size) = (1, 1, 1);
    let budget = FdBudget::allocate(100_000, &few, &FEW).unwrap();
    few.smtp.max_mailboxes = budget.max_recipients();
    assert_eq!(budget.cap(&few), few);
}
