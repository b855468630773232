//! What guests and reporters say decides nothing.

use guardian::model::{ServiceVerb, Verb};

use super::{action, answer, ask, complaints, facts, load};

const READERS: [&str; 6] = [
    "when { context.claimed.labels.contains(\"urgent\") }",
    "when { context has claimed }",
    "when { context[\"claimed\"].labels.isEmpty() }",
    "unless { context.used.h1 > 3 || context.claimed.labels.contains(\"a\") }",
    "when { context == context }",
    "when { (if context.used.h1 > 1 then context else context).claimed.labels.isEmpty() }",
];

#[test]
fn a_permit_or_gate_that_reads_claims_refuses_the_load() {
    for reader in READERS {
        let permit = format!(
            "@id(\"p\") permit (principal == Guardian::Playbook::\"acme/fix\", \
             action == Guardian::Action::\"service.restart\", resource == Guardian::Service::\"web\") {reader};"
        );
        let gate = format!(
            "@id(\"g\") @gate(\"approval\") @approvers(\"sre\") @quorum(\"1\") forbid (principal, \
             action == Guardian::Action::\"service.restart\", resource) \
             unless {{ context.approvals.contains(\"sre\") }} {reader};"
        );
        for (path, text) in [("permits/a.cedar", &permit), ("gates/a.cedar", &gate)] {
            let found = complaints(&[(path, text)]);
            assert!(found.iter().any(|line| line.contains("must not read `context.claimed`")), "{reader}: {found:?}");
        }
    }
}

#[test]
fn a_hard_rule_may_refuse_on_a_claim() {
    let hard = "@id(\"drill\") forbid (principal, action in Guardian::Action::\"service\", resource) \
        when { context.claimed.labels.contains(\"drill=yes\") };";
    let permit = "@id(\"p\") permit (principal == Guardian::Playbook::\"acme/fix\", \
        action in Guardian::Action::\"service\", resource == Guardian::Service::\"web\");";
    let set = load(&[("hard/a.cedar", hard), ("permits/a.cedar", permit)]).unwrap();
    let call = action(Verb::Service(ServiceVerb::Restart), "web");
    let mut facts = facts();
    assert_eq!(answer(&ask(&set, "acme/fix", &call, &facts)), "permitted by p");
    std::sync::Arc::make_mut(&mut facts.labels).insert("drill=yes".to_owned());
    assert_eq!(answer(&ask(&set, "acme/fix", &call, &facts)), "forbidden by drill");
}
