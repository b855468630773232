//! One GET over plain HTTP.
//!
//! No redirect is followed, no proxy of the environment is used, no connection is kept, nothing is sent that the operator
//! did not write. Resolving, connecting, sending and reading share one time-out. Headers and body are bounded; the body is
//! read (a service that sends a status line and then hangs is not healthy) but not kept.

use std::io::Read as _;

use ureq::Agent;

use super::Finding;
use crate::capability::deadline::Deadline;
use crate::model::Verdict;

/// A health answer is a word or a small document. What is longer is not read to its end.
const BODY: u64 = 64 * 1024;
/// Room for a few cookies.
const HEADERS: usize = 16 * 1024;

pub(super) fn get(url: &str, expected: Option<u16>, deadline: Deadline) -> Finding {
    if !url.starts_with("http://") {
        return Finding::new(Verdict::Unknown, "only http:// can be probed");
    }
    let time = deadline.remaining();
    if time.is_zero() {
        return Finding::new(Verdict::Unknown, "no time was left to look");
    }
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(time))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .max_idle_connections(0)
        .max_response_header_size(HEADERS)
        .user_agent("guardian-probe")
        .build()
        .into();
    match agent.get(url).call() {
        Ok(mut response) => {
            let status = response.status().as_u16();
            let read = std::io::copy(&mut response.body_mut().as_reader().take(BODY), &mut std::io::sink());
            let good = expected.map_or(status < 400, |expected| status == expected);
            match read {
                Err(error) => Finding::new(Verdict::Failed, format!("HTTP {status}, then {error}")),
                Ok(_) if good => Finding::new(Verdict::Healthy, format!("HTTP {status}")),
                Ok(_) => Finding::new(Verdict::Failed, format!("HTTP {status}")),
            }
        }
        Err(ureq::Error::Io(error)) => Finding::of_error(&error),
        Err(ureq::Error::Timeout(_)) => Finding::new(Verdict::Failed, "no answer in time"),
        Err(ureq::Error::HostNotFound) => Finding::new(Verdict::Failed, "host not found"),
        Err(ureq::Error::BadUri(_) | ureq::Error::Http(_)) => Finding::new(Verdict::Unknown, "the URL is not usable"),
        Err(error) => Finding::new(Verdict::Failed, error.to_string()),
    }
}
