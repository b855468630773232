//! `guardian policy`: is it right, and why is the answer what it is.

use std::collections::BTreeSet;

use serde_json::json;

use crate::audit::Reader;
use crate::model::{ResourceName, Verb, escape_to};
use crate::policy::{Explanation, Facts, Ruling, Used, schema_text};
use crate::run::{People, RunError};

use super::Exit;
use super::arguments::PolicyCommand;
use super::context::Context;
use super::failure::Failure;
use super::screen::{Screen, Tone};

pub(super) fn execute(context: &Context, command: PolicyCommand) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::Check { schema: true } => {
            context.screen.line(schema_text());
            Ok(Exit::Ok)
        }
        PolicyCommand::Check { schema: false } => check(context),
        PolicyCommand::Explain { playbook, action, resource, incident, target, severity } => {
            let target = target.as_ref().unwrap_or(&resource).clone();
            explain(context, &Asked { playbook, action, resource, incident, target, severity })
        }
    }
}

/// The question as a person typed it.
struct Asked {
    playbook: String,
    action: String,
    resource: String,
    incident: String,
    target: String,
    severity: u8,
}

fn check(context: &Context) -> Result<Exit, Failure> {
    let screen = &context.screen;
    let site = match crate::run::Site::open(context.home.clone(), super::context::program()?, context.clock.clone()) {
        Ok(site) => site,
        Err(RunError::Policy(error)) => {
            if screen.json() {
                let findings: Vec<_> = error.findings().iter().map(ToString::to_string).collect();
                screen.document(
                    "policy-check",
                    &json!({ "ok": false, "findings": findings, "error": error.to_string() }),
                )?;
            } else {
                screen.line(&error.render());
            }
            return Ok(Exit::Refused);
        }
        Err(error) => return Err(error.into()),
    };
    let stuck = People::of(&site)?.cannot_open(&site.policy);
    if !stuck.is_empty() {
        if screen.json() {
            let error = format!("{} gates stop for ever", stuck.len());
            screen.document("policy-check", &json!({ "ok": false, "findings": stuck, "error": error }))?;
        } else {
            stuck.iter().for_each(|finding| screen.line(&format!("{finding}\n")));
        }
        return Ok(Exit::Refused);
    }
    if screen.json() {
        screen.document(
            "policy-check",
            &json!({ "ok": true, "policies": site.policy.len(), "digest": site.policy.digest() }),
        )?;
    } else {
        screen.say(&format!(
            "{} {} policies, {}",
            screen.paint(Tone::Good, "ok"),
            site.policy.len(),
            site.policy.digest()
        ));
    }
    Ok(Exit::Ok)
}

fn explain(context: &Context, asked: &Asked) -> Result<Exit, Failure> {
    let site = context.site()?;
    let playbook = asked.playbook.parse()?;
    let verb = Verb::from_id(&asked.action).ok_or_else(|| {
        let known = crate::model::nearest(&asked.action, Verb::ALL.iter().map(|verb| verb.id()));
        let hint = known.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        Failure::usage(format!("there is no action `{}`{hint}", escape_to(&asked.action, 64)))
    })?;
    let resource: ResourceName = asked.resource.parse()?;
    if resource.kind() != verb.resource_kind() {
        let of = verb.resource_kind().word();
        return Err(Failure::usage(format!(
            "`{verb}` is asked of a {of}, and `{resource}` is none; name one as `{of}.NAME`"
        )));
    }
    let target: ResourceName = asked.target.parse()?;
    let now = context.clock.now();
    let used = Reader::open(context.home.var())?.state()?.used(&playbook, verb.id(), &resource.to_string(), now);
    let facts = Facts {
        now,
        kind: asked.incident.parse()?,
        severity: asked.severity,
        target: site.configuration.inventory.target_of(&target),
        used: Used { m5: used.m5, h1: used.h1, d1: used.d1 },
        windows: BTreeSet::new(),
        approvals: BTreeSet::new(),
        labels: Default::default(),
        glass: None,
    };
    let explanation = site.policy.explain(&playbook, verb, &resource, &facts);
    let (word, exit) = match &explanation.ruling {
        Ruling::Permitted { .. } => ("permitted", Exit::Ok),
        Ruling::Denied(_) => ("denied", Exit::Refused),
        Ruling::NeedsApproval { .. } => ("needs approval", Exit::ApprovalNeeded),
    };
    if context.screen.json() {
        context.screen.document("policy-explain", &document(word, &explanation))?;
    } else {
        show(&context.screen, word, &explanation);
    }
    Ok(exit)
}

fn document(word: &str, explanation: &Explanation) -> serde_json::Value {
    let decided: Vec<_> = explanation
        .decided
        .iter()
        .map(|note| json!({ "id": note.id, "why": note.why, "file": note.path, "line": note.line }))
        .collect();
    let nearest = explanation.nearest.as_ref().map(|miss| {
        let conditions: Vec<_> = miss
            .conditions
            .iter()
            .map(|condition| json!({ "text": condition.text, "wanted": condition.wanted, "facts": condition.facts }))
            .collect();
        json!({ "id": miss.policy.id, "file": miss.policy.path, "line": miss.policy.line, "scope": miss.scope, "conditions": conditions })
    });
    json!({
        "verdict": word, "decided": decided, "nearest": nearest, "known_resource": explanation.known_resource,
        "meant": explanation.meant, "grant": explanation.grant,
    })
}

fn show(screen: &Screen, word: &str, explanation: &Explanation) {
    let tone = match explanation.ruling {
        Ruling::Permitted { .. } => Tone::Good,
        Ruling::Denied(_) => Tone::Bad,
        Ruling::NeedsApproval { .. } => Tone::Warn,
    };
    screen.say(&screen.paint(tone, word));
    for note in &explanation.decided {
        let why = note.why.as_ref().map_or_else(String::new, |why| format!(": {}", escape_to(why, 200)));
        screen.say(&format!("  decided by `{}` ({}:{}){why}", note.id, note.path, note.line));
    }
    if let Ruling::NeedsApproval { approvers, quorum, .. } = &explanation.ruling {
        let roles = approvers.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        screen.say(&format!("  {quorum} of {roles} must approve"));
    }
    if let Ruling::Denied(refusal) = &explanation.ruling
        && let Some(error) = &refusal.error
    {
        screen.say(&format!("  a policy could not be evaluated, which always means no: {error}"));
    }
    if !explanation.known_resource {
        let meant = explanation.meant.as_ref().map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        screen.say(&format!("  the inventory does not have this resource{meant}"));
    }
    if let Some(miss) = &explanation.nearest {
        screen.say(&format!("  nearest permit: `{}` ({}:{})", miss.policy.id, miss.policy.path, miss.policy.line));
        if !miss.scope.is_empty() {
            screen.say(&format!("    it names another {}", miss.scope.join(" and another ")));
        }
        for condition in &miss.conditions {
            let wanted = if condition.wanted { "does not hold" } else { "holds, and must not" };
            let facts: Vec<String> = condition.facts.iter().map(|(name, value)| format!("{name} is {value}")).collect();
            screen.say(&format!("    `{}` {wanted} ({})", condition.text, facts.join(", ")));
        }
    }
    if let Some(miss) = explanation.nearest.as_ref().filter(|miss| miss.scope.is_empty()) {
        screen.say(&format!(
            "  this call is what that permit is for, under that condition; change it in {}:{} if it is too narrow",
            miss.policy.path, miss.policy.line
        ));
    }
    if let Some(grant) = &explanation.grant {
        screen.say("  this would permit it (under policy/permits/):");
        for line in grant.lines() {
            screen.say(&format!("    {line}"));
        }
    }
}
