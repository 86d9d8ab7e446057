//! The figures of `make bench`: their statistics, their JSON, and the table in README, which is that of
//! `benches/figures.json`.

#[path = "../../benches/common/figures.rs"]
mod figures;
#[allow(dead_code)] // the benches use more of it
#[path = "../../benches/common/table.rs"]
mod table;

use std::{collections::BTreeMap, fs, time::Duration};

use figures::{BEGIN, Better, END, Machine, Peer, Report, Row, Sample, Spread, median, put_into};

#[test]
fn the_median_is_the_value_in_the_middle_or_the_mean_of_both() {
    assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
    assert_eq!(median(&mut [7.0]), Some(7.0));
    assert_eq!(median(&mut []), None);
}

#[test]
fn a_spread_has_the_median_the_lowest_and_the_highest_of_its_runs() {
    let run = |value, cpu_us| Sample { value, cpu_us };
    let spread = Spread::of(&[run(9.0, Some(5.0)), run(1.0, None), run(2.0004, Some(3.0))]).unwrap();
    assert_eq!(spread, Spread { runs: 3, median: 2.0, min: 1.0, max: 9.0, cpu_us: Some(4.0) });
    assert_eq!(Spread::of(&[run(1.0, None)]).unwrap().cpu_us, None);
    assert_eq!(Spread::of(&[]), None);
}

#[test]
fn a_rate_has_the_cpu_time_of_one_operation() {
    let sample = Sample::rate(500, 2.0, Duration::from_millis(50));
    assert_eq!(sample, Sample { value: 250.0, cpu_us: Some(100.0) });
}

#[test]
fn the_json_of_a_row_has_its_figure_at_the_top_and_a_reason_for_a_peer_that_is_not_there() {
    let report = report();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["rows"][0],
        serde_json::json!({
            "name": "stored, 4 KiB", "unit": "messages/s", "better": "higher",
            "runs": 5, "median": 6413.0, "min": 6000.0, "max": 7000.5, "cpu_us": 140.0,
            "limit": {"runs": 5, "median": 12826.0, "min": 12000.0, "max": 13000.0, "cpu_us": null},
            "peers": {
                "Dovecot": {"runs": 5, "median": 641.3, "min": 600.0, "max": 700.0, "cpu_us": 700.0},
                "Postfix": {"absent": "not installed"},
            },
        })
    );
    assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
}

#[test]
fn the_table_says_how_many_times_as_good_restante_is() {
    // Without the blanks that line the cells up.
    let words: Vec<String> = report()
        .markdown()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let table = words.join("\n") + "\n";
    for part in [
        "2026-11-29, A CPU, 2 cores, Linux 6.18, ext4; load before: 0.3. Dovecot 2.3.19, restante 0.1.0.",
        "the median of 5 runs",
        "| | restante | the limit | Dovecot | Postfix |",
        "| stored, 4 KiB, messages/s | 6,413 (6,000–7,000), 140 µs | 12,826 (12,000–13,000): 0.50 × \
         | 641 (600–700), 700 µs: 10 × | not installed |",
        // Less is better, so that a peer which takes twice as long makes 2.
        "| login, ms | 0.32 (0.30–0.40) | – | 0.64 (0.50–9.00): 2.00 × | – |",
        "- Everything is fair.\n",
    ] {
        assert!(table.contains(part), "{part}\n--- is not in\n{table}");
    }
}

#[test]
fn a_page_gets_the_table_between_its_two_comments() {
    let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
    assert_eq!(put_into(&page, "new\n\n").unwrap(), format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
    assert_eq!(put_into("a page without them", "new"), None);
}

#[test]
fn the_table_in_readme_is_that_of_the_figures_that_were_kept() {
    let root = env!("CARGO_MANIFEST_DIR");
    let readme = fs::read_to_string(format!("{root}/README.md")).unwrap();
    let Ok(kept) = fs::read_to_string(format!("{root}/benches/figures.json")) else {
        assert!(readme.contains(&format!("{BEGIN}\n{END}")), "a table without figures");
        return;
    };
    let report: Report = serde_json::from_str(&kept).unwrap();
    let section = put_into(&readme, &report.markdown()).expect("the comments that name figures");
    assert!(section == readme, "type `make bench ARGS=\"--from benches/figures.json --markdown README.md\"`");
}

fn report() -> Report {
    let spread = |median, min, max, cpu_us| Spread { runs: 5, median, min, max, cpu_us };
    let stored = Row {
        name: "stored, 4 KiB".to_owned(),
        unit: "messages/s".to_owned(),
        better: Better::Higher,
        figure: spread(6413.0, 6000.0, 7000.5, Some(140.0)),
        limit: Some(spread(12826.0, 12000.0, 13000.0, None)),
        peers: BTreeMap::from([
            ("Dovecot".to_owned(), Peer::Measured(spread(641.3, 600.0, 700.0, Some(700.0)))),
            ("Postfix".to_owned(), Peer::Absent { absent: "not installed".to_owned() }),
        ]),
    };
    let login = Row {
        name: "login".to_owned(),
        unit: "ms".to_owned(),
        better: Better::Lower,
        figure: spread(0.32, 0.3, 0.4, None),
        limit: None,
        peers: BTreeMap::from([("Dovecot".to_owned(), Peer::Measured(spread(0.64, 0.5, 9.0, None)))]),
    };
    Report {
        date: "2026-11-29T22:50:00Z".to_owned(),
        machine: Machine {
            cpu: "A CPU".to_owned(),
            cores: 2,
            kernel: "6.18".to_owned(),
            file_system: "ext4".to_owned(),
        },
        versions: [("Dovecot", "2.3.19"), ("restante", "0.1.0")]
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .into(),
        seconds: 2.0,
        load_average: 0.3,
        rows: vec![stored, login],
        notes: vec!["Everything is fair".to_owned()],
    }
}
