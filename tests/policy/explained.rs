//! `policy explain`: what decided, what was missing, and the line that would grant it.

use guardian::model::{ResourceName, ServiceVerb, Verb};
use guardian::policy::{DEFAULT_BASICS, DEFAULT_HARD, Facts, PolicySet, Ruling, Used};

use super::{action, answer, ask, facts, load, permits};

const RESTART: Verb = Verb::Service(ServiceVerb::Restart);

fn explain(
    set: &PolicySet,
    playbook: &str,
    verb: Verb,
    resource: &str,
    facts: &Facts,
) -> guardian::policy::Explanation {
    set.explain(&playbook.parse().unwrap(), verb, &resource.parse().unwrap(), facts)
}

#[test]
fn the_line_it_prints_grants_the_call() {
    for verb in Verb::ALL {
        let name = match verb {
            Verb::Service(_) => "web",
            Verb::Storage(_) => "logs",
            Verb::Config(_) => "site",
            Verb::CommandRun => "rebuild",
            Verb::ProbeRun => "service.web",
            _ => "self",
        };
        let resource = ResourceName::new(verb.resource_kind(), name).unwrap_or_else(|_| ResourceName::this_run());
        let other = "@id(\"fix-service-restart-web\") permit (principal == Guardian::Playbook::\"other/fix\", \
            action == Guardian::Action::\"service.stop\", resource == Guardian::Service::\"web\");\n";
        let before = permits(other);
        for facts in
            [facts(), Facts { target: "service.db".parse().unwrap(), used: Used { m5: 9, h1: 9, d1: 9 }, ..facts() }]
        {
            let explained = explain(&before, "acme/fix", verb, &resource.to_string(), &facts);
            let grant = explained.grant.unwrap_or_else(|| panic!("{verb} has no line"));
            let after = permits(&format!("{other}{grant}"));
            let call = action(verb, name);
            assert_eq!(answer(&ask(&before, "acme/fix", &call, &facts)), "no-permit", "{verb}");
            assert!(answer(&ask(&after, "acme/fix", &call, &facts)).starts_with("permitted by"), "{verb}: {grant}");
            assert_eq!(answer(&ask(&after, "acme/look", &call, &facts)), "no-permit", "{verb}: {grant}");
        }
    }
}

#[test]
fn an_effect_is_granted_narrowly() {
    let set = permits(DEFAULT_BASICS);
    let grant = explain(&set, "acme/fix", RESTART, "service.web", &facts()).grant.unwrap();
    assert_eq!(
        grant,
        "@id(\"fix-service-restart-web\") @why(\"...\")\n\
         permit (principal == Guardian::Playbook::\"acme/fix\", action == Guardian::Action::\"service.restart\", \
         resource == Guardian::Service::\"web\")\n\
         when { resource in context.incident.target && context.used.h1 < 3 };"
    );
}

#[test]
fn the_failed_condition_is_named_with_its_facts() {
    let text = "// first\n\n@id(\"p\") @why(\"thrice an hour\")\npermit (principal == Guardian::Playbook::\"acme/fix\", \
        action == Guardian::Action::\"service.restart\", resource in Guardian::Group::\"front\")\n\
        when { resource in context.incident.target && context.used.h1 < 3 } unless { context.incident.severity < 2 };";
    let set = permits(text);
    let spent = Facts { used: Used { m5: 1, h1: 3, d1: 5 }, severity: 1, ..facts() };
    let explained = explain(&set, "acme/fix", RESTART, "service.web", &spent);
    // Permits add up: one more beside a permit whose quota is spent would lift the quota for good.
    assert_eq!(explained.grant, None);
    let miss = explained.nearest.unwrap();
    assert_eq!((miss.policy.id.as_str(), miss.policy.line, miss.scope.len()), ("p", 3, 0));
    assert_eq!(miss.policy.why.as_deref(), Some("thrice an hour"));
    let shown: Vec<_> = miss.conditions.iter().map(|one| (one.text.as_str(), one.wanted, one.facts.clone())).collect();
    let fact = |path: &str, value: &str| vec![(path.to_owned(), value.to_owned())];
    assert_eq!(
        shown,
        [
            ("context.used.h1 < 3", true, fact("context.used.h1", "3")),
            ("context.incident.severity < 2", false, fact("context.incident.severity", "1")),
        ]
    );
    // The deny twin of the explanation: the same permit when it does apply.
    let explained = explain(&set, "acme/fix", RESTART, "service.web", &facts());
    assert_eq!(explained.ruling, Ruling::Permitted { policies: vec!["p".to_owned()] });
    assert_eq!((explained.nearest, explained.grant), (None, None));
    assert_eq!(explained.decided[0].line, 3);
}

#[test]
fn the_part_of_the_scope_that_does_not_fit_is_named() {
    let set = permits(
        "@id(\"near\") permit (principal == Guardian::Playbook::\"acme/fix\", \
         action == Guardian::Action::\"service.start\", resource == Guardian::Service::\"web\");
         @id(\"far\") permit (principal == Guardian::Playbook::\"other/fix\", \
         action == Guardian::Action::\"service.stop\", resource == Guardian::Service::\"web\");",
    );
    let miss = explain(&set, "acme/fix", RESTART, "service.web", &facts()).nearest.unwrap();
    assert_eq!((miss.policy.id.as_str(), miss.scope), ("near", vec!["action"]));
    assert!(explain(&set, "new/one", RESTART, "service.db", &facts()).nearest.is_none());
}

#[test]
fn no_line_is_offered_where_a_permit_would_not_help() {
    let gate = "@id(\"g\") @gate(\"approval\") @approvers(\"sre\") @quorum(\"1\") forbid (principal, \
        action == Guardian::Action::\"service.restart\", resource) unless { context.approvals.contains(\"sre\") };";
    let wide = "@id(\"all\") @wide(\"test\") permit (principal, action, resource);";
    let set = load(&[("hard/p.cedar", DEFAULT_HARD), ("gates/g.cedar", gate), ("permits/a.cedar", wide)]).unwrap();
    let forbidden = explain(&set, "acme/fix", RESTART, "service.db", &facts());
    assert_eq!((forbidden.grant, forbidden.decided[0].path.as_str()), (None, "hard/p.cedar"));
    assert!(forbidden.decided[0].why.as_deref().is_some_and(|why| why.contains("never touched")));
    let gated = explain(&set, "acme/fix", RESTART, "service.web", &facts());
    assert!(matches!(&gated.ruling, Ruling::NeedsApproval { .. }) && gated.grant.is_none());
    assert_eq!(gated.decided[0].id, "g");
    let unknown = explain(&set, "acme/fix", RESTART, "service.wbe", &facts());
    assert_eq!((unknown.known_resource, unknown.meant.as_deref(), unknown.grant), (false, Some("service.web"), None));
}
