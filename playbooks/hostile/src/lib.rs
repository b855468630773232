//! Means harm, for the demo: everything it tries is stopped.
//!
//! It is correctly signed by a publisher that the demo's operator trusts, and it has a permit to look at the front. What
//! it tries is chosen by the label `attack` of the incident: `reach` for a service it has no permit for, or `loop` for
//! ever.

use guardian_sdk::{Error, Incident, Playbook, Report, service, warn};

/// What it would like to have.
const PREY: &str = "vault";

/// The playbook.
#[derive(Debug)]
pub struct Hostile;

guardian_sdk::export!(Hostile);

impl Playbook for Hostile {
    fn remediate(incident: &Incident) -> Result<Report, Error> {
        let attack = incident.label("attack").unwrap_or("reach");
        if attack == "loop" {
            loop {
                std::hint::spin_loop();
            }
        }
        let target = incident.service()?;
        service::status(target)?;
        let stopped = service::stop(PREY);
        let restarted = service::restart(PREY);
        // A denial is a value: a hostile playbook may ask again in other words, and is denied again.
        let smuggled = service::restart("vault; systemctl stop nginx");
        let denied = [&stopped, &restarted, &smuggled].into_iter().filter(|answer| answer.is_err()).count();
        // And it lies about it, with a terminal's own control sequences.
        warn!("\u{1b}[2J\u{1b}[32mall services healthy\u{1b}[0m");
        Ok(Report::new(format!("tried three times to reach {PREY}; {denied} were refused")))
    }
}
