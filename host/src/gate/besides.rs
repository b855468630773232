//! What an effect does besides: to other resources than the one that the guest named.
//!
//! Making room on a storage can reload services, because the operator's definition of it says so. Such a service is as much
//! its own as when a playbook names it: what a person paused, what a hard rule shields, what only goes with people's
//! approval, what another run is at work on and what is in doubt stays so whichever way it is reached. So everything that is
//! asked of an effect is asked of all that it does ([`Inventory::besides`](crate::inventory::Inventory::besides)), before
//! any of it is done.
//!
//! What is not asked: a permit for what it does besides. The operator wrote it down and the guest cannot choose it; a permit
//! for it would let the guest do it by itself, which is more than making room asks for.

use super::Gate;
use super::judge::{Held, HeldBack};
use crate::model::{ResourceName, Verb};
use crate::orders::Standing;
use crate::policy::{Decision, Permit, Question};

impl Gate {
    /// The policy's answer to an effect, after its hard rules and gates were asked of what the effect does besides.
    pub(super) fn decide_besides(&self, question: &Question<'_>, decision: Decision) -> Decision {
        // INVARIANT 3: to a playbook without a permit all of it is the same.
        if matches!(decision, Decision::Denied(_)) {
            return decision;
        }
        let besides = self.parts.inventory.besides(question.action.verb(), question.resource);
        besides.into_iter().fold(decision, |decision, action| {
            let resource = match (&decision, action.resource()) {
                (Decision::Denied(_), _) | (_, Err(_)) => return decision,
                (_, Ok(resource)) => resource,
            };
            let facts = self.facts(action.verb(), &resource, &question.facts.approvals, 0);
            let besides = Question { action: &action, resource: &resource, facts: &facts, ..*question };
            self.parts.policy.besides(&besides, decision)
        })
    }

    /// What people ordered about everything that an effect touches. Gives the targets of all of it, its own first.
    pub(super) fn all_ordered(
        &self,
        verb: Verb,
        resource: &ResourceName,
        standing: &Standing,
    ) -> Result<Vec<ResourceName>, HeldBack> {
        let targets = self.parts.inventory.touched(verb.id(), resource).into_iter().map(|touched| {
            self.ordered(&touched, standing).map_err(|(code, why)| match touched == *resource {
                true => (code, why),
                false => (code, why.iter().map(|why| format!("{touched}: {why}")).collect()),
            })
        });
        targets.collect()
    }

    /// Takes the leases of these targets, and sees that nothing is in doubt of what the effect touches.
    pub(super) fn alone(&self, permit: &Permit, targets: &[ResourceName]) -> Result<(), Held> {
        for target in targets {
            self.leases.take(target).map_err(Held::Busy)?;
        }
        let touched = self.parts.inventory.touched(permit.action().verb().id(), permit.resource());
        touched.iter().try_for_each(|resource| self.in_doubt(resource))
    }
}
