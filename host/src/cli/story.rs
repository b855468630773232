//! How a run reads on a terminal: one line per call, with its verdict, and the end.

use crate::capability::Evidence;
use crate::gate::{Call, Passage};
use crate::inventory::Home;
use crate::model::{EffectClass, ResourceName, RunState, escape_to};
use crate::run::{Recovered, RunReport, UndoStep, Undone};

use super::Exit;
use super::screen::{Screen, Tone};

/// How much of a guest's text a line holds.
const SHOWN: usize = 200;

/// What `policy explain` can explain.
const BY_POLICY: [&str; 3] = ["no-permit", "forbidden", "policy-error"];
/// How many such questions are proposed.
const QUESTIONS: usize = 3;

/// What `approve` lets a run do, where a plan is shown.
pub(super) const WHAT_IS_APPROVED: &str =
    "approved is this many of each effect, in any order; with `approve --exact` this sequence and no other";

/// One call as a line: number, verdict, action, resource, what came of it.
pub(super) fn call(screen: &Screen, call: &Call, planned: bool) -> String {
    let (tone, verdict, rest) = match &call.passage {
        Passage::Done { policies, seen } => {
            let word = match (call.class, planned) {
                (EffectClass::Read, _) => "permitted",
                (_, true) => "would do ",
                (_, false) => "done     ",
            };
            (Tone::Good, word, joined(seen, policies))
        }
        Passage::Failed { policies, code, message } => {
            (Tone::Warn, "failed   ", joined(&format!("{}: {message}", code.word()), policies))
        }
        Passage::Denied { policies, code } => (Tone::Bad, "DENIED   ", joined(code, policies)),
        Passage::NotRecorded { message } => (Tone::Bad, "REFUSED  ", message.clone()),
    };
    let approval = call.approval.as_ref().map_or_else(String::new, |who| format!(" · needs approval by {who}"));
    let arguments = if call.arguments.is_empty() { String::new() } else { format!(" {}", call.arguments) };
    // A plan keeps nothing: neither the place of its undo material nor the numbers of its records are anywhere.
    let undo = call.undo.as_ref().map_or_else(String::new, |place| {
        if planned { " · undo would be kept".to_owned() } else { format!(" · undo kept at {place}") }
    });
    let record = call.record.filter(|_| !planned).map_or_else(String::new, |record| format!(" · record {record}"));
    format!(
        "  {:>3} {} {:<20} {}{arguments}  {}{}",
        call.step,
        screen.paint(tone, verdict),
        call.action,
        call.resource,
        rest,
        screen.paint(Tone::Faint, &format!("{approval}{undo}{record}")),
    )
}

fn joined(text: &str, policies: &[String]) -> String {
    let by = if policies.is_empty() { String::new() } else { format!("[{}]", policies.join(", ")) };
    [text, by.as_str()].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

/// The end of a run.
pub(super) fn end(screen: &Screen, report: &RunReport) {
    recovered(screen, &report.recovered);
    let tone = match report.state {
        RunState::Healed => Tone::Good,
        RunState::AwaitingApproval => Tone::Warn,
        _ => Tone::Bad,
    };
    if let Some(said) = &report.said {
        screen.say(&format!("  the playbook says: {}", escape_to(&said.summary, SHOWN)));
    }
    if let Some(check) = &report.check {
        screen.say(&format!(
            "  the check of {} says: {} ({})",
            report.target,
            check.verdict.word(),
            escape_to(&check.seen, SHOWN)
        ));
    }
    undone(screen, &report.undone);
    if report.state != RunState::Healed
        && let Some(evidence) = &report.transcript.evidence
    {
        seen_before(screen, evidence);
    }
    for note in &report.notes {
        screen.say(&format!("  {} {note}", screen.paint(Tone::Warn, "note:")));
    }
    let reason = if report.reason.is_empty() { String::new() } else { format!(": {}", report.reason) };
    screen.say(&format!("{}{reason}", screen.paint(tone, report.state.word())));
}

/// How the target looked before the first effect.
fn seen_before(screen: &Screen, evidence: &Evidence) {
    let mut before = vec![format!("{} {}", evidence.check.verdict.word(), escape_to(&evidence.check.seen, 80))];
    before.extend(evidence.service.as_ref().map(|status| status.state.word().to_owned()));
    let storage =
        evidence.storage.iter().map(|(name, usage)| format!("storage.{name} {} MiB free", usage.bytes_free >> 20));
    before.extend(storage);
    before.extend(evidence.configs.iter().map(|(name, status)| format!("config.{name} {}", status.state.word())));
    before.extend(evidence.sockets.iter().map(|socket| escape_to(socket, 80)));
    screen.say(&format!("  before the first effect {} was: {}", evidence.target, before.join(" · ")));
    for line in &evidence.lines {
        screen.say(&format!("    | {}", escape_to(line, SHOWN)));
    }
}

/// What became of the effects of a run that was unwound.
pub(super) fn undone(screen: &Screen, steps: &[UndoStep]) {
    for step in steps {
        let (tone, verdict, rest) = match &step.undone {
            Undone::PutBack { record } => (Tone::Good, "put back ", format!("record {record}")),
            Undone::Left { why } => (Tone::Warn, "left     ", why.clone()),
            Undone::Failed { why } => (Tone::Bad, "NOT BACK ", escape_to(why, SHOWN)),
        };
        let verdict = screen.paint(tone, verdict);
        screen.say(&format!("  {:>3} {verdict} {:<20} {}  {rest}", step.step, step.action, step.resource));
    }
}

/// Runs that nobody saw end, and the ends they got.
pub(super) fn recovered(screen: &Screen, recovered: &[Recovered]) {
    for run in recovered {
        let word = screen.paint(Tone::Warn, "found a run without an end:");
        screen.say(&format!("{word} {} on {}, now {}: {}", run.run, run.target, run.state.word(), run.reason));
        undone(screen, &run.steps);
    }
}

/// What a person does next: whom a plan waits for, and what would do by hand what was refused.
pub(super) fn what_to_do(screen: &Screen, report: &RunReport, home: &Home) {
    let flag = home.flag();
    if let Some(asked) = &report.asked {
        super::approve::show(screen, asked);
        screen.say(&format!(
            "approve it with `guardian{flag} approve {} --key FILE`, reject it with `reject`",
            asked.run
        ));
        screen.say(&format!("  {WHAT_IS_APPROVED}"));
        screen.say(&format!("then `guardian{flag} run --resume {}`", asked.run));
    }
    if report.state == RunState::Healed {
        return;
    }
    let by_hand: std::collections::BTreeSet<&String> =
        report.transcript.calls.iter().filter_map(|call| call.by_hand.as_ref()).collect();
    for command in by_hand {
        // Guardian's own commands speak of this home.
        let command = match command.strip_prefix("guardian ") {
            Some(rest) => format!("guardian{flag} {rest}"),
            None => command.clone(),
        };
        screen.say(&format!("by hand: {}", escape_to(&command, 500)));
    }
    ask_why(screen, report);
}

/// The question that says why policy refused a call, and what would change it: ready to paste.
fn ask_why(screen: &Screen, report: &RunReport) {
    let denied = |call: &Call| {
        // A guest's text that is no name is none that policy was asked about.
        let resource: ResourceName = call.resource.parse().ok()?;
        let by_policy = matches!(&call.passage, Passage::Denied { code, .. } if BY_POLICY.contains(code));
        by_policy.then_some((call.action, resource))
    };
    let asked: std::collections::BTreeSet<_> = report.transcript.calls.iter().filter_map(denied).collect();
    for (action, resource) in asked.into_iter().take(QUESTIONS) {
        let RunReport { playbook, kind, target, severity, .. } = report;
        screen.say(&format!(
            "why {action} was denied: `guardian policy explain {playbook} {action} {resource} --incident {kind} --target {target} --severity {severity}`"
        ));
    }
}

/// The exit code of where a run ended.
pub(super) const fn exit(state: RunState) -> Exit {
    match state {
        RunState::Healed => Exit::Ok,
        RunState::NotHealed | RunState::Unwound => Exit::NotHealed,
        RunState::Refused => Exit::Refused,
        RunState::AwaitingApproval => Exit::ApprovalNeeded,
        RunState::AuditUnavailable => Exit::AuditUnavailable,
        RunState::Indeterminate => Exit::Indeterminate,
        RunState::Requested | RunState::Admitted | RunState::Executing | RunState::Checking | RunState::Unwinding => {
            Exit::Other
        }
    }
}
