//! Restores a configuration that differs from its baseline, and lets the service that reads it read it again.
//!
//! It does the least that can help: a file that matches is left alone, a service that does not run is left alone. A reload
//! comes before a restart. What stood in the file is the host's to keep, and to put back if this did not help.

use guardian_sdk::config::{self, State as File};
use guardian_sdk::service::{self, State};
use guardian_sdk::{Error, Incident, Playbook, Report, info};

/// The playbook.
#[derive(Debug)]
pub struct ConfigDrifted;

guardian_sdk::export!(ConfigDrifted);

impl Playbook for ConfigDrifted {
    fn remediate(incident: &Incident) -> Result<Report, Error> {
        let name = incident.config()?;
        let status = config::check(name)?;
        if status.state == File::Matches {
            return Ok(Report::new(format!("{name} is as its baseline; nothing to do")));
        }
        info!("{name} {}: restoring it", what(&status));
        config::restore(name)?;
        let service = incident.binding("service").ok_or_else(|| Error::invalid("no service is bound"))?;
        if service::status(service)?.state != State::Running {
            return Ok(Report::new(format!("restored {name}; {service} does not run, so it was left alone")));
        }
        let how = reread(service)?;
        Ok(Report::new(format!("restored {name} and {how} {service}")))
    }
}

/// Reload, or restart where there is no way to reload.
fn reread(name: &str) -> Result<&'static str, Error> {
    match service::reload(name) {
        Ok(_) => Ok("reloaded"),
        Err(error) if error.code == "unavailable" => {
            info!("{name} cannot reload: restarting it");
            service::restart(name)?;
            Ok("restarted")
        }
        Err(error) => Err(error),
    }
}

fn what(status: &config::Status) -> String {
    match status.state {
        File::Missing => "is missing".to_owned(),
        File::Replaced => "is no regular file".to_owned(),
        _ => format!("differs in {}", status.differs.join(", ")),
    }
}

#[cfg(test)]
mod tests;
