//! Answers: each permission with its deny twin.

use guardian::model::{Interface, ServiceVerb, Verb};
use guardian::policy::{DEFAULT_BASICS, DEFAULT_HARD, Decision, PolicySet, Question, Used};

use super::{action, answer, ask, facts, load, permits};

const RESTART: Verb = Verb::Service(ServiceVerb::Restart);

fn entity_and_name(verb: Verb) -> (&'static str, &'static str) {
    match verb {
        Verb::Service(_) => ("Service", "web"),
        Verb::Storage(_) => ("Storage", "logs"),
        Verb::Config(_) => ("Config", "site"),
        Verb::CommandRun => ("Command", "rebuild"),
        Verb::ProbeRun => ("Probe", "login"),
        Verb::LogWrite | Verb::ClockNow | Verb::ClockSleep => ("Run", "self"),
    }
}

fn exact(id: &str, playbook: &str, verb: Verb, resource: &str) -> String {
    format!(
        "@id(\"{id}\") permit (principal == Guardian::Playbook::\"{playbook}\", \
         action == Guardian::Action::\"{verb}\", resource == {resource});"
    )
}

#[test]
fn every_verb_is_permitted_by_its_own_permit_and_by_no_other() {
    for (at, verb) in Verb::ALL.into_iter().enumerate() {
        let (entity, name) = entity_and_name(verb);
        let own = format!("Guardian::{entity}::\"{name}\"");
        let call = action(verb, name);
        let set = permits(&exact("own", "acme/fix", verb, &own));
        assert_eq!(answer(&ask(&set, "acme/fix", &call, &facts())), "permitted by own", "{verb}");

        // The same permit, another playbook: of the same publisher, and of the same name.
        for stranger in ["acme/look", "other/fix"] {
            assert_eq!(answer(&ask(&set, stranger, &call, &facts())), "no-permit", "{verb} by {stranger}");
        }
        // A permit for every other verb.
        let others: String = Verb::ALL
            .into_iter()
            .enumerate()
            .filter(|(other, _)| *other != at)
            .map(|(number, other)| {
                let (entity, name) = entity_and_name(other);
                exact(&format!("other-{number}"), "acme/fix", other, &format!("Guardian::{entity}::\"{name}\""))
            })
            .collect();
        assert_eq!(answer(&ask(&permits(&others), "acme/fix", &call, &facts())), "no-permit", "{verb}");
        // A permit for another resource.
        let elsewhere = match entity {
            "Service" => exact("other", "acme/fix", verb, "Guardian::Service::\"db\""),
            "Storage" => exact("other", "acme/fix", verb, "Guardian::Storage::\"data\""),
            "Config" => exact("other", "acme/fix", verb, "Guardian::Config::\"app\""),
            "Command" => exact("other", "acme/fix", verb, "Guardian::Command::\"drain\""),
            "Probe" => exact("other", "acme/fix", verb, "Guardian::Probe::\"service.web\""),
            _ => continue,
        };
        assert_eq!(answer(&ask(&permits(&elsewhere), "acme/fix", &call, &facts())), "no-permit", "{verb}");
    }
}

#[test]
fn a_permit_carries_the_whole_call() {
    let set = permits(DEFAULT_BASICS);
    let call = action(Verb::LogWrite, "hello");
    let Decision::Permitted(permit) = ask(&set, "acme/fix", &call, &facts()) else { panic!("basics") };
    assert_eq!(permit.action(), &call);
    assert_eq!(permit.resource().to_string(), "run.self");
    assert_eq!(permit.playbook().to_string(), "acme/fix");
    assert_eq!(permit.policies(), ["basics"]);
    assert_eq!(permit.policy_digest(), set.digest());
}

#[test]
fn groups_publishers_and_targets_reach_what_is_in_them_and_nothing_else() {
    let set = permits(
        "@id(\"by-group\") permit (principal in Guardian::Publisher::\"acme\", \
         action in Guardian::Action::\"service.revive\", resource in Guardian::Group::\"front\");
         @id(\"by-target\") permit (principal == Guardian::Playbook::\"acme/fix\", \
         action in Guardian::Action::\"read\", resource in Guardian::Target::\"service.web\");",
    );
    let service = |verb| Verb::Service(verb);
    for (playbook, verb, name, expected) in [
        ("acme/fix", RESTART, "web", "permitted by by-group"),
        ("acme/any", service(ServiceVerb::Start), "web", "permitted by by-group"),
        ("other/fix", RESTART, "web", "no-permit"),
        ("acme/fix", RESTART, "db", "no-permit"),
        ("acme/fix", service(ServiceVerb::Stop), "web", "no-permit"),
        ("acme/fix", service(ServiceVerb::Status), "web", "permitted by by-target"),
        ("acme/fix", Verb::ProbeRun, "service.web", "permitted by by-target"),
        ("acme/fix", Verb::ProbeRun, "login", "no-permit"),
        ("acme/any", Verb::ProbeRun, "service.web", "no-permit"),
    ] {
        assert_eq!(answer(&ask(&set, playbook, &action(verb, name), &facts())), expected, "{playbook} {verb} {name}");
    }
}

#[test]
fn facts_open_and_close_a_permit() {
    let set = permits(
        "@id(\"p\") permit (principal == Guardian::Playbook::\"acme/fix\", \
         action == Guardian::Action::\"service.restart\", resource in Guardian::Group::\"front\") \
         when { resource in context.incident.target && context.used.h1 < 3 \
         && context.incident.kind == \"service-down\" && context.incident.severity >= 5 \
         && context.now.toTime() >= duration(\"22h\") };",
    );
    let mut open = facts();
    let judge = |facts| answer(&ask(&set, "acme/fix", &action(RESTART, "web"), &facts));
    assert_eq!(judge(open.clone()), "permitted by p");
    let closed = [
        guardian::policy::Facts { used: Used { h1: 3, ..Used::default() }, ..open.clone() },
        guardian::policy::Facts { used: Used { h1: u64::MAX, ..Used::default() }, ..open.clone() },
        guardian::policy::Facts { target: "service.db".parse().unwrap(), ..open.clone() },
        guardian::policy::Facts { target: "service.gone".parse().unwrap(), ..open.clone() },
        guardian::policy::Facts { kind: "slow".parse().unwrap(), ..open.clone() },
        guardian::policy::Facts { severity: 4, ..open.clone() },
    ];
    for facts in closed {
        assert_eq!(judge(facts.clone()), "no-permit", "{facts:?}");
    }
    // The check of a service is in the service's target: an incident about it reaches the service.
    open.target = "probe.service.web".parse().unwrap();
    assert_eq!(judge(open), "permitted by p");
}

#[test]
fn a_time_without_a_cedar_value_denies() {
    let set = permits(DEFAULT_BASICS);
    let mut late = facts();
    late.now = guardian::model::Timestamp::from_millis(u64::MAX);
    assert_eq!(answer(&ask(&set, "acme/fix", &action(Verb::ClockNow, ""), &late)), "policy-error");
}

const WEB: &str = "@id(\"web\") permit (principal == Guardian::Playbook::\"acme/fix\", \
    action in Guardian::Action::\"service\", resource == Guardian::Service::\"web\");";

#[test]
fn a_forbid_that_fails_to_evaluate_denies() {
    // Cedar would skip this rule on overflow and let the permit stand.
    let hard = "@id(\"broken\") forbid (principal, action in Guardian::Action::\"service\", resource) \
        when { context.used.d1 * 9223372036854775807 > 1 };";
    let set = load(&[("hard/a.cedar", hard), ("permits/a.cedar", WEB)]).unwrap();
    let call = action(RESTART, "web");
    let mut facts = facts();
    assert_eq!(answer(&ask(&set, "acme/fix", &call, &facts)), "permitted by web");
    facts.used.d1 = 2;
    assert_eq!(answer(&ask(&set, "acme/fix", &call, &facts)), "policy-error by broken");
    let Decision::Denied(refusal) = ask(&set, "acme/fix", &call, &facts) else { panic!("denied") };
    assert!(refusal.error.unwrap().contains("overflow"));
}

#[test]
fn a_gate_or_permit_that_fails_to_evaluate_denies() {
    let gate = "@id(\"broken\") @gate(\"approval\") @approvers(\"sre\") @quorum(\"1\") \
        forbid (principal, action in Guardian::Action::\"service\", resource) \
        when { context.used.d1 * 9223372036854775807 > 1 } unless { context.approvals.contains(\"sre\") };";
    let permit = "@id(\"odd\") permit (principal == Guardian::Playbook::\"acme/fix\", \
        action in Guardian::Action::\"service\", resource == Guardian::Service::\"web\") \
        when { context.used.d1 * 9223372036854775807 > 1 };";
    let mut facts = facts();
    for sources in [
        vec![("gates/a.cedar", gate), ("permits/a.cedar", WEB)],
        vec![("permits/a.cedar", WEB), ("permits/b.cedar", permit)],
    ] {
        let set = load(&sources).unwrap();
        facts.used.d1 = 0;
        assert_eq!(answer(&ask(&set, "acme/fix", &action(RESTART, "web"), &facts)), "permitted by web");
        facts.used.d1 = 2;
        assert!(answer(&ask(&set, "acme/fix", &action(RESTART, "web"), &facts)).starts_with("policy-error by"));
    }
}

const GATES: &str = "@id(\"low\") @gate(\"approval\") @approvers(\"sre-oncall, dba\") @quorum(\"1\") \
    forbid (principal, action in Guardian::Action::\"service\", resource) when { context.incident.severity < 9 } \
    unless { context.approvals.containsAny([\"sre-oncall\", \"dba\"]) }; \
    @id(\"stop\") @gate(\"approval\") @approvers(\"lead\") @quorum(\"2\") \
    forbid (principal, action == Guardian::Action::\"service.stop\", resource) unless { context.approvals.contains(\"lead\") };";

#[test]
fn gates_ask_only_for_what_is_otherwise_permitted() {
    let set = load(&[("hard/a.cedar", DEFAULT_HARD), ("gates/a.cedar", GATES), ("permits/a.cedar", WEB)]).unwrap();
    let stop = action(Verb::Service(ServiceVerb::Stop), "web");
    let mut facts = facts();
    assert_eq!(answer(&ask(&set, "acme/fix", &action(RESTART, "web"), &facts)), "needs 1 of dba sre-oncall (low)");
    assert_eq!(answer(&ask(&set, "acme/fix", &stop, &facts)), "needs 2 of dba lead sre-oncall (low stop)");
    // A gate and no permit: denied, nobody is asked.
    assert_eq!(answer(&ask(&set, "acme/look", &stop, &facts)), "no-permit");
    // A hard rule and no permit: as if nobody had heard of the resource, and nobody is asked.
    assert_eq!(answer(&ask(&set, "acme/fix", &action(RESTART, "db"), &facts)), "no-permit by protected");
    // A gate, a hard rule and a permit: denied, nobody is asked.
    let wide = WEB.replace("Guardian::Service::\"web\"", "Guardian::Service::\"db\"");
    let shielded =
        load(&[("hard/a.cedar", DEFAULT_HARD), ("gates/a.cedar", GATES), ("permits/a.cedar", &wide)]).unwrap();
    assert_eq!(answer(&ask(&shielded, "acme/fix", &action(RESTART, "db"), &facts)), "forbidden by protected");
    facts.approvals.insert("sre-oncall".to_owned());
    assert_eq!(answer(&ask(&set, "acme/fix", &action(RESTART, "web"), &facts)), "permitted by web");
    assert_eq!(answer(&ask(&set, "acme/fix", &stop, &facts)), "needs 2 of lead (stop)");
    // An approval never lifts a hard rule.
    assert_eq!(answer(&ask(&shielded, "acme/fix", &action(RESTART, "db"), &facts)), "forbidden by protected");
}

#[test]
fn unknown_and_unpermitted_look_alike() {
    let wide = "@id(\"all\") @wide(\"test\") permit (principal, action, resource);";
    let set = permits(wide);
    assert_eq!(answer(&ask(&set, "acme/fix", &action(RESTART, "web"), &facts())), "permitted by all");
    let unknown = ask(&set, "acme/fix", &action(RESTART, "gone"), &facts());
    let unpermitted = ask(&permits(WEB), "other/fix", &action(RESTART, "web"), &facts());
    let (Decision::Denied(unknown), Decision::Denied(unpermitted)) = (unknown, unpermitted) else { panic!("denied") };
    assert_eq!(unknown, unpermitted);
}

#[test]
fn a_question_about_another_resource_than_the_action_names_is_refused() {
    let set = permits(WEB);
    let question = |name: &str| {
        let playbook = "acme/fix".parse().unwrap();
        let call = action(RESTART, "db");
        answer(&set.decide(&Question {
            playbook: &playbook,
            action: &call,
            resource: &name.parse().unwrap(),
            facts: &facts(),
        }))
    };
    assert_eq!(question("service.web"), "policy-error");
    assert_eq!(question("service.db"), "no-permit");
}

#[test]
fn names_that_smuggle_are_no_resources() {
    let set = permits(WEB);
    for name in ["web\"", "web::db", "web\0", "wеb", "web; rm -rf /", "../web", "Web", "web ", "", "service.web"] {
        let call = action(RESTART, name);
        assert!(call.resource().is_err(), "{name:?}");
        let resource = "service.web".parse().unwrap();
        let playbook = "acme/fix".parse().unwrap();
        let question = Question { playbook: &playbook, action: &call, resource: &resource, facts: &facts() };
        assert_eq!(answer(&set.decide(&question)), "policy-error", "{name:?}");
    }
}

#[test]
fn the_default_policies_shield_and_grant_only_basics() {
    let set = load(&[("hard/protected.cedar", DEFAULT_HARD), ("permits/basics.cedar", DEFAULT_BASICS)]).unwrap();
    for verb in Verb::ALL {
        let (_, name) = entity_and_name(verb);
        let expected = if verb.groups().contains(&"basics") { "permitted by basics" } else { "no-permit" };
        assert_eq!(answer(&ask(&set, "acme/fix", &action(verb, name), &facts())), expected, "{verb}");
    }
    // A protected resource is looked at, not touched.
    let wide = format!("{DEFAULT_BASICS}@id(\"all\") @wide(\"test\") permit (principal, action, resource);");
    let set = load(&[("hard/protected.cedar", DEFAULT_HARD), ("permits/a.cedar", &wide)]).unwrap();
    for verb in Interface::Service.verbs() {
        let expected = if verb.class().is_effect() { "forbidden by protected" } else { "permitted by all" };
        assert_eq!(answer(&ask(&set, "acme/fix", &action(verb, "db"), &facts())), expected, "{verb}");
    }
}

#[test]
fn grants_are_the_interfaces_a_permit_could_reach() {
    let set = permits(&format!(
        "{DEFAULT_BASICS}{WEB}\n@id(\"pub\") permit (principal in Guardian::Publisher::\"acme\", \
         action == Guardian::Action::\"probe.run\", resource in Guardian::Group::\"front\");"
    ));
    let grants = |playbook: &str, set: &PolicySet| -> Vec<&'static str> {
        set.grants(&playbook.parse().unwrap()).into_iter().map(Interface::word).collect()
    };
    assert_eq!(grants("acme/fix", &set), ["service", "probe", "log", "clock"]);
    assert_eq!(grants("acme/look", &set), ["probe", "log", "clock"]);
    assert_eq!(grants("other/fix", &set), ["log", "clock"]);
    assert!(grants("other/fix", &permits(WEB)).is_empty());
}

#[test]
fn the_matrix_of_verbs_is_the_golden_one() {
    let mut matrix = String::from("verb | resource | effect class | groups\n");
    for verb in Verb::ALL {
        let kind = verb.resource_kind().entity();
        matrix.push_str(&format!("{verb} | {kind} | {} | {}\n", verb.class(), verb.groups().join(" ")));
    }
    matrix.push_str(&format!("\n{}", guardian::policy::schema_text()));
    crate::golden::same("policy_matrix.txt", &matrix);
}
