//! The first of the two commands.

use picket_tests::daemon::picket;
use serde_json::Value;

#[test]
fn demo_answers_every_job_and_says_what_it_was_worth() {
    let output = picket(&["demo", "--seconds", "6", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |key: &str| summary[key].as_f64().unwrap_or_else(|| panic!("{key} is missing in {summary}"));
    assert_eq!((number("jobs"), number("answered"), number("lost"), number("duplicates")), (720.0, 720.0, 0.0, 0.0));
    assert_eq!(number("errors"), 0.0, "{said}");
    // Facts of the bundles, and of a link that was cut for three tenths of the time.
    assert!((0.88..0.92).contains(&number("accuracy_local")), "{summary}");
    assert!(number("accuracy_upstream") >= 0.97, "{summary}");
    assert!(number("accuracy_final") > number("accuracy_local"), "{summary}");
    assert!((0.74..0.95).contains(&number("local_share")), "{summary}");
    // The certificate: at most 2 in 100, on digits like these.
    assert!((0.7..0.95).contains(&number("certified_share")), "{summary}");
    assert!(number("certified_wrong") <= 0.02 * number("jobs"), "{summary}");
    // What was doubtful while the link was cut, is corrected when it is back.
    assert!(number("amended") > 0.0 && number("accuracy_amended") > number("accuracy_final"), "{summary}");
    assert!(number("waited") > 0.0, "while the link was cut, nobody could be asked: {summary}");
    // Every call has its price, and nothing else is spent.
    assert!(number("spent") > 0.0 && number("spent") < number("budget"), "{summary}");
    assert!((number("spent") - number("calls") * 0.0001).abs() < 1e-9, "{summary}");
    assert!(number("audited") > 0.0 && number("audited") < 0.05 * number("jobs"), "{summary}");
    assert!(number("p50_ms") > 0.0 && number("p99_ms") >= number("p50_ms") && number("rss_kib") > 0.0);
    assert!(said.contains("link CUT"), "{said}");
}
