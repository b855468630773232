//! The hand on probes: one look at one thing, by TCP or HTTP.
//!
//! A look answers HEALTHY, DEGRADED (right, but slower than the operator allows), FAILED, or UNKNOWN when the look itself
//! was not possible and says nothing about the thing. Addresses come from the inventory, never from a guest. What a thing
//! answers is not trusted: the time is bounded, redirects are not followed (they would be a way to make the host ask
//! somebody else), and of the answer only the status is read.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::Deadline;
use crate::inventory::{Check, Look};
use crate::model::{Reading, ServiceState, ServiceStatus, Verdict};

/// What a look saw, before it is judged.
enum Seen {
    Good(String),
    Bad(String),
    Nothing(String),
}

/// Looks once. `supervisor` answers for a check that asks the supervisor.
pub(super) fn look(check: &Check, deadline: Deadline, supervisor: impl FnOnce() -> Option<ServiceStatus>) -> Reading {
    let timeout = check.timeout.min(deadline.remaining());
    let begun = Instant::now();
    let seen = match &check.look {
        _ if timeout.is_zero() => Seen::Nothing("no time left to look".to_owned()),
        Look::Tcp { address } => tcp(*address, timeout),
        Look::Http { url, status } => http(url, *status, timeout),
        Look::Supervisor => match supervisor() {
            Some(status) => from_supervisor(&status),
            None => Seen::Nothing("its supervisor does not say".to_owned()),
        },
    };
    judge(seen, begun.elapsed(), check.slow)
}

/// What a supervisor's word is worth as a reading.
pub(super) fn supervised(status: Option<ServiceStatus>) -> Reading {
    let begun = Instant::now();
    let seen = status.map_or_else(|| Seen::Nothing("its supervisor does not say".to_owned()), |status| from_supervisor(&status));
    judge(seen, begun.elapsed(), None)
}

fn judge(seen: Seen, took: Duration, slow: Option<Duration>) -> Reading {
    let latency_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let (verdict, seen) = match seen {
        Seen::Good(seen) if slow.is_some_and(|slow| took > slow) => (Verdict::Degraded, seen),
        Seen::Good(seen) => (Verdict::Healthy, seen),
        Seen::Bad(seen) => (Verdict::Failed, seen),
        Seen::Nothing(seen) => (Verdict::Unknown, seen),
    };
    Reading { verdict, latency_us, seen, assumed: false }
}

fn from_supervisor(status: &ServiceStatus) -> Seen {
    match status.state {
        ServiceState::Running => Seen::Good("running".to_owned()),
        ServiceState::Unknown => Seen::Nothing("unknown".to_owned()),
        other => Seen::Bad(other.word().to_owned()),
    }
}

fn tcp(address: SocketAddr, timeout: Duration) -> Seen {
    match TcpStream::connect_timeout(&address, timeout) {
        Ok(_) => Seen::Good("connected".to_owned()),
        Err(error) => Seen::Bad(plain(&error)),
    }
}

/// The words of the operating system without its error numbers.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => "no answer in time".to_owned(),
        std::io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => error.to_string(),
    }
}

fn http(url: &str, wanted: Option<u16>, timeout: Duration) -> Seen {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        // A proxy from the environment would look at something else.
        .proxy(None)
        .user_agent("guardian-probe")
        .build()
        .into();
    match agent.get(url).call() {
        Ok(answer) => {
            let status = answer.status().as_u16();
            let right = wanted.map_or(status < 400, |wanted| status == wanted);
            let seen = format!("HTTP {status}");
            if right { Seen::Good(seen) } else { Seen::Bad(seen) }
        }
        Err(ureq::Error::Timeout(_)) => Seen::Bad("no answer in time".to_owned()),
        Err(ureq::Error::Io(error)) => Seen::Bad(plain(&error)),
        Err(error) => Seen::Bad(crate::model::escape_to(&error.to_string(), 120)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    fn check(look: Look) -> Check {
        let second = Duration::from_secs(1);
        Check { look, every: second, timeout: Duration::from_millis(300), slow: None, fail_after: 1 }
    }

    fn see(check: &Check) -> Reading {
        look(check, Deadline::after(Duration::from_secs(5)), || None)
    }

    /// Answers every client with `answer` after `delay`, for as long as the test runs.
    fn server(answer: &'static str, delay: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let mut request = [0; 1_024];
                let _ = client.read(&mut request);
                std::thread::sleep(delay);
                let _ = client.write_all(answer.as_bytes());
            }
        });
        address
    }

    fn http_check(address: SocketAddr, status: Option<u16>) -> Check {
        check(Look::Http { url: format!("http://{address}/"), status })
    }

    #[test]
    fn tcp_says_accepted_or_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(see(&check(Look::Tcp { address })).verdict, Verdict::Healthy);
        drop(listener);
        let reading = see(&check(Look::Tcp { address }));
        assert_eq!((reading.verdict, reading.seen.as_str()), (Verdict::Failed, "connection refused"));
    }

    #[test]
    fn http_judges_the_status_and_follows_nothing() {
        let good = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Duration::ZERO);
        assert_eq!(see(&http_check(good, None)).verdict, Verdict::Healthy);
        assert_eq!(see(&http_check(good, Some(204))).verdict, Verdict::Failed);
        let bad = server("HTTP/1.1 503 Gone\r\nContent-Length: 0\r\n\r\n", Duration::ZERO);
        assert_eq!(see(&http_check(bad, None)).seen, "HTTP 503");
        let away = server("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", Duration::ZERO);
        let reading = see(&http_check(away, None));
        assert_eq!((reading.verdict, reading.seen.as_str()), (Verdict::Healthy, "HTTP 302"));
    }

    #[test]
    fn slow_is_degraded_and_silent_is_failed() {
        let slow = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Duration::from_millis(60));
        let allowed = Check { slow: Some(Duration::from_millis(20)), ..http_check(slow, None) };
        assert_eq!(see(&allowed).verdict, Verdict::Degraded);
        let silent = server("", Duration::from_secs(5));
        let begun = Instant::now();
        let reading = see(&http_check(silent, None));
        assert_eq!((reading.verdict, reading.seen.as_str()), (Verdict::Failed, "no answer in time"));
        assert!(begun.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn nonsense_is_failed_and_no_time_is_unknown() {
        let nonsense = server("\u{1b}[2J nonsense\r\n\r\n", Duration::ZERO);
        assert_eq!(see(&http_check(nonsense, None)).verdict, Verdict::Failed);
        let gone = look(&http_check(nonsense, None), Deadline::after(Duration::ZERO), || None);
        assert_eq!(gone.verdict, Verdict::Unknown);
        assert_eq!(see(&check(Look::Supervisor)).verdict, Verdict::Unknown);
    }
}
