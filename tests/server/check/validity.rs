//! A certificate at the wrong time.

use std::ops::Range;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

#[test]
fn n03_a_certificate_that_has_expired_is_a_warning_with_the_date() {
    let story = Story::new();
    story.configure("", &format!("{STRICT}[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n"));
    let key = KeyPair::generate().unwrap();
    write_private(&story.at("key.pem"), &key.serialize_pem());
    let make = |years: Range<i32>| {
        let mut params = CertificateParams::new(["mx.example.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        fs::write(story.at("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    };
    make(2020..2200);
    let (code, said) = story.check(&["--strict"]);
    assert!(code == Some(0) && said.contains("is good"), "{said}");
    for (years, told) in [
        (2020..2021, "cert.pem has expired: 2021-01-01T00:00:00Z"),
        (2199..2200, "cert.pem is not valid before: 2199-01-01T00:00:00Z"),
    ] {
        make(years);
        for (words, expected) in [(&[][..], 0), (&["--strict"], 1)] {
            let (code, said) = story.check(words);
            assert_eq!(code, Some(expected), "{said}");
            assert!(said.contains(told) && !said.contains("is good"), "{told:?} is not in {said:?}");
        }
    }
}
