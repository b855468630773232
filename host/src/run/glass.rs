//! Breaking the glass: a named person lets a run do what no hard rule forbids, for a short while, in one home.
//!
//! What counts is two things together: the record on this trail, and beside it the person's signed word for this trail. A
//! word without the record was never broken here, whoever copied it to this place; a record without the word is not the
//! person's. The word is judged anew whenever it is used: the person may have lost the right since, and whoever signs for
//! the playbook's publisher cannot break the glass for it, because an author who could would need no permits at all.
//!
//! It ends by its time, or when anybody who runs this home ends it ([`crate::model::Order::EndGlass`]), which takes hold
//! within one call. A successor of the trail (`audit fork`, `audit recover`) ends it as well: it has another key and no
//! such record.

use std::time::Duration;

use crate::audit::{Body, State, Trail};
use crate::model::{Glass, Name, Order, PlaybookId, Timestamp};
use crate::trust::{TrustError, Word};

use super::accept::refused;
use super::approval::{Approvals, LARGEST_WORD};
use super::people::People;
use super::{RunError, Site};

/// The longest that broken glass stays broken.
pub const LONGEST_GLASS: Duration = Duration::from_secs(3_600);
/// How far a person's clock may be ahead of this one.
const AHEAD: Duration = Duration::from_secs(60);

impl Approvals {
    /// Breaks the glass: the trail has it before it counts. Gives who it was and until when.
    ///
    /// # Errors
    /// When the word is none of somebody who may, is for another home, or does not say for how long, or the trail cannot
    /// take it.
    pub fn break_glass(&self, site: &Site, trail: &Trail, signed: &[u8]) -> Result<(Name, Timestamp), RunError> {
        let (person, reason, until) = judge(site, &People::of(site)?, signed, site.clock.now())?;
        trail.append_durable(None, Body::BreakGlass { person: person.clone(), reason, until })?;
        self.folder.replace(&format!("glass.{person}.word"), signed)?;
        Ok((person, until))
    }

    /// The glass that is broken and still counts, of each person who broke it, as this trail and their words have it.
    ///
    /// # Errors
    /// When the people of the configuration cannot be read.
    pub fn broken_glass(&self, site: &Site, state: &State) -> Result<Vec<Glass>, RunError> {
        let people = People::of(site)?;
        // A clock that was set back makes nothing last longer.
        let now = site.clock.now().max(state.last_seen());
        let ordered = site.orders.standing(now).glass_ended();
        let ended = ordered.max(state.order(&Order::EndGlass).map(|given| given.at));
        let counts = |glass: &&Glass| {
            let word = self.folder.read_bounded(&format!("glass.{}.word", glass.person), LARGEST_WORD);
            let said = word.ok().and_then(|signed| judge(site, &people, &signed, now).ok());
            let (person, reason, until) = (glass.person.clone(), glass.reason.clone(), glass.until);
            glass.holds(ended, now) && said == Some((person, reason, until))
        };
        Ok(state.glass().iter().filter(counts).cloned().collect())
    }

    /// The glass that counts for a run of this playbook. That it was broken by who may not profit stands on the trail.
    ///
    /// # Errors
    /// When nobody has broken it for that.
    pub fn glass_for(&self, site: &Site, trail: &Trail, playbook: &PlaybookId) -> Result<Glass, RunError> {
        let broken = trail.state(|state| self.broken_glass(site, state))?;
        let people = People::of(site)?;
        let wrote_it = |glass: &Glass| people.sign_for(&glass.person, &site.trust, &playbook.publisher);
        let (authors, others): (Vec<Glass>, Vec<Glass>) = broken.into_iter().partition(wrote_it);
        if let Some(glass) = others.into_iter().max_by_key(|glass| glass.until) {
            return Ok(glass);
        }
        let Some(author) = authors.into_iter().next() else {
            return Err(RunError::Request(format!(
                "nobody has broken the glass on this trail, or it is over; `guardian{} break-glass --reason WHY --for 15m --key FILE` does",
                site.home.flag()
            )));
        };
        let problem = format!(
            "`{}` broke the glass and signs for the publisher `{}`: for its playbooks somebody else has to",
            author.person, playbook.publisher
        );
        Err(refused(trail, Some(playbook), TrustError::Word(problem).into()))
    }
}

/// Whether a word breaks the glass in this home now: who says so, why, and until when.
fn judge(site: &Site, people: &People, signed: &[u8], now: Timestamp) -> Result<(Name, String, Timestamp), RunError> {
    let refused = |problem: String| Err(RunError::Trust(TrustError::Word(problem)));
    let (person, word) = people.read(signed)?;
    let Word::BreakGlass { trail, reason, at, until } = word else {
        return refused("it does not break the glass".to_owned());
    };
    let name = &person.name;
    if !person.break_glass {
        return refused(format!("`{name}` may not break the glass; guardian.toml says who may: `break_glass = true`"));
    }
    if trail != site.trail_key()? {
        return refused(format!("`{name}` said it about another home, or before this one got another trail"));
    }
    if reason.trim().is_empty() {
        return refused("say why: --reason must not be empty".to_owned());
    }
    if until.since(at) > LONGEST_GLASS {
        return refused("glass stays broken for an hour at most".to_owned());
    }
    if at > now.plus(AHEAD) || until <= now {
        return refused(format!("what `{name}` said counts from {at} until {until}, and it is {now}"));
    }
    Ok((name.clone(), reason, until))
}
