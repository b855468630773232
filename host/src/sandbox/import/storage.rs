//! `storage`: how full it is, and what making room came to.

use super::super::execute::HostSide;
use super::wit::storage::{Error, Host, Reclaimed, StorageUsage as Usage};
use crate::model::{self, Action, Reply, StorageVerb};

impl Host for HostSide {
    fn usage(&mut self, name: String) -> wasmtime::Result<Result<Usage, Error>> {
        match self.call(Action::Storage { verb: StorageVerb::Usage, name })? {
            Ok(Reply::Storage(seen)) => Ok(Ok(usage(&seen))),
            Ok(_) => Err(super::wrong_reply("storage.usage")),
            Err(error) => Ok(Err(super::error(error))),
        }
    }

    fn reclaim(&mut self, name: String) -> wasmtime::Result<Result<Reclaimed, Error>> {
        call(self, StorageVerb::Reclaim, name)
    }

    fn purge(&mut self, name: String) -> wasmtime::Result<Result<Reclaimed, Error>> {
        call(self, StorageVerb::Purge, name)
    }
}

fn call(host: &mut HostSide, verb: StorageVerb, name: String) -> wasmtime::Result<Result<Reclaimed, Error>> {
    match host.call(Action::Storage { verb, name })? {
        Ok(Reply::Reclaimed(done)) => Ok(Ok(Reclaimed {
            bytes: done.bytes,
            files: done.files,
            steps: done.steps,
            usage: usage(&done.usage),
            extra: Vec::new(),
        })),
        Ok(_) => Err(super::wrong_reply("storage")),
        Err(error) => Ok(Err(super::error(error))),
    }
}

/// `assumed` stays behind: a plan must look to the guest like a run.
const fn usage(seen: &model::StorageUsage) -> Usage {
    Usage {
        bytes_total: seen.bytes_total,
        bytes_free: seen.bytes_free,
        inodes_total: seen.inodes_total,
        inodes_free: seen.inodes_free,
        enough: seen.enough,
        extra: Vec::new(),
    }
}
