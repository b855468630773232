//! Policy, from the outside: what is permitted, what is refused, and what a load does not accept.

mod claims;
mod decisions;
mod explained;
mod loading;

use std::collections::BTreeSet;

use guardian::model::{Action, LogLevel, ResourceName, Timestamp, Verb};
use guardian::policy::{Decision, Facts, PolicyError, PolicySet, Question, ResourceFact, Source, Used, World};

/// A resource of the test inventory.
fn fact(name: &str, groups: &[&str], protected: bool, target: &str) -> ResourceFact {
    ResourceFact {
        name: name.parse().unwrap(),
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        protected,
        target: target.parse().unwrap(),
    }
}

/// `web` in front with its check, `db` in the back and protected, and two of each other kind.
fn inventory() -> [ResourceFact; 10] {
    [
        fact("service.web", &["front"], false, "service.web"),
        fact("probe.service.web", &["front"], false, "service.web"),
        fact("service.db", &["back"], true, "service.db"),
        fact("probe.login", &["front"], false, "probe.login"),
        fact("storage.logs", &["front"], false, "storage.logs"),
        fact("storage.data", &["back"], false, "storage.data"),
        fact("config.site", &["front"], false, "config.site"),
        fact("config.app", &["back"], false, "config.app"),
        fact("command.rebuild", &["front"], false, "command.rebuild"),
        fact("command.drain", &["back"], false, "command.drain"),
    ]
}

fn world() -> World {
    World::build(&inventory()).unwrap()
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

fn load(sources: &[(&str, &str)]) -> Result<PolicySet, PolicyError> {
    let sources: Vec<Source> = sources.iter().map(|(path, text)| source(path, text)).collect();
    PolicySet::from_sources(&sources, &world())
}

/// A set of one permits file.
fn permits(text: &str) -> PolicySet {
    load(&[("permits/test.cedar", text)]).unwrap_or_else(|error| panic!("{}", error.render()))
}

/// What a load complains about, one line each.
fn complaints(sources: &[(&str, &str)]) -> Vec<String> {
    match load(sources) {
        Ok(_) => Vec::new(),
        Err(error) => error.findings().iter().map(ToString::to_string).collect(),
    }
}

fn facts() -> Facts {
    Facts {
        now: Timestamp::parse("2026-11-22T22:00:00.250Z").unwrap(),
        kind: "service-down".parse().unwrap(),
        severity: 5,
        target: "service.web".parse().unwrap(),
        used: Used::default(),
        windows: BTreeSet::new(),
        approvals: BTreeSet::new(),
        labels: Default::default(),
        glass: None,
    }
}

/// A call of that verb on that resource (its own kind of resource where the verb has another).
fn action(verb: Verb, name: &str) -> Action {
    let name = name.to_owned();
    match verb {
        Verb::Service(verb) => Action::Service { verb, name },
        Verb::Storage(verb) => Action::Storage { verb, name },
        Verb::Config(verb) => Action::Config { verb, name },
        Verb::CommandRun => Action::Command { name },
        Verb::ProbeRun => Action::Probe { name },
        Verb::LogWrite => Action::Log { level: LogLevel::Info, message: name },
        Verb::ClockNow => Action::Now,
        Verb::ClockSleep => Action::Sleep { milliseconds: 1 },
    }
}

fn ask(set: &PolicySet, playbook: &str, action: &Action, facts: &Facts) -> Decision {
    let resource: ResourceName = action.resource().unwrap();
    set.decide(&Question { playbook: &playbook.parse().unwrap(), action, resource: &resource, facts })
}

/// The answer in short: `permitted by a b`, `no-permit`, `forbidden by c`, `needs sre 1 (d)`.
fn answer(decision: &Decision) -> String {
    match decision {
        Decision::Permitted(permit) => format!("permitted by {}", permit.policies().join(" ")),
        Decision::Denied(refusal) if refusal.policies.is_empty() => refusal.code.word().to_owned(),
        Decision::Denied(refusal) => format!("{} by {}", refusal.code.word(), refusal.policies.join(" ")),
        Decision::NeedsApproval { approvers, quorum, policies } => {
            let approvers: Vec<&str> = approvers.iter().map(String::as_str).collect();
            format!("needs {quorum} of {} ({})", approvers.join(" "), policies.join(" "))
        }
    }
}
