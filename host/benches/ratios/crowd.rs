//! An operator's policy of a given size, and the inventory it speaks of.
//!
//! As in a real set, most policies are about other people's playbooks and services, and a third speaks of whole groups
//! and publishers. What grows with the size is the estate: more services, groups, publishers, playbooks. The asker is
//! `bench/look` on `service.web`; half of the wide policies share its publisher or its group, so that filing policies
//! under either alone would not keep them away from it. Four policies and a gate do apply to it.

use std::fmt::Write as _;

use guardian::policy::Source;

/// What `bench/look` and `bench/reset` may do: seven policies, with the two of `guardian init`.
const OWN: &str = r#"
@id("look") permit (principal == Guardian::Playbook::"bench/look", action in Guardian::Action::"read",
  resource in Guardian::Group::"front") when { resource in context.incident.target };
@id("publisher") permit (principal in Guardian::Publisher::"bench", action == Guardian::Action::"service.status",
  resource in Guardian::Group::"front") when { context.incident.severity >= 3 };
@id("revive") permit (principal == Guardian::Playbook::"bench/look", action in Guardian::Action::"service.revive",
  resource == Guardian::Service::"web") when { context.used.h1 < 1000000 };
@id("reset") permit (principal == Guardian::Playbook::"bench/reset", action in Guardian::Action::"service.revive",
  resource in Guardian::Group::"units") when { context.used.h1 < 1000000 };
"#;

const GATE: &str = r#"
@id("worst") @gate("approval") @approvers("sre") @quorum("1")
forbid (principal, action in Guardian::Action::"service", resource in Guardian::Group::"front")
when { context.incident.severity > 9 } unless { context.approvals.contains("sre") };
"#;

/// The policies of [`OWN`], [`GATE`] and `guardian init`.
const GIVEN: usize = 7;

/// A policy set of `size` policies, in files of at most 50.
pub(crate) fn policies(size: usize) -> Vec<Source> {
    let mut sources = vec![
        Source { path: "permits/own.cedar".to_owned(), text: OWN.to_owned() },
        Source { path: "gates/worst.cedar".to_owned(), text: GATE.to_owned() },
    ];
    let (groups, services) = (groups(size), services(size));
    let mut text = String::new();
    for number in 0..size.saturating_sub(GIVEN) {
        let (group, service) = (number % groups, number % services);
        let _ = match number % 6 {
            // A third is wide: half of those share the asker's publisher, half its group.
            0 => writeln!(
                text,
                "@id(\"n{number}\") permit (principal in Guardian::Publisher::\"bench\", action in Guardian::Action::\"service\", \
                 resource in Guardian::Group::\"g{group}\") when {{ context.used.h1 < 5 }};"
            ),
            3 => writeln!(
                text,
                "@id(\"n{number}\") permit (principal in Guardian::Publisher::\"p{group}\", action in Guardian::Action::\"read\", \
                 resource in Guardian::Group::\"front\") when {{ resource in context.incident.target }};"
            ),
            _ => writeln!(
                text,
                "@id(\"n{number}\") permit (principal == Guardian::Playbook::\"p{group}/heal\", action in Guardian::Action::\"service.revive\", \
                 resource == Guardian::Service::\"s{service}\") when {{ resource in context.incident.target && context.used.h1 < 3 }};"
            ),
        };
        if number % 50 == 49 {
            sources.push(Source { path: format!("permits/n{number}.cedar"), text: std::mem::take(&mut text) });
        }
    }
    if !text.is_empty() {
        sources.push(Source { path: "permits/rest.cedar".to_owned(), text });
    }
    sources
}

/// The configuration that these policies speak of, with `units` services `u0`, `u1`, ... for effects of their own.
pub(crate) fn configuration(size: usize, units: usize, port: u16) -> String {
    let check = format!("check = {{ tcp = \"127.0.0.1:{port}\" }}\nhealed = {{ successes = 1, grace = \"0s\" }}\n");
    let mut text = String::from("[limits]\ntrail_mib_per_day = 65_536\n");
    let mut service = |name: String, groups: &str, more: &str| {
        let _ = write!(text, "\n[service.{name}]\ncommand = [\"/bin/sleep\", \"1\"]\ngroups = [{groups}]\n{more}");
    };
    service("web".to_owned(), "\"front\", \"units\"", &check);
    for number in 0..services(size) {
        service(format!("s{number}"), &format!("\"g{}\"", number % groups(size)), "");
    }
    for number in 0..units {
        service(format!("u{number}"), "\"units\"", "");
    }
    text
}

const fn services(size: usize) -> usize {
    let quarter = size / 4;
    if quarter < 2 { 2 } else { quarter }
}

const fn groups(size: usize) -> usize {
    let tenth = size / 10;
    if tenth < 2 { 2 } else { tenth }
}
