//! The property that slicing rests on: for any set and any question, the slice and the whole set answer alike.

use proptest::prelude::*;

use crate::model::{Name, PlaybookId, ResourceKind, ResourceName, Timestamp, Verb};

use super::explain::Ruling;
use super::slice::sets;
use super::{Facts, PolicySet, ResourceFact, Source, Used, World};

const PLAYBOOKS: [&str; 4] = ["acme/fix", "acme/look", "other/fix", "other/look"];
/// Of the other kinds.
const OTHERS: [&str; 3] = ["shop", "lab", "yard"];
const PROBES: [&str; 3] = ["service.web", "service.db", "login"];
const SERVICES: [&str; 3] = ["web", "db", "cache"];

fn world() -> World {
    let fact = |name: &str, groups: &[&str], protected, target: &str| ResourceFact {
        name: name.parse().unwrap(),
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        protected,
        target: target.parse().unwrap(),
    };
    World::build(&[
        fact("service.web", &["front", "all"], false, "service.web"),
        fact("probe.service.web", &["front"], false, "service.web"),
        fact("service.db", &["back", "all"], true, "service.db"),
        fact("probe.service.db", &["back"], true, "service.db"),
        fact("service.cache", &["back"], false, "service.cache"),
        fact("storage.shop", &["front", "all"], false, "service.web"),
        fact("config.shop", &["back", "all"], true, "service.db"),
        fact("command.shop", &["all"], false, "command.shop"),
        fact("storage.lab", &["back"], false, "storage.lab"),
        fact("config.lab", &["front"], true, "service.cache"),
        fact("command.lab", &["front"], false, "service.web"),
        fact("storage.yard", &["all"], true, "service.db"),
        fact("config.yard", &[], false, "config.yard"),
        fact("command.yard", &["back", "all"], false, "service.db"),
        fact("probe.login", &["front"], false, "service.web"),
    ])
    .unwrap()
}

/// One policy: where it lies and its text without annotations.
fn policy() -> impl Strategy<Value = (&'static str, String)> {
    let principal = prop_oneof![
        Just("principal".to_owned()),
        Just("principal is Guardian::Playbook".to_owned()),
        prop::sample::select(&PLAYBOOKS[..]).prop_map(|id| format!("principal == Guardian::Playbook::\"{id}\"")),
        prop::sample::select(&PLAYBOOKS[..]).prop_map(|id| format!("principal in Guardian::Playbook::\"{id}\"")),
        prop::sample::select(&["acme", "other"][..])
            .prop_map(|id| format!("principal in Guardian::Publisher::\"{id}\"")),
        prop::sample::select(&["acme", "other"][..])
            .prop_map(|id| format!("principal is Guardian::Playbook in Guardian::Publisher::\"{id}\"")),
    ];
    let action = prop::sample::select(
        &[
            "action",
            "action == Guardian::Action::\"service.restart\"",
            "action == Guardian::Action::\"service.status\"",
            "action in Guardian::Action::\"service.revive\"",
            "action in [Guardian::Action::\"read\", Guardian::Action::\"service.stop\"]",
            "action in Guardian::Action::\"service\"",
        ][..],
    );
    let resource = prop_oneof![
        Just("resource".to_owned()),
        Just("resource is Guardian::Service".to_owned()),
        prop::sample::select(&SERVICES[..]).prop_map(|id| format!("resource == Guardian::Service::\"{id}\"")),
        prop::sample::select(&SERVICES[..]).prop_map(|id| format!("resource in Guardian::Service::\"{id}\"")),
        prop::sample::select(&["front", "back", "all"][..])
            .prop_map(|id| format!("resource in Guardian::Group::\"{id}\"")),
        prop::sample::select(&["service.web", "service.db"][..])
            .prop_map(|id| format!("resource in Guardian::Target::\"{id}\"")),
        Just("resource is Guardian::Service in Guardian::Group::\"back\"".to_owned()),
    ];
    let condition = prop::sample::select(
        &[
            "",
            " when { context.used.h1 < 3 }",
            " when { resource in context.incident.target }",
            " when { context.used.d1 * 4611686018427387904 > 1 }",
            " unless { context.incident.severity > 5 }",
            " when { resource.protected }",
        ][..],
    );
    let gate = " unless { context.approvals.contains(\"sre\") }";
    (principal, action, resource, condition, 0..10_u8).prop_map(move |(who, what, which, when, draw)| {
        let scope = format!("({who}, {what}, {which}){when}");
        match draw {
            0 => ("hard", format!("forbid {scope};")),
            1..=2 => ("gates", format!("@gate(\"approval\") @approvers(\"sre\") @quorum(\"2\") forbid {scope}{gate};")),
            _ => ("permits", format!("@wide(\"test\") permit {scope};")),
        }
    })
}

fn set(world: &World, policies: &[(&'static str, String)]) -> PolicySet {
    let mut sources: Vec<Source> = policies
        .iter()
        .enumerate()
        .map(|(at, (folder, text))| Source {
            path: format!("{folder}/{at}.cedar"),
            text: format!("@id(\"p{at}\") {text}"),
        })
        .collect();
    let text = super::DEFAULT_BASICS.to_owned();
    sources.push(Source { path: "permits/basics.cedar".to_owned(), text });
    PolicySet::from_sources(&sources, world).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sliced_equals_full(
        policies in prop::collection::vec(policy(), 1..12),
        asks in prop::collection::vec((0..4_usize, 0..3_usize, 0..Verb::ALL.len(), 0..6_u64, 1..10_u8, any::<bool>()), 4),
    ) {
        let world = &*WORLD;
        let set = set(world, &policies);
        let full = sets(set.policies().iter()).unwrap();
        for (playbook, resource, verb, used, severity, approved) in asks {
            let playbook: PlaybookId = PLAYBOOKS[playbook].parse().unwrap();
            let verb = Verb::ALL[verb];
            let resource = match verb.resource_kind() {
                ResourceKind::Run => ResourceName::this_run(),
                ResourceKind::Service => ResourceName::new(ResourceKind::Service, SERVICES[resource]).unwrap(),
                ResourceKind::Probe => ResourceName::new(ResourceKind::Probe, PROBES[resource]).unwrap(),
                kind => ResourceName::new(kind, OTHERS[resource]).unwrap(),
            };
            let facts = Facts {
                now: Timestamp::from_millis(1_000),
                kind: "down".parse::<Name>().unwrap(),
                severity,
                target: "service.web".parse().unwrap(),
                used: Used { m5: used, h1: used, d1: used },
                windows: Default::default(),
                approvals: if approved { ["sre".to_owned()].into() } else { Default::default() },
                labels: Default::default(),
                glass: None,
            };
            let sliced = set.rule(&playbook, verb, &resource, &facts);
            let asker = set.asker(&playbook).unwrap();
            let request = set.request(&asker, verb, &resource, &facts).unwrap();
            let whole = set.judge(&request, &asker, &full).unwrap_or_else(Ruling::Denied);
            prop_assert_eq!(sliced, whole);
        }
    }
}

static WORLD: std::sync::LazyLock<World> = std::sync::LazyLock::new(world);
