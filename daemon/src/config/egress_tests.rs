//! Budgets, regions and redaction steps in whole configurations.

use picket_core::{
    escalation::{budget::Limits, decide::Mode, money::Money},
    job::ProviderId,
    limits,
};

use super::{
    super::redact::{Image, Layout, Redact, Region},
    checked, mistake, with_model,
};

const TWO: &str =
    "[[provider]]\nname = \"near\"\nkind = \"oip\"\nregion = \"eu\"\n[[provider]]\nname = \"far\"\nkind = \"oip\"\n";

fn escalation(regions: &str) -> String {
    with_model(&format!("[escalation]\nproviders = [\"far\", \"near\"]\n{regions}\n{TWO}"))
}

#[test]
fn who_is_in_no_allowed_region_is_never_asked() {
    let config = checked(&escalation("regions = [\"us\", \"eu\"]"));
    assert_eq!(config.providers[0].region.as_deref(), Some("eu"));
    let escalation = config.escalation.unwrap();
    assert_eq!(escalation.providers, [ProviderId(0)]);
    assert_eq!(escalation.warnings, ["provider far is never asked: it states no `region`, and `regions` is set"]);
}

#[test]
fn without_regions_everybody_may_be_asked() {
    let escalation = checked(&escalation("")).escalation.unwrap();
    assert_eq!((escalation.providers.len(), escalation.warnings.len()), (2, 0));
}

#[test]
fn that_nobody_is_left_is_said() {
    let escalation = checked(&escalation("regions = [\"us\"]")).escalation.unwrap();
    assert!(escalation.providers.is_empty());
    assert_eq!(escalation.warnings[1], "provider near is never asked: its region eu is not in `regions`");
    assert_eq!(escalation.warnings[2], "no provider is in an allowed region (us): nobody is ever asked");
}

#[test]
fn a_budget_has_up_to_three_limits() {
    let none = checked(&escalation("")).escalation.unwrap();
    assert_eq!((none.budget, none.mode, none.audit_rate), (Limits::NONE, Mode::PromiseFirst, None));
    let text = "mode = \"budget-first\"\naudit_rate = 0.5\n\
                budget = { money_per_day = 2.5, bytes_per_day = \"50MiB\", calls_per_hour = 200 }";
    let all = checked(&escalation(text)).escalation.unwrap();
    let limits =
        Limits { money_per_day: Money::from_units(2.5), bytes_per_day: Some(50 << 20), calls_per_hour: Some(200) };
    assert_eq!((all.budget, all.mode, all.audit_rate), (limits, Mode::BudgetFirst, Some(0.5)));
}

#[test]
fn a_budget_that_cannot_be_is_an_error() {
    let text = |budget: &str| mistake(&escalation(&format!("budget = {{ {budget} }}")));
    let error = |rest: &str| format!("error[config/invalid]: picket.toml:9:{rest}");
    let money = error("28: `money_per_day` is an amount of at least 0, in the unit of `cost`");
    assert_eq!(text("money_per_day = -1.0"), money);
    assert_eq!(text("money_per_day = nan"), money);
    assert!(text("bytes_per_day = \"50 MB\"").contains("unknown unit `MB`"), "{}", text("bytes_per_day = \"50 MB\""));
    assert_eq!(
        text("calls_per_day = 3"),
        "error[config/unknown-key]: picket.toml:9:12: unknown key `calls_per_day`; did you mean `calls_per_hour`?"
    );
    assert_eq!(
        mistake(&escalation("mode = \"cheap\"")),
        error("8: unknown mode `cheap`; known here: promise-first, budget-first")
    );
}

#[test]
fn regions_are_words() {
    assert_eq!(
        mistake(&escalation("regions = []")),
        "error[config/invalid]: picket.toml:9:11: `regions` allows no region, so nobody could be asked; without it every \
         region is allowed"
    );
    assert!(
        mistake(&escalation("regions = [\"EU\"]"))
            .starts_with("error[config/invalid]: picket.toml:9:12: `EU` is no id")
    );
    let provider = |region: &str| with_model(&TWO.replace("\"eu\"", region));
    assert!(mistake(&provider("\"e u\"")).starts_with("error[config/invalid]: picket.toml:10:10: `e u` is no id"));
    assert!(mistake(&provider("7")).starts_with("error[config/invalid]: picket.toml:10:1: `region` is a word"));
}

#[test]
fn a_model_has_steps_of_its_own_or_the_general_ones() {
    let config = checked(&with_model(
        "redact = [\n { step = \"drop-input\", name = \"operator\" },\n { step = \"crop\", x = 1, y = 2, w = 3, h = 4, \
         image = { width = 8, height = 8, layout = \"chw\" } },\n { step = \"blur\", regions = [{ x = 0, y = 0, w = 1, h = 1 \
         }], radius = 2 } ]\n[escalation]\nredact = [ { step = \"features-only\", outputs = [\"embedding\"] } ]\n",
    ));
    let general = config.escalation.unwrap().redact;
    assert_eq!(general[0].what, Redact::FeaturesOnly { outputs: vec!["embedding".to_owned()] });
    let own: Vec<Redact> = config.models[0].redact.iter().flatten().map(|step| step.what.clone()).collect();
    let image = Some(Image { width: 8, height: 8, channels: 1, layout: Layout::Chw });
    let regions = vec![Region { x: 0, y: 0, w: 1, h: 1 }];
    assert_eq!(
        own,
        [
            Redact::DropInput { name: "operator".to_owned() },
            Redact::Crop { x: 1, y: 2, w: 3, h: 4, input: None, image },
            Redact::Blur { regions, radius: Some(2), input: None, image: None },
        ]
    );
    assert_eq!(config.models[0].redact.as_ref().unwrap()[1].place, "picket.toml:9:2: ");
    assert_eq!(checked(&with_model("")).models[0].redact, None);
    assert_eq!(checked(&with_model("redact = []\n")).models[0].redact, Some(vec![]));
}

#[test]
fn a_step_that_is_none_says_so() {
    let many = "{ step = \"drop-input\", name = \"x\" },".repeat(limits::REDACTION_STEPS + 1);
    let cases = [
        ("{ name = \"x\" }", "config/invalid", "needs a `step`, one of: drop-input, crop"),
        ("{ step = \"crob\" }", "config/unknown-name", "unknown redaction step `crob`; did you mean `crop`?"),
        ("{ step = \"drop-input\", nam = \"x\" }", "config/unknown-key", "did you mean `name`?"),
        ("{ step = \"crop\", x = 1, y = 2, w = 3 }", "config/invalid", "missing key `h`"),
        ("{ step = \"downscale\", factor = 1 }", "config/invalid", "`factor` is at least 2"),
        ("{ step = \"blur\", regions = [] }", "config/invalid", "`regions` has 1 to 16 regions"),
        ("{ step = \"features-only\", outputs = [] }", "config/invalid", "`outputs` has 1 to 16 names"),
        (
            "{ step = \"features-only\", outputs = [\"e\"] }, { step = \"drop-input\", name = \"x\" }",
            "config/invalid",
            "it stands alone",
        ),
        (&many, "config/invalid", "at most 16 redaction steps"),
    ];
    for (steps, code, part) in cases {
        let line = mistake(&with_model(&format!("redact = [{steps}]\n")));
        assert!(line.starts_with(&format!("error[{code}]: picket.toml:7:")) && line.contains(part), "{line}");
    }
}

#[test]
fn accuracy_and_value_are_numbers_or_tables_by_label() {
    let text = escalation("").replace("region = \"eu\"", "accuracy = { scratch = 0.7, other = 0.9 }");
    let near = &checked(&text).providers[0].accuracy;
    let labels = ["ok".to_owned(), "scratch".to_owned()];
    assert_eq!((near.other, near.by_class(&labels)), (0.9, vec![None, Some(0.7)]));
    let config = checked(&with_model("value = { scratch = 10 }\n"));
    let value = &config.models[0].value;
    assert_eq!((value.other, value.by_class(&labels)), (1.0, vec![None, Some(10.0)]));
    assert_eq!(value.unknown(&labels[..1]).collect::<Vec<_>>(), ["scratch"]);
    assert_eq!(
        mistake(&with_model("value = -1.0\n")),
        "error[config/invalid]: picket.toml:7:1: `value` is a number from 0 to 1000000, or a table of such by label"
    );
    let accuracy = mistake(&escalation("").replace("region = \"eu\"", "accuracy = { scratch = 1.7 }"));
    assert!(
        accuracy.contains("`accuracy` is a share, above 0 and at most 1, or a table of such by label"),
        "{accuracy}"
    );
}
