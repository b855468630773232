//! Probes against real sockets on the loopback interface.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;
use crate::capability::service::{SYSTEM_BUS, ServiceTools};
use crate::inventory::Probe;

/// A server that reads a request and answers each connection with `answer` after `wait`.
fn server(answer: &'static str, wait: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request);
                std::thread::sleep(wait);
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    address
}

fn look(look: Look, slow: Option<Duration>, timeout: Duration) -> Reading {
    let check = Check { look, every: Duration::from_secs(1), timeout, slow, fail_after: 1 };
    let probe = Probe { check, groups: Default::default(), of: None };
    let inventory = Inventory { probes: [("it".parse().unwrap(), probe)].into(), ..Inventory::default() };
    let tools =
        ServiceTools { folder: "/nonexistent".into(), bus: SYSTEM_BUS.to_owned(), keeper: "/nonexistent".into() };
    let hand = ProbeHand::new(&inventory, Arc::new(ServiceHand::new(&inventory, &tools).unwrap()));
    hand.look(&"probe.it".parse().unwrap(), Deadline::after(Duration::from_secs(5))).unwrap()
}

const LONG: Duration = Duration::from_secs(5);

fn http(address: SocketAddr, status: Option<u16>) -> Look {
    Look::Http { url: format!("http://{address}/healthz"), status }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

#[test]
fn an_open_port_is_healthy_and_a_closed_one_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(look(Look::Tcp { address }, None, LONG).verdict, Verdict::Healthy);
    drop(listener);
    let closed = look(Look::Tcp { address }, None, LONG);
    assert_eq!((closed.verdict, closed.seen.as_str()), (Verdict::Failed, "connection refused"));
}

#[test]
fn http_is_judged_by_its_status() {
    let fine = look(http(server(OK, Duration::ZERO), None), None, LONG);
    assert_eq!((fine.verdict, fine.seen.as_str()), (Verdict::Healthy, "HTTP 200"));
    let other = look(http(server(OK, Duration::ZERO), Some(204)), None, LONG);
    assert_eq!(other.verdict, Verdict::Failed);
    let broken = server("HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", Duration::ZERO);
    assert_eq!(look(http(broken, None), None, LONG).seen, "HTTP 503");
    assert_eq!(look(http(broken, None), None, LONG).verdict, Verdict::Failed);
    assert_eq!(look(http(broken, Some(503)), None, LONG).verdict, Verdict::Healthy);
}

#[test]
fn a_redirect_is_not_followed() {
    let away = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let reading = look(http(server(away, Duration::ZERO), None), None, LONG);
    assert_eq!((reading.verdict, reading.seen.as_str()), (Verdict::Healthy, "HTTP 302"));
}

#[test]
fn slow_is_degraded_and_late_is_failed() {
    let slow = server(OK, Duration::from_millis(150));
    let reading = look(http(slow, None), Some(Duration::from_millis(50)), LONG);
    assert_eq!(reading.verdict, Verdict::Degraded);
    assert!(reading.latency_us >= 150_000);
    let late = look(http(slow, None), None, Duration::from_millis(60));
    assert_eq!((late.verdict, late.seen.as_str()), (Verdict::Failed, "no answer in time"));
}

#[test]
fn nonsense_and_endless_answers_do_not_hang() {
    assert_eq!(look(http(server("SSH-2.0-x\r\n", Duration::ZERO), None), None, LONG).verdict, Verdict::Failed);
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort";
    let reading = look(http(server(cut, Duration::ZERO), None), None, LONG);
    assert_eq!(reading.verdict, Verdict::Failed, "{reading:?}");
}

#[test]
fn what_cannot_be_looked_at_is_unknown() {
    assert_eq!(look(Look::Supervisor, None, LONG).verdict, Verdict::Unknown);
    let https = Look::Http { url: "https://127.0.0.1/".to_owned(), status: None };
    assert_eq!(look(https, None, LONG).verdict, Verdict::Unknown);
}
