//! The service of the demo: answers HTTP on loopback with its process number, until it is killed.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::Exit;

/// How long one client may take: a service that waits for ever can be held up by anybody.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers on `port` until the process ends.
pub(in crate::cli) fn answer(port: u16) -> ExitCode {
    // It plays somebody else's service, which shows its sockets to whoever may look. What fails here is shown by nothing else.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable);
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on 127.0.0.1:{port}: {error}");
            return Exit::Other.into();
        }
    };
    for client in listener.incoming().flatten() {
        // A client that goes away in between is its own business.
        let _ = one(client);
    }
    Exit::Ok.into()
}

fn one(mut client: TcpStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut request = [0; 1024];
    let _ = client.read(&mut request)?;
    let body = std::process::id().to_string();
    write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())?;
    client.flush()
}
