//! Brings a crashed service back, and leaves the proof to its check.
//!
//! It does the least that can help. A service that a person stopped is left alone. One whose supervisor is about to
//! start it is waited for. One that failed has its failures cleared and is started, one that runs without answering is
//! restarted. Whatever it did, it then looks at the service's own check for a few seconds, and says honestly what it
//! saw: the host looks again for itself.
//!
//! It acts once. A service that does not come up after that needs a person, not a second try.

use std::time::Duration;

use guardian_sdk::probe::{self, Verdict};
use guardian_sdk::service::{self, State, Status};
use guardian_sdk::{Error, Incident, Playbook, Report, clock, info};

/// A supervisor's own delay before a restart is a tenth of a second to a few seconds (systemd: 100 ms by default).
const SUPERVISOR_LOOKS: u32 = 10;
/// Between two looks at a supervisor.
const SUPERVISOR_PAUSE: Duration = Duration::from_secs(1);
/// A service that answers at all answers within a few seconds; the host's own verification is more patient.
const CHECK_LOOKS: u32 = 6;
/// Between two looks at a check.
const CHECK_PAUSE: Duration = Duration::from_millis(500);

/// The playbook.
#[derive(Debug)]
pub struct ServiceCrashed;

guardian_sdk::export!(ServiceCrashed);

impl Playbook for ServiceCrashed {
    fn remediate(incident: &Incident) -> Result<Report, Error> {
        let name = incident.service()?;
        let status = settled(name)?;
        if status.stopped_by_person {
            return Ok(Report::new(format!("{name} was stopped by a person; left as it is")));
        }
        let done = match status.state {
            State::Running => match probe::check(name)?.verdict {
                Verdict::Healthy | Verdict::Degraded => {
                    return Ok(Report::new(format!("{name} runs and answers; nothing to do")));
                }
                Verdict::Unknown => {
                    return Err(Error::failed(format!("{name} runs, and its check cannot look; left as it is")));
                }
                Verdict::Failed => {
                    info!("{name} runs but does not answer: restarting it");
                    service::restart(name)?;
                    "restarted"
                }
            },
            State::Failed => {
                info!("{name} failed{}: starting it", how(&status));
                clear_failures(name)?;
                service::start(name)?;
                "started"
            }
            State::Stopped => {
                info!("{name} does not run{}: starting it", how(&status));
                service::start(name)?;
                "started"
            }
            State::Starting | State::Stopping | State::Restarting => {
                return Err(Error::failed(format!(
                    "{name} is still {} after {} s; its supervisor is at it",
                    word(status.state),
                    u64::from(SUPERVISOR_LOOKS) * SUPERVISOR_PAUSE.as_secs(),
                )));
            }
            State::Unknown => {
                return Err(Error::failed(format!("the supervisor of {name} gives no clear answer; left as it is")));
            }
        };
        proved(name, done)
    }
}

/// Waits while the supervisor itself is doing something, and gives what it then says.
fn settled(name: &str) -> Result<Status, Error> {
    let mut status = service::status(name)?;
    for _ in 0..SUPERVISOR_LOOKS {
        if !matches!(status.state, State::Starting | State::Stopping | State::Restarting) {
            break;
        }
        info!("{name} is {}: waiting for its supervisor", word(status.state));
        clock::sleep(SUPERVISOR_PAUSE)?;
        status = service::status(name)?;
    }
    Ok(status)
}

/// Not every supervisor remembers failures; one that cannot forget them has none to forget.
fn clear_failures(name: &str) -> Result<(), Error> {
    match service::reset_failed(name) {
        Err(error) if error.code != "unavailable" => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Looks at the check until it holds, and says what was seen.
fn proved(name: &str, done: &str) -> Result<Report, Error> {
    let mut seen = String::new();
    for look in 0..CHECK_LOOKS {
        if look > 0 {
            clock::sleep(CHECK_PAUSE)?;
        }
        let reading = match probe::check(name) {
            Ok(reading) => reading,
            // It was brought up; that nobody lets this playbook look does not make it worse.
            Err(error) if error.is_denied() || error.code == "not-found" => {
                return Ok(Report::new(format!("{done} {name}; its check was not looked at: {}", error.message)));
            }
            Err(error) => return Err(error),
        };
        if matches!(reading.verdict, Verdict::Healthy | Verdict::Degraded) {
            return Ok(Report::new(format!("{done} {name}; it answers: {}", reading.seen)));
        }
        seen = reading.seen;
    }
    Err(Error::failed(format!("{done} {name}, and it still does not answer: {seen}")))
}

fn how(status: &Status) -> String {
    match status.last_exit {
        Some(service::Exit { signal: Some(signal), .. }) => format!(" (signal {signal})"),
        Some(service::Exit { code: Some(code), .. }) => format!(" (exit status {code})"),
        _ => String::new(),
    }
}

const fn word(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Starting => "starting",
        State::Stopping => "stopping",
        State::Stopped => "stopped",
        State::Failed => "failed",
        State::Restarting => "being restarted",
        State::Unknown => "in an unknown state",
    }
}

#[cfg(test)]
mod tests;
