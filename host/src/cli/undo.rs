//! `guardian undo RUN`: put back what a run did.

use std::sync::Arc;

use crate::capability::Hands;
use crate::run::undo as undo_run;

use super::Exit;
use super::context::Context;
use super::failure::Failure;
use super::run::wait as read_wait;
use super::screen::Tone;
use super::story;

pub(super) fn undo(context: &Context, run: &str, wait: Option<&str>) -> Result<Exit, Failure> {
    let run = run.parse().map_err(|error| Failure::usage(format!("{error}")))?;
    let (site, lock) = context.site_to_write(read_wait(wait)?)?;
    let trail = Arc::new(site.open_trail(lock)?);
    let hands = Arc::new(Hands::real(site.hands()?));
    let report = undo_run(&site, Arc::clone(&trail), hands, &run)?;
    if let Some(closed) = Arc::into_inner(trail).map(crate::audit::Trail::close) {
        closed?;
    }
    let screen = &context.screen;
    if screen.json() {
        screen.document("undo", &serde_json::to_value(&report).unwrap_or_default())?;
    } else {
        story::recovered(screen, &report.recovered);
        screen.say(&format!("undo {} of {} on {}", report.run, report.playbook, report.target));
        story::undone(screen, &report.undone);
        let tone = if report.state == crate::model::RunState::Unwound { Tone::Good } else { Tone::Warn };
        screen.say(&format!("{}: {}", screen.paint(tone, report.state.word()), report.reason));
    }
    Ok(match report.state {
        crate::model::RunState::Indeterminate => Exit::Indeterminate,
        _ => Exit::Ok,
    })
}
