//! Talking to systemd: one connection per act, and a time-out around all of it.
//!
//! A connection costs half a millisecond and an act tens of them, so none is kept: there is no stale connection to
//! recover, no queue that fills up while nobody reads, and a restart of the bus is nobody's business. The calls run on a
//! thread that is started by the first of them; the caller waits on a channel, so even a runtime that is stuck cannot hold
//! it past the deadline.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use tokio::runtime::Runtime;
use zbus::export::futures_core::Stream as _;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};
use zbus::{Connection, MatchRule, MessageStream};

use super::super::super::deadline::Deadline;
use super::unit::UnitView;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const ROOT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// What the waiting thread allows the runtime beyond the deadline before it calls it late itself.
const SLACK: Duration = Duration::from_millis(200);
/// Ends of jobs of one unit that can be waiting to be read: one act makes one, a busy person a few more.
const QUEUED: usize = 64;

/// Why a talk came to nothing.
#[derive(Debug)]
pub(super) enum BusError {
    /// The deadline passed.
    Late,
    /// No connection, or it broke.
    Lost(zbus::Error),
    /// systemd, or the bus, said no.
    Refused {
        /// The D-Bus name of the error.
        name: String,
        /// Its text.
        text: String,
    },
}

impl From<zbus::Error> for BusError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, text, _) => {
                Self::Refused { name: name.to_string(), text: text.unwrap_or_default() }
            }
            other => Self::Lost(other),
        }
    }
}

impl From<zbus::zvariant::Error> for BusError {
    fn from(error: zbus::zvariant::Error) -> Self {
        Self::Lost(error.into())
    }
}

/// Where the bus is, and on what to wait for it. Clones share the waiting.
#[derive(Clone, Debug)]
pub(in super::super) struct Bus {
    address: String,
    runtime: Arc<OnceLock<Runtime>>,
}

impl Bus {
    pub(in super::super) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), runtime: Arc::default() }
    }

    /// Made when it is first needed: most processes talk to no bus.
    fn runtime(&self) -> std::io::Result<&Runtime> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        // One thread: it only waits.
        let made = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(self.runtime.get_or_init(|| made))
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Runs a talk, and comes back by the deadline.
    pub(super) fn run<T, F, W>(&self, deadline: Deadline, talk: F) -> Result<T, BusError>
    where
        T: Send + 'static,
        F: FnOnce(Talk) -> W,
        W: Future<Output = Result<T, BusError>> + Send + 'static,
    {
        let (tell, told) = mpsc::sync_channel(1);
        let talk = talk(Talk { address: self.address.clone() });
        let time = deadline.remaining();
        let runtime = self.runtime().map_err(|error| BusError::Lost(error.into()))?;
        runtime.spawn(async move {
            let result = tokio::time::timeout(time, talk).await.unwrap_or(Err(BusError::Late));
            // Nobody listens any more if the caller has given up first.
            let _ = tell.send(result);
        });
        told.recv_timeout(time.saturating_add(SLACK)).unwrap_or(Err(BusError::Late))
    }
}

/// The right to open one connection.
pub(super) struct Talk {
    address: String,
}

impl Talk {
    pub(super) async fn connect(self) -> Result<Systemd, BusError> {
        let connection = zbus::connection::Builder::address(self.address.as_str())?.build().await?;
        Ok(Systemd { connection })
    }
}

/// systemd, connected.
pub(super) struct Systemd {
    connection: Connection,
}

type Properties = HashMap<String, OwnedValue>;

impl Systemd {
    async fn manager<B>(&self, method: &str, body: &B) -> Result<zbus::Message, BusError>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType + Sync,
    {
        Ok(self.connection.call_method(Some(SYSTEMD), ROOT, Some(MANAGER), method, body).await?)
    }

    async fn properties(&self, path: &OwnedObjectPath, interface: &str) -> Result<Properties, BusError> {
        let reply = self.connection.call_method(Some(SYSTEMD), path, Some(PROPERTIES), "GetAll", &(interface,)).await?;
        Ok(reply.body().deserialize()?)
    }

    /// What systemd says of a unit, loaded or not.
    pub(super) async fn unit(&self, unit: &str) -> Result<UnitView, BusError> {
        let path: OwnedObjectPath = self.manager("LoadUnit", &(unit,)).await?.body().deserialize()?;
        let of_unit = self.properties(&path, UNIT).await?;
        // A timer or a socket has no service half; then only the unit's own state counts.
        let of_service = match self.properties(&path, SERVICE).await {
            Err(BusError::Refused { .. }) => Properties::new(),
            other => other?,
        };
        Ok(UnitView::read(&of_unit, &of_service))
    }

    /// Listens for the ends of the jobs of a unit. To be called before the job is queued: a quick one ends before the
    /// answer to its queueing has been read.
    pub(super) async fn job_ends(&self, unit: &str) -> Result<JobEnds, BusError> {
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(SYSTEMD)?
            .interface(MANAGER)?
            .member("JobRemoved")?
            .arg(2, unit)?
            .build();
        let stream = MessageStream::for_match_rule(rule, &self.connection, Some(QUEUED)).await?;
        // Without a subscriber systemd sends no signals at all.
        self.manager("Subscribe", &()).await?;
        Ok(JobEnds { stream })
    }

    /// Queues a job; `fail`: it does not replace one that is queued and conflicts.
    ///
    /// INVARIANT 11: a person's job wins over ours.
    pub(super) async fn queue(&self, method: &str, unit: &str) -> Result<OwnedObjectPath, BusError> {
        Ok(self.manager(method, &(unit, "fail")).await?.body().deserialize()?)
    }

    pub(super) async fn reset_failed(&self, unit: &str) -> Result<(), BusError> {
        self.manager("ResetFailedUnit", &(unit,)).await.map(drop)
    }
}

/// The ends of jobs, as they are told.
pub(super) struct JobEnds {
    stream: MessageStream,
}

impl JobEnds {
    /// How the job ended: systemd's word for it.
    pub(super) async fn of(&mut self, job: &OwnedObjectPath) -> Result<String, BusError> {
        loop {
            let next = std::future::poll_fn(|context| Pin::new(&mut self.stream).poll_next(context)).await;
            let message = next.ok_or_else(|| zbus::Error::Failure("the bus closed the connection".to_owned()))??;
            let (_, path, _, result): (u32, OwnedObjectPath, String, String) = message.body().deserialize()?;
            if path == *job {
                return Ok(result);
            }
        }
    }
}
